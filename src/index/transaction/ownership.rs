//! Ownership: to whom a directory belongs and who may do what with it, where that was set.

use super::Transaction;
use crate::index::IndexError;
use crate::index::key::Key;
use crate::index::ownership::{OwnedDirectory, Ownership};

/// The row of a directory.
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
    /// To whom a directory belongs; nothing where that was never set.
    pub fn ownership(&mut self, of: OwnedDirectory) -> Result<Option<Ownership>, IndexError> {
        self.record(row(of), Ownership::decode)
    }

    /// Sets to whom a directory belongs.
    pub fn put_ownership(&mut self, of: OwnedDirectory, ownership: Ownership) {
        self.put(row(of), ownership.encode());
    }

    /// Forgets to whom a directory belongs.
    pub(super) fn remove_ownership(&mut self, of: OwnedDirectory) {
        self.delete(row(of));
    }

    /// Returns `true` if that was set for any directory.
    pub fn has_ownership(&mut self) -> Result<bool, IndexError> {
        self.any(&Key::table(b'A').prefix_range())
    }
}
