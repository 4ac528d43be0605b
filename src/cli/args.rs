//! The words of the command line: what may be said, and the help that explains it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{TransferMode, duration};

/// A filesystem that is a container registry's storage.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 store in use, 4 refused by a check, 5 a store has faults."
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show a store at a mountpoint, as a registry's storage
    Mount(MountArgs),
    /// Tell whether a manifest would be admitted, and if not, why
    Check(CheckArgs),
    /// Take in the plain tree of a registry
    ///
    /// Blobs of more than 16 KiB are copied by reference where the filesystem can, and linked
    /// where nobody but the store's owner could write their files. Otherwise nothing is taken
    /// until one of --hardlink, --copy or --move is given.
    Import(ImportArgs),
    /// Check a store: facts against each other and against the bytes
    Fsck(FsckArgs),
    /// Read every blob again, and mark those that are not what their name says
    Scrub(ScrubArgs),
    /// List repositories, the tags of one, or what a tag is at
    Ls(InquiryArgs),
    /// Tell how many bytes repositories hold: all, those that no other holds, those that others do
    Du(InquiryArgs),
    /// Tell which manifests a tag was at
    History(InquiryArgs),
    /// Tell how much of everything there is
    Stats(StatsArgs),
    /// List what is in the trash, or take blobs back from it
    Undelete(UndeleteArgs),
    /// Copy facts and blobs as of one moment into a directory, which brings only what is new
    Backup(BackupArgs),
    /// Make a new store of a backup
    ///
    /// Blobs are copied by reference where the filesystem can, linked where nobody but the
    /// store's owner could write their files, and copied otherwise.
    Restore(RestoreArgs),
    /// Write man pages into a directory
    Man {
        /// An existing directory
        directory: PathBuf,
    },
    /// Give a store back as a registry's plain tree
    ///
    /// Blobs are the tree's own: copied, by reference where the filesystem can, unless --hardlink
    /// is given.
    Export(ExportArgs),
}

