//! Commands: what `regfs` does for each word it is given.
//!
//! They print nothing but what they are for; errors go up, with their cause, to be printed
//! once.

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
mod perform;
mod place;
mod progress_bar;
mod protocol;
mod run;
mod verdict;

use std::path::PathBuf;

use crate::printable::printable;
pub use crate::registry::TransferMode;
pub use backup::restore;
pub use check::{Checking, check};
pub use exit_code::ExitCode;
pub use holder::Holder;
pub use inventory::{Inquiry, InquiryAnswer};
pub use job::{Job, JobResult};
pub use lock::{Absent, StoreLock};
pub use mount::{Mounting, log_of, mount};
pub use options::{MountOptions, duration};
pub use run::{run, survey};
pub use verdict::{NamedReference, Verdict};

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Somebody else has the store.
    #[error("store {} is in use by process {pid}{holder}", printable(.store))]
    InUse {
        /// The store.
        store: PathBuf,
        /// Who has it, as far as the lock says.
        pid: String,
        /// What that process does with it.
        holder: Holder,
    },
    /// Words that do not fit.
    #[error("{0}")]
    Usage(String),
    /// A repository that is not there.
    #[error("store {store} has no repository {repository}")]
    NoRepository {
        /// The store.
        store: PathBuf,
        /// The repository.
        repository: String,
    },
    /// The process that has the store mounted did not answer as it should.
    #[error("the process that serves store {store} did not do it: {reason}")]
    Served {
        /// The store.
        store: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A path that cannot serve.
    #[error("{}: {error}", printable(.path))]
    Path {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// The tree could not be shown.
    #[error(transparent)]
    Tree(#[from] crate::tree::TreeError),
    /// A plain tree could not be adopted, or given back.
    #[error(transparent)]
    Adoption(#[from] crate::adoption::AdoptionError),
    /// A work that another process did for us failed.
    #[error("{0}")]
    Failed(String),
    /// A work that another process did not do, since a check found something for the caller to
    /// decide.
    #[error("{0}")]
    Refused(String),
    /// The process in the background ended before its mount answered.
    #[error("{0}")]
    Background(String),
}

impl CommandError {
    /// Returns `true` if nothing failed: a check found something for the caller to decide.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Adoption(error) => error.is_refusal(),
            _ => false,
        }
    }
}

/// A path that means the same to whoever has the store.
pub fn absolute(path: &std::path::Path) -> Result<PathBuf, CommandError> {
    let absolute = std::path::absolute(path).map_err(about(path))?;
    // Where its directory exists, symbolic links on the way are followed here.
    let parent = absolute.parent().map(std::path::Path::canonicalize);
    Ok(
        match (absolute.canonicalize(), parent, absolute.file_name()) {
            (Ok(path), _, _) => path,
            (_, Some(Ok(parent)), Some(name)) => parent.join(name),
            _ => absolute,
        },
    )
}

/// The store of a path, which is the store itself or where it is mounted.
pub fn store_of(path: &std::path::Path) -> PathBuf {
    let mountpoint = path.canonicalize().ok();
    let mount = mountpoint.and_then(|path| mounts::at(&path));
    mount.map_or_else(|| path.to_owned(), |mount| mount.source)
}

/// Says of an error which path it is about.
fn about(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> CommandError {
    let path = path.to_owned();
    move |error| CommandError::Path { path, error }
}
