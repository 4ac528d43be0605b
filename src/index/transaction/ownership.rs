//! Ownership of directories, where it was set.

use super::Transaction;
use crate::index::error::IndexError;
use crate::index::key::Key;
use crate::index::ownership::{OwnedDirectory, Ownership};

/// The key of a directory.
fn row(of: OwnedDirectory) -> Key {
    let key = Key::table(b'A').byte(of.kind());
    match of {
        OwnedDirectory::Repository(id) => key.repository(id),
        OwnedDirectory::Mountpoint
        | OwnedDirectory::Root
        | OwnedDirectory::Blobs
        | OwnedDirectory::Repositories => key,
    }
}

impl Transaction<'_> {
    /// Removes owner, group and mode of a directory.
    pub(super) fn remove_ownership(&mut self, of: OwnedDirectory) {
        self.delete(row(of));
    }
}

/// The rows of owners and modes.
#[derive(Debug)]
pub struct OwnershipRows<'t, 'a>(&'t mut Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Returns the rows of owners and modes.
    pub fn owners(&mut self) -> OwnershipRows<'_, 'a> {
        OwnershipRows(self)
    }
}

impl OwnershipRows<'_, '_> {
    /// Returns owner, group and mode of a directory; `None` if they were never set.
    pub fn get(&mut self, of: OwnedDirectory) -> Result<Option<Ownership>, IndexError> {
        self.0.record(row(of), Ownership::decode)
    }

    /// Sets owner, group and mode of a directory.
    pub fn put(&mut self, of: OwnedDirectory, ownership: Ownership) {
        self.0.put(row(of), ownership.encode());
    }

    /// Returns `true` if they were set for any directory.
    pub fn any(&mut self) -> Result<bool, IndexError> {
        self.0.any(&Key::table(b'A').prefix_range())
    }
}