/// How a work on a store is answered.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// How blobs come that are files, one of these.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct TransferArgs {
    /// Share files by hard links: who can write a file under its other name changes a published
    /// blob
    #[arg(long)]
    pub(super) hardlink: bool,
    /// Copy by reference, on filesystems that can (xfs, btrfs)
    #[arg(long)]
    pub(super) reflink: bool,
    /// Copy
    #[arg(long)]
    pub(super) copy: bool,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the command line"
)]
pub(super) struct ImportArgs {
    /// The registry's rootdirectory
    pub(super) plain: PathBuf,
    /// Directory that keeps index and blobs; made if it does not exist
    pub(super) store: PathBuf,
    #[command(flatten)]
    pub(super) transfer: TransferArgs,
    /// Move blobs instead: the tree is not a registry's any more afterwards
    #[arg(long = "move", conflicts_with_all = ["hardlink", "reflink", "copy"])]
    pub(super) moving: bool,
    /// Verify every blob; otherwise only those of up to 16 KiB, which are read anyway
    #[arg(long)]
    pub(super) verify: bool,
    /// Go through symbolic links that stand where a directory of the tree belongs
    #[arg(long)]
    pub(super) follow_links: bool,
    /// Only tell what is there and what is odd about it
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Path of the registry's root below its rootdirectory; empty if v2 stands at the top
    #[arg(long, default_value = ROOT)]
    pub(super) root: String,
    /// Threads; as many as fit the machine if not given
    #[arg(long)]
    pub(super) jobs: Option<usize>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct FsckArgs {
    /// Directory that keeps index and blobs, mounted or not
    pub(super) store: PathBuf,
    /// Print what can be repaired, then do it; bytes that are taken out go to the trash
    #[arg(long)]
    pub(super) repair: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Directory that keeps index and blobs, mounted or not
    pub(super) store: PathBuf,
    /// New or empty directory: the rootdirectory of a registry from then on
    pub(super) directory: PathBuf,
    #[command(flatten)]
    pub(super) transfer: TransferArgs,
    /// Path of the registry's root below it; empty to put v2 at the top
    #[arg(long, default_value = ROOT)]
    pub(super) root: String,
    /// Threads; as many as fit the machine if not given
    #[arg(long)]
    pub(super) jobs: Option<usize>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Where distribution puts `v2` below its rootdirectory.
pub(super) const ROOT: &str = "docker/registry";

impl TransferArgs {
    /// The way that was asked for, if any was.
    pub(super) fn way(&self) -> Option<TransferMode> {
        [
            (self.hardlink, TransferMode::Link),
            (self.reflink, TransferMode::Reflink),
            (self.copy, TransferMode::Copy),
        ]
        .into_iter()
        .find_map(|(given, way)| given.then_some(way))
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The manifest; - for the standard input
    pub(super) file: PathBuf,
    /// Repository that must hold what the manifest references
    #[arg(long, requires = "store")]
    pub(super) repository: Option<crate::name::RepositoryName>,
    /// Store that keeps the repository, mounted or not
    #[arg(long, requires = "repository")]
    pub(super) store: Option<PathBuf>,
    /// Options as for mount: references=, schema1=, `max_manifest_size=`; of a mounted store its
    /// mount's own apply
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub(super) options: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct MountArgs {
    /// Directory that keeps index and blobs; made if it is missing or empty (see -o existing)
    pub(super) store: PathBuf,
    /// Existing directory to mount at: the registry's rootdirectory
    pub(super) mountpoint: PathBuf,
    /// Options: ro, `allow_other`, uid=N, gid=N, `control_gid=N` (who may read .regfs), existing
    /// (make no new store), delete=guarded|permissive, trash=7d, references=require|skip, schema1=refuse|accept, audit=off|warn|enforce,
    /// sync=always|data|lazy, `max_manifest_size=BYTES`, and those that every filesystem has, as
    /// noexec
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub(super) options: Vec<String>,
    /// Path of the registry's root below the mountpoint; empty to put v2 at the top
    #[arg(long, default_value = ROOT)]
    pub(super) root: String,
    /// Serve in this process instead of in the background
    #[arg(short, long, overrides_with = "foreground")]
    pub(super) foreground: bool,
    /// Write the log here; in the background, STORE/regfs.log otherwise
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// Write the log into the store: how the process in the background is called
    #[arg(long, hide = true, conflicts_with = "log")]
    pub(super) log_in_store: bool,
}

#[derive(Debug, Args)]
pub(super) struct ScrubArgs {
    /// Directory that keeps index and blobs, mounted or not
    pub(super) store: PathBuf,
    /// Most bytes to read in a second, as in 50MB/s; as fast as the disk if not given
    #[arg(long, value_parser = rate)]
    pub(super) rate: Option<u64>,
    /// Pass over blobs that were read in this time, as in 12h or 7d: a scrub that was stopped
    /// goes on where it was
    #[arg(long, default_value = "7d", value_parser = duration)]
    pub(super) age: std::time::Duration,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct InquiryArgs {
    /// Directory that keeps index and blobs, mounted or not
    pub(super) store: PathBuf,
    /// A repository, or REPOSITORY:TAG
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Directory that keeps index and blobs, mounted or not; or where it is mounted
    pub(super) store: PathBuf,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct UndeleteArgs {
    /// Directory that keeps index and blobs, mounted or not
    pub(super) store: PathBuf,
    /// Digests of blobs to take back
    pub(super) digests: Vec<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Directory that keeps index and blobs, mounted or not
    pub(super) store: PathBuf,
    /// New or empty directory, or an earlier backup
    pub(super) directory: PathBuf,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A backup
    pub(super) directory: PathBuf,
    /// Directory of the store; it must not exist, or be empty
    pub(super) store: PathBuf,
    #[command(flatten)]
    pub(super) transfer: TransferArgs,
}

/// A number of bytes a second: `50MB/s`, `50M`, `1000000`.
fn rate(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches("/s").trim_end_matches('B');
    let (digits, factor) = match number.chars().last() {
        Some('k' | 'K') => (number.get(..number.len() - 1), 1_000),
        Some('M') => (number.get(..number.len() - 1), 1_000_000),
        Some('G') => (number.get(..number.len() - 1), 1_000_000_000),
        _ => (Some(number), 1),
    };
    let parsed = digits.and_then(|digits| digits.parse::<u64>().ok());
    let rate = parsed.and_then(|number| number.checked_mul(factor));
    rate.filter(|rate| *rate > 0)
        .ok_or_else(|| "expected a number of bytes a second, as in 50MB/s".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_are_read_as_people_write_them() {
        for text in ["50MB/s", "50M", "50000000", "50000k", "50000kB/s"] {
            assert_eq!(rate(text), Ok(50_000_000), "{text}");
        }
        for text in ["", "0", "fast", "50 MB", "-1", "99999999999999999999G"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(duration("7d").unwrap().as_secs(), 604_800);
        assert_eq!(duration("0s").unwrap().as_secs(), 0);
        for text in ["", "d", "7", "7w", "é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_words_fit_each_other() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
