//! The arguments of the program and their help, from which the man pages are made too.
//!
//! Doc comments here are help texts: the first paragraph is the summary, and `--help` and the man
//! pages add the rest. Texts with option names in them are attributes instead, since help texts
//! are not Markdown.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod adoption;
mod maintenance;
mod mount;

pub(super) use adoption::{ExportArgs, ImportArgs};
pub(super) use maintenance::{
    BackupArgs, DuArgs, FsckArgs, HistoryArgs, LsArgs, RestoreArgs, ScrubArgs, StatsArgs,
    UndeleteArgs,
};
pub(super) use mount::{CheckArgs, MountArgs};

/// The exit codes, as `ExitCode` defines them.
const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  failure
  2  invalid usage
  3  the store is in use by another process
  4  refused by a check; nothing was changed
  5  the store has faults";

/// FUSE filesystem that serves a container registry's storage from one compact index
///
/// A registry (CNCF Distribution 2.8 to 3.1 and its derivatives) uses the mountpoint as its
/// rootdirectory. Repositories, tags and links are rows of the index in a store directory, and
/// blobs are plain files there. All commands work on a store whether it is mounted or not.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Mount a store as a registry's rootdirectory
    ///
    /// Returns once the mount answers; a daemon in the background serves it. umount, fusermount3 -u
    /// and SIGTERM end it. A missing or empty store directory becomes a new store.
    Mount(MountArgs),
    /// Check whether a manifest would be admitted, without storing it
    ///
    /// Prints the kind, digest and references of the manifest, or the rule that it breaks, where,
    /// and what was expected. Exits with 4 if the manifest would be refused.
    Check(CheckArgs),
    /// Import the plain tree of a registry into a store
    ///
    /// The tree stays as it is, unless --move is given. Blobs of up to 16 KiB go into the index.
    /// Larger ones are copied by reference (reflink) if the filesystem can, and hard-linked if only
    /// the owner of the store can write their files; if neither is possible, nothing is imported
    /// (exit code 4) until one of --hardlink, --copy or --move is given. An interrupted import is
    /// resumed by the same command, and an import into a store that has the tree adds what is new.
    Import(ImportArgs),
    /// Check a store: the index against itself and against the blobs
    ///
    /// Reports damage, dangling references and notes. Does not read the bytes of large blobs, see
    /// regfs scrub. Exits with 5 if faults remain that are more than notes.
    Fsck(FsckArgs),
    /// Verify the bytes of every blob against its digest
    ///
    /// A blob whose bytes do not match is marked as damaged: reading it fails with EIO until
    /// regfs fsck --repair removes it and it is pushed again. Exits with 5 if there is one.
    Scrub(ScrubArgs),
    /// List repositories, the tags of a repository, or the content of an image
    Ls(LsArgs),
    /// Show bytes per repository: logical, unique and shared
    ///
    /// LOGICAL counts each blob that the repository holds once; UNIQUE is the part that no other
    /// repository holds, and SHARED the rest.
    Du(DuArgs),
    /// Show which manifests a tag has named, newest first
    History(HistoryArgs),
    /// Show totals: repositories, tags, manifests, blobs, bytes
    ///
    /// For a mounted store also how requests are served, and their number by kind.
    Stats(StatsArgs),
    /// Restore deleted blobs from the trash, or list the trash
    Undelete(UndeleteArgs),
    /// Back up a store into a directory; repeated backups copy only what is new
    ///
    /// A backup is a snapshot: a store of its own, without uploads in progress. Exits with 5 if the
    /// store has faults; the backup is made all the same.
    Backup(BackupArgs),
    /// Create a new store from a backup
    ///
    /// Blobs are copied by reference (reflink) if the filesystem can, hard-linked if only the owner
    /// of the store can write their files, and copied otherwise.
    Restore(RestoreArgs),
    /// Write man pages into a directory
    Man {
        /// An existing directory
        directory: PathBuf,
    },
    /// Export a store as the plain tree of a registry
    ///
    /// The tree is a snapshot. Its blobs are copies, by reference (reflink) if the filesystem can,
    /// unless --hardlink is given. Exits with 5 if blobs are missing or damaged.
    Export(ExportArgs),
}

/// How a command prints its result.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Print the result as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
