//! Adoption: a registry's plain tree taken into a store, and a store given back as one.
//!
//! [`import`] reads what any distribution registry has written, mends what can be mended, sets
//! aside what cannot, and adopts the rest as facts. [`export`] writes the tree that a plain
//! registry would have, byte for byte. It decides nothing about what facts mean: the registry
//! takes and gives them, the layout says where they stand.

use std::io;
use std::path::{Path, PathBuf};

mod export;
mod import;
mod link;
mod oddity;
mod outside;
mod progress;
mod quarantine;
mod read;
mod report;
mod walk;

pub use export::{Exported, Exporting, export};
pub use import::{Importing, find, import};
pub use oddity::{Finding, Oddity, Remedy};
pub use progress::{Progress, Standing};
pub use report::Report;

use crate::registry::Error;

/// Why a tree could not be adopted, or given back.
#[derive(Debug, thiserror::Error)]
pub enum AdoptionError {
    /// There is no registry's tree.
    #[error(
        "{path} holds neither blobs nor repositories: expected a registry's rootdirectory with {root}/v2 below it (--root says otherwise)"
    )]
    NoTree {
        /// Where it was looked for.
        path: PathBuf,
        /// The root that was expected.
        root: String,
    },
    /// There is something where the tree should go.
    #[error("{path} is not empty: a tree is given back into a new or empty directory")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    System {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Nobody waited for it any more.
    #[error("it was stopped before it was done: the same again goes on")]
    Stopped,
    /// The store could not.
    #[error(transparent)]
    Registry(#[from] Error),
}

/// Ends a work that nobody waits for any more.
fn go_on(progress: &Progress) -> Result<(), AdoptionError> {
    if progress.is_stopped() {
        return Err(AdoptionError::Stopped);
    }
    Ok(())
}

/// Copies files that are not of the layout, as they are; how many.
pub fn copy_files(from: &Path, to: &Path) -> Result<u64, AdoptionError> {
    outside::copy(from, to, Path::new(""))
}

/// Says of an error which file it is about.
fn about(path: &Path) -> impl FnOnce(io::Error) -> AdoptionError {
    let path = path.to_owned();
    move |error| AdoptionError::System { path, error }
}
