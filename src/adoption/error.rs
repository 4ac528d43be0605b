//! Why an import or an export fails.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::maintenance::Progress;
use crate::printable::printable;
use crate::registry::Error;

/// Why a tree could not be imported or exported.
#[derive(Debug, thiserror::Error)]
pub enum AdoptionError {
    /// The directory holds no registry's tree.
    #[error(
        "{} holds neither blobs nor repositories: expected the rootdirectory of a registry, with {root}/v2 below it (--root changes that path)",
        printable(.path)
    )]
    NoTree {
        /// The directory in which the tree was expected.
        path: PathBuf,
        /// The path below the rootdirectory at which it was expected.
        root: String,
    },
    /// Symbolic links lead to parts of the tree, and following them was not asked for.
    #[error(
        "nothing was imported: {} symbolic links lead to parts of the tree; use --follow-links to follow them: {}",
        .links.len() + .more, listed(.links, *.more)
    )]
    Links {
        /// Some of the links, each with its target.
        links: Vec<String>,
        /// The number of further links.
        more: usize,
    },
    /// Blobs can be imported in more than one way, each with a cost: the caller has to choose.
    #[error("nothing was imported: {0}")]
    Choose(Box<TransferChoice>),
    /// A file has changed since the check that decided how to transfer it.
    #[error("{path} has changed during the import: {why}; run the same command again")]
    Changed {
        /// The file.
        path: String,
        /// Why it can no longer be transferred in that way.
        why: String,
    },
    /// The target's filesystem has no room for copies of the blobs.
    #[error(
        "nothing was exported: {} has {room} bytes free, but {needed} bytes of blobs would have to be copied there, since its filesystem cannot share them with the store by reference; choose another directory, or --hardlink to share the store's own files",
        printable(.path)
    )]
    NoRoom {
        /// The target directory.
        path: PathBuf,
        /// Bytes of blobs.
        needed: u64,
        /// Bytes that are free.
        room: u64,
    },
    /// The target directory is not empty.
    #[error("{} is not empty: an export needs a new or empty directory", printable(.path))]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file of the host could not be read or written.
    #[error("{}: {error}", printable(.path))]
    System {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The caller stopped the job.
    #[error("interrupted; run the same command again to resume")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Registry(#[from] Error),
}

impl AdoptionError {
    /// Returns `true` if nothing failed and a check before the start needs a decision of the
    /// caller.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Links { .. } | Self::Choose(_) | Self::NoRoom { .. }
        )
    }
}

/// Blobs that cannot be imported without a cost, so that the caller has to choose how.
#[derive(Clone, Debug, Default)]
pub struct TransferChoice {
    /// The number of such blobs.
    pub blobs: u64,
    /// Their total length, in bytes.
    pub bytes: u64,
    /// The path of one of them below the tree.
    pub first: String,
    /// Why that blob can be neither copied by reference nor linked safely.
    pub why: String,
    /// The id of the user who owns the store.
    pub owner: u32,
    /// Free bytes of the store's filesystem.
    pub room: u64,
}

impl fmt::Display for TransferChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} blobs of {} bytes can be neither copied by reference nor linked so that only \
             the store's owner (user {}) can change them; the first is {}: {}. Choose --copy \
             (needs {} bytes; {} are free), --move (the tree no longer works as a registry's \
             storage afterwards), or on the same filesystem --hardlink (whoever can write the \
             tree's files can then change the store's blobs)",
            self.blobs, self.bytes, self.owner, self.first, self.why, self.bytes, self.room
        )
    }
}

/// Returns names separated by commas, and the number of further ones.
fn listed(names: &[String], more: usize) -> String {
    let names = names.join(", ");
    match more {
        0 => names,
        _ => format!("{names}, and {more} more"),
    }
}

/// Fails if the caller has stopped the job.
pub(super) fn require_running(progress: &Progress) -> Result<(), AdoptionError> {
    if progress.is_stopped() {
        return Err(AdoptionError::Stopped);
    }
    Ok(())
}

/// Returns a function that adds the path of a file to an error about it.
pub(super) fn about(path: &Path) -> impl FnOnce(io::Error) -> AdoptionError + use<> {
    let path = path.to_owned();
    move |error| AdoptionError::System { path, error }
}
