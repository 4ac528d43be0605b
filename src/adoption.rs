//! Adoption: a registry's plain tree taken into a store, and a store given back as one.
//!
//! [`import`] reads what any distribution registry has written, mends what can be mended, sets
//! aside what cannot, and adopts the rest as facts. [`export`] writes the tree that a plain
//! registry would have, byte for byte. It decides nothing about what facts mean: the registry
//! takes and gives them, the layout says where they stand.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod access;
mod export;
mod import;
mod link;
mod oddity;
mod outside;
mod quarantine;
mod read;
mod report;
mod walk;

pub use export::{Exported, Exporting, export};
pub use import::{Importing, find, import};
pub use oddity::{Finding, Oddity, Remedy};
pub use report::Report;

use crate::dir::Dir;
use crate::maintenance::Progress;
use crate::printable::printable;
use crate::registry::Error;

/// Why a tree could not be adopted, or given back.
#[derive(Debug, thiserror::Error)]
pub enum AdoptionError {
    /// There is no registry's tree.
    #[error(
        "{} holds neither blobs nor repositories: expected a registry's rootdirectory with {root}/v2 below it (--root says otherwise)",
        printable(.path)
    )]
    NoTree {
        /// Where it was looked for.
        path: PathBuf,
        /// The root that was expected.
        root: String,
    },
    /// Symbolic links lead to parts of the tree.
    #[error(
        "nothing was taken: parts of the tree are behind symbolic links ({} of them): say --follow-links to go through them: {}",
        .links.len() + .more, listed(.links, *.more)
    )]
    Links {
        /// Some of them, and where they lead.
        links: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// Blobs come in more than one way, and each has its price.
    #[error("nothing was taken: {0}")]
    Choose(Box<Choice>),
    /// A file has changed since it was checked how it can come.
    #[error("{path} has changed while it was imported: {why}; run the same command again")]
    Changed {
        /// The file.
        path: String,
        /// How it cannot come any more.
        why: String,
    },
    /// Blobs would have to be copied to where they do not fit.
    #[error(
        "nothing was written: {path} has {room} bytes left, and {needed} bytes of blobs would be copied there, since its filesystem shares none with the store by reference: choose another place, or --hardlink to share the store's own files"
    )]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// Bytes of blobs.
        needed: u64,
        /// Bytes that are left.
        room: u64,
    },
    /// There is something where the tree should go.
    #[error("{path} is not empty: a tree is given back into a new or empty directory")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", printable(.path))]
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

impl AdoptionError {
    /// Returns `true` if nothing failed: a check found something for the caller to decide.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Links { .. } | Self::Choose(_) | Self::NoRoom { .. }
        )
    }
}

/// Blobs that come in no way without a price, so that the caller has to choose one.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// One of them, below the tree.
    pub first: String,
    /// What is the matter with that one.
    pub why: String,
    /// The user to whom the store belongs.
    pub owner: u32,
    /// Bytes that the store's filesystem has left.
    pub room: u64,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} blobs of {} bytes can neither be copied by reference nor be linked so that \
             nobody but the store's owner (user {}) can change them; the first is {}: {}. \
             Choose --copy (needs {} bytes; {} are free), --move (the tree is no registry's any \
             more afterwards), or on one filesystem --hardlink (who can write the tree's files \
             can then change the store's blobs)",
            self.blobs, self.bytes, self.owner, self.first, self.why, self.bytes, self.room
        )
    }
}

/// Names in a row, and how many more there are.
fn listed(names: &[String], more: usize) -> String {
    let names = names.join(", ");
    match more {
        0 => names,
        _ => format!("{names}, and {more} more"),
    }
}

/// Ends a work that nobody waits for any more.
fn go_on(progress: &Progress) -> Result<(), AdoptionError> {
    if progress.is_stopped() {
        return Err(AdoptionError::Stopped);
    }
    Ok(())
}

/// Copies files that are not of the layout, as they are; how many.
///
/// # Errors
/// [`AdoptionError::System`], which names the file.
pub fn copy_files(from: &Dir, to: &Dir) -> Result<u64, AdoptionError> {
    outside::copy_files(from, to)
}

/// Says of an error which file it is about.
fn about(path: &Path) -> impl FnOnce(io::Error) -> AdoptionError + use<> {
    let path = path.to_owned();
    move |error| AdoptionError::System { path, error }
}
