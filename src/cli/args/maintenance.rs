//! The arguments of the commands that inspect and maintain a store.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::OutputArgs;
use super::adoption::TransferArgs;
use crate::commands::duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct FsckArgs {
    /// The store directory, mounted or not
    pub(in crate::cli) store: PathBuf,
    /// Print what can be repaired, then repair it; bytes that are removed go to the trash
    #[arg(long)]
    pub(in crate::cli) repair: bool,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ScrubArgs {
    /// The store directory, mounted or not
    pub(in crate::cli) store: PathBuf,
    /// The most bytes to read per second, as in 50MB/s [default: no limit]
    #[arg(long, value_parser = rate)]
    pub(in crate::cli) rate: Option<u64>,
    /// Skip blobs that were verified within this time, as in 12h or 7d
    ///
    /// An interrupted scrub is resumed by the same command, since what it has verified is skipped.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    pub(in crate::cli) age: Duration,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LsArgs {
    /// The store directory, mounted or not
    pub(in crate::cli) store: PathBuf,
    /// A repository, or an image of it [default: all repositories]
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(in crate::cli) name: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DuArgs {
    /// The store directory, mounted or not
    pub(in crate::cli) store: PathBuf,
    /// One repository [default: all]
    pub(in crate::cli) repository: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// The store directory, mounted or not
    pub(in crate::cli) store: PathBuf,
    /// A tag of a repository
    #[arg(value_name = "REPOSITORY:TAG")]
    pub(in crate::cli) image: String,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatsArgs {
    /// The store directory, or the mountpoint of a mounted store
    pub(in crate::cli) store: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UndeleteArgs {
    /// The store directory, mounted or not
    pub(in crate::cli) store: PathBuf,
    /// Digests of the blobs to restore, as in sha256:HEX [default: list the trash]
    #[arg(value_name = "DIGEST")]
    pub(in crate::cli) digests: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BackupArgs {
    /// The store directory, mounted or not
    pub(in crate::cli) store: PathBuf,
    /// A new or empty directory, or one with an earlier backup
    pub(in crate::cli) directory: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    /// The directory with the backup
    pub(in crate::cli) directory: PathBuf,
    /// The directory of the new store: a new or empty directory
    pub(in crate::cli) store: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) transfer: TransferArgs,
}

/// Parses a number of bytes per second: `50MB/s`, `50M`, `1000000`. k, M and G are powers of
/// 1,000.
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
        .ok_or_else(|| "expected a number of bytes per second, as in 50MB/s".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_durations_are_parsed_with_their_units() {
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
}
