//! Exit codes: how the program tells its caller what happened. They are part of the interface.

use super::CommandError;

/// The exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// The command succeeded.
    Success,
    /// The command failed; the message says why.
    Failure,
    /// The arguments are wrong.
    Usage,
    /// Another process has the store.
    InUse,
    /// A check refused something, such as a manifest.
    Refused,
    /// A store has faults that were not repaired.
    Found,
}

impl ExitCode {
    /// Returns the number that the caller of the program sees.
    pub fn number(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::InUse => 3,
            Self::Refused => 4,
            Self::Found => 5,
        }
    }

    /// Returns the exit code for an error.
    pub fn of(error: &CommandError) -> Self {
        match error {
            error if error.is_refusal() => Self::Refused,
            CommandError::InUse { .. } => Self::InUse,
            CommandError::Usage(_) => Self::Usage,
            CommandError::Path { .. }
            | CommandError::Registry(_)
            | CommandError::Tree(_)
            | CommandError::NoRepository { .. }
            | CommandError::Served { .. }
            | CommandError::Adoption(_)
            | CommandError::Failed(_)
            | CommandError::Background(_) => Self::Failure,
            CommandError::Refused(_) => Self::Refused,
        }
    }
}
