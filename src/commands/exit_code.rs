//! Exit codes of the program. Scripts depend on them: the numbers never change their meaning.

use super::{CommandError, JobResult};

/// The exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// The command succeeded.
    Success,
    /// The command failed; the message on stderr says why.
    Failure,
    /// The arguments are invalid.
    Usage,
    /// Another process holds the store.
    InUse,
    /// A check refused the operation or the manifest; nothing was changed.
    Refused,
    /// The command finished, and the store has faults that are not repaired.
    FaultsFound,
}

impl ExitCode {
    /// Returns the exit status.
    pub fn number(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::InUse => 3,
            Self::Refused => 4,
            Self::FaultsFound => 5,
        }
    }

    /// Returns the exit code of a command that failed with `error`.
    pub fn of(error: &CommandError) -> Self {
        match error {
            error if error.is_refusal() => Self::Refused,
            CommandError::InUse { .. } => Self::InUse,
            CommandError::Usage(_) => Self::Usage,
            CommandError::Path { .. }
            | CommandError::Registry(_)
            | CommandError::Tree(_)
            | CommandError::NoRepository { .. }
            | CommandError::Daemon { .. }
            | CommandError::Adoption(_)
            | CommandError::Failed(_)
            | CommandError::Background(_) => Self::Failure,
            CommandError::Refused(_) => Self::Refused,
        }
    }

    /// Returns the exit code of a job that succeeded with `result`.
    pub fn of_result(result: &JobResult) -> Self {
        let faults = match result {
            JobResult::Fsck(report) => !report.is_clean(),
            JobResult::Scrub(report) => !report.damaged.is_empty(),
            JobResult::Backup(report) => report.is_of_a_damaged_store(),
            JobResult::Export(report) => !report.is_whole(),
            JobResult::Import(_) | JobResult::Inquiry(_) | JobResult::Trash(_) => false,
        };
        if faults {
            Self::FaultsFound
        } else {
            Self::Success
        }
    }
}
