//! Opening the directory of a store, and what a directory may hold before it becomes one.

use std::io;
use std::sync::Arc;

use super::{Error, Policy, Registry};
use crate::blobs::{LocalBlobs, ReadOnlyBlobs};
use crate::dir::Dir;
use crate::index::{
    INDEX_FILE, IndexError, Recover, check_embedded, open_embedded, open_embedded_read_only,
};

/// Names that a directory may hold before it becomes a store. A disk that was just formatted holds
/// `lost+found`.
const BEFORE: [&str; 4] = ["lock", "regfs.log", "socket", "lost+found"];

/// The directory of a store for plain files, which are not of the registry.
pub const FILES: &str = "files";

/// What a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// A store, or a backup, perhaps an unfinished one.
    Present,
    /// Empty, so that a store can be made of it.
    Empty,
}

fn refused(store: &Dir, reason: String) -> Error {
    Error::Store {
        path: store.path().display().to_string(),
        reason,
    }
}

/// Returns `true` if a name stands in a directory.
pub(crate) fn holds(store: &Dir, name: &str) -> Result<bool, Error> {
    match store.metadata(name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(refused(store, format!("{name}: {error}"))),
    }
}

/// The file that marks a directory as a backup.
pub(crate) const BACKUP_MARK: &str = "backup";

/// Returns `true` if a directory holds a backup.
///
/// # Errors
/// [`Error::Store`] if the directory cannot be read.
pub fn is_backup(directory: &Dir) -> Result<bool, Error> {
    holds(directory, BACKUP_MARK)
}

/// Returns what a directory holds.
///
/// # Errors
/// [`Error::Store`] for a directory that holds something else.
pub fn state(store: &Dir) -> Result<StoreState, Error> {
    if holds(store, INDEX_FILE)? || is_backup(store)? {
        return Ok(StoreState::Present);
    }
    let unread = |error: io::Error| refused(store, error.to_string());
    for row in store.entries().map_err(unread)? {
        let name = row.map_err(unread)?.name;
        let name = name.to_string_lossy();
        // An interrupted first creation leaves such files.
        if !BEFORE.contains(&&*name) && !name.starts_with("index.") {
            let reason = format!("it holds {name:?} but no index: not a store of regfs");
            return Err(refused(store, reason));
        }
    }
    Ok(StoreState::Empty)
}

/// Opens the registry in a directory without writing there.
pub(super) fn open_unwritten(
    store: &Dir,
    policy: Policy,
    recover: Recover,
) -> Result<Registry, Error> {
    let (facts, damage) = open_embedded_read_only(store, recover).map_err(IndexError::from)?;
    let blobs = ReadOnlyBlobs::open(store)?;
    let registry = Registry::new(facts, Arc::new(blobs), policy)?;
    *registry.damage.lock() = damage;
    Ok(registry)
}

/// Reads every page of the index of a store that nobody has open and whose lock the caller
/// holds.
///
/// # Errors
/// An error that names the index, if a page is damaged.
pub fn check_pages(store: &Dir) -> Result<(), Error> {
    Ok(check_embedded(store).map_err(IndexError::from)?)
}

/// Opens the registry in a directory, or makes a new one there.
pub(super) fn open(store: &Dir, policy: Policy, recover: Recover) -> Result<Registry, Error> {
    state(store)?;
    let facts = open_embedded(store, recover).map_err(IndexError::from)?;
    let damage = facts.damage().cloned();
    let blobs = LocalBlobs::open(store)?;
    let registry = Registry::new(Arc::new(facts), Arc::new(blobs), policy)?;
    *registry.damage.lock() = damage;
    Ok(registry)
}
