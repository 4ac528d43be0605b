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
    /// Returns owner, group and mode of a directory; `None` if they were never set.
    pub fn ownership(&mut self, of: OwnedDirectory) -> Result<Option<Ownership>, IndexError> {
        self.record(row(of), Ownership::decode)
    }

    /// Sets owner, group and mode of a directory.
    pub fn put_ownership(&mut self, of: OwnedDirectory, ownership: Ownership) {
        self.put(row(of), ownership.encode());
    }

    /// Removes owner, group and mode of a directory.
    pub(super) fn remove_ownership(&mut self, of: OwnedDirectory) {
        self.delete(row(of));
    }

    /// Returns `true` if they were set for any directory.
    pub fn has_ownership(&mut self) -> Result<bool, IndexError> {
        self.any(&Key::table(b'A').prefix_range())
    }
}
