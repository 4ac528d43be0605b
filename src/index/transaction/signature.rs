//! Directories of a revision's signatures, which outlive the links in them.

use super::Transaction;
use crate::digest::{Algorithm, Digest};
use crate::index::IndexError;
use crate::index::key::Key;
use crate::index::record::RepositoryId;

/// The row of the directory of signatures, or of the one of an algorithm in it.
fn row(key: Key, algorithm: Option<Algorithm>) -> Key {
    match algorithm {
        None => key,
        Some(algorithm) => key.algorithm(algorithm),
    }
}

impl Transaction<'_> {
    fn signatures(
        &mut self,
        repository: RepositoryId,
        revision: &Digest,
    ) -> Result<Key, IndexError> {
        let id = self.intern(revision)?;
        Ok(Key::table(b'G').repository(repository).id(id))
    }

    /// Whether the directory of a revision's signatures was made, or of an algorithm in it.
    pub fn has_signatures_directory(
        &mut self,
        repository: RepositoryId,
        revision: &Digest,
        algorithm: Option<Algorithm>,
    ) -> Result<bool, IndexError> {
        if self.id_of(revision)?.is_none() {
            return Ok(false);
        }
        let key = row(self.signatures(repository, revision)?, algorithm);
        Ok(self.get(key.into_bytes())?.is_some())
    }

    /// Whether no revision of a repository has signatures or directories for some, which saves
    /// who only reads from asking of each. Who changes something must.
    pub fn known_without_signatures(
        &mut self,
        repository: RepositoryId,
    ) -> Result<bool, IndexError> {
        if !self.is_read_only() {
            return Ok(false);
        }
        for table in [b'G', b'S'] {
            if self.any(&Key::table(table).repository(repository).prefix_range())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes the directory of a revision's signatures, or of an algorithm in it.
    pub fn put_signatures_directory(
        &mut self,
        repository: RepositoryId,
        revision: &Digest,
        algorithm: Option<Algorithm>,
    ) -> Result<(), IndexError> {
        let key = row(self.signatures(repository, revision)?, algorithm);
        self.put(key, Vec::new());
        Ok(())
    }

    /// Removes the directory of a revision's signatures, or of an algorithm in it.
    pub fn remove_signatures_directory(
        &mut self,
        repository: RepositoryId,
        revision: &Digest,
        algorithm: Option<Algorithm>,
    ) -> Result<(), IndexError> {
        let key = row(self.signatures(repository, revision)?, algorithm);
        self.delete(key);
        Ok(())
    }
}
