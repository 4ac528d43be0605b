//! The commands of `regfs`: mounting, checking, and jobs on a store, mounted or not.
//!
//! A command returns its result or an error; `cli` prints them. Only warnings, the progress bar
//! and the line that announces a mount are printed here.

mod backup;
mod check;
mod control;
mod dead_mount;
mod exit_code;
mod holder;
mod inventory;
mod job;
mod lock;
mod mount;
mod mounts;
mod options;
mod overlap;
mod perform;
mod progress_bar;
mod protocol;
mod run;
mod store_dir;
mod verdict;

use std::path::PathBuf;

use crate::printable::printable;
pub use crate::registry::TransferMode;
pub use backup::restore;
pub use check::{CheckRequest, check};
pub use exit_code::ExitCode;
pub use holder::Holder;
pub use inventory::{Inquiry, InquiryAnswer};
pub use job::{Job, JobResult};
pub use lock::StoreLock;
pub use mount::{MountRequest, mount, open_store_log};
pub use options::{MountOptions, duration};
pub use run::{run, survey};
pub use store_dir::IfMissing;
pub use verdict::{NamedReference, Verdict};

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Another process holds the store.
    #[error("store {} is in use by process {pid}{holder}", printable(.store))]
    InUse {
        /// The path of the store.
        store: PathBuf,
        /// The id of that process, as the lock file has it.
        pid: String,
        /// What that process does with it.
        holder: Holder,
    },
    /// An argument is invalid, or does not fit the store.
    #[error("{0}")]
    Usage(String),
    /// The store has no such repository.
    #[error("store {} has no repository {repository}", printable(.store))]
    NoRepository {
        /// The path of the store.
        store: PathBuf,
        /// The name of the repository.
        repository: String,
    },
    /// The daemon that has the store mounted failed to answer a question.
    #[error("the daemon of store {} failed: {reason}", printable(.store))]
    Daemon {
        /// The path of the store.
        store: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// An operation on a path failed.
    #[error("{}: {error}", printable(.path))]
    Path {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// The tree of the mount could not be set up.
    #[error(transparent)]
    Tree(#[from] crate::tree::TreeError),
    /// An import or export failed.
    #[error(transparent)]
    Adoption(#[from] crate::adoption::AdoptionError),
    /// A job failed in the daemon, with this message.
    #[error("{0}")]
    Failed(String),
    /// The job was not run: a check found something that the caller must decide.
    #[error("{0}")]
    Refused(String),
    /// The daemon ended before its mount answered, with these messages.
    #[error("{0}")]
    Background(String),
}

impl CommandError {
    /// Returns `true` if nothing failed and nothing was changed, since a check found something that
    /// the caller must decide.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Adoption(error) => error.is_refusal(),
            _ => false,
        }
    }
}

/// Returns an absolute path, which the daemon understands too. Symbolic links are resolved where
/// the path or its parent exists.
///
/// # Errors
/// The path is empty, or the current directory cannot be read.
pub fn absolute(path: &std::path::Path) -> Result<PathBuf, CommandError> {
    let absolute = std::path::absolute(path).map_err(with_path(path))?;
    let parent = absolute.parent().map(std::path::Path::canonicalize);
    Ok(
        match (absolute.canonicalize(), parent, absolute.file_name()) {
            (Ok(path), _, _) => path,
            (_, Some(Ok(parent)), Some(name)) => parent.join(name),
            _ => absolute,
        },
    )
}

/// Returns the path of the store that is mounted at `path`, or `path` itself if none is.
pub fn resolve_store(path: &std::path::Path) -> PathBuf {
    let mountpoint = path.canonicalize().ok();
    let mount = mountpoint.and_then(|path| mounts::at(&path));
    mount.map_or_else(|| path.to_owned(), |mount| mount.source)
}

/// Adds the path to an I/O error.
fn with_path(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> CommandError {
    let path = path.to_owned();
    move |error| CommandError::Path { path, error }
}
