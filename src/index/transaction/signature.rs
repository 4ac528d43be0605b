//! Directories of a revision's signatures, which outlive their links.

use super::Transaction;
use crate::digest::{Algorithm, Digest};
use crate::index::error::IndexError;
use crate::index::id::RepositoryId;
use crate::index::key::Key;

/// The key of the directory of signatures, or of an algorithm in it.
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
}

/// The directories of signatures.
#[derive(Debug)]
pub struct SignatureRows<'t, 'a>(&'t mut Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Returns the directories of signatures.
    pub fn signature_directories(&mut self) -> SignatureRows<'_, 'a> {
        SignatureRows(self)
    }
}

impl SignatureRows<'_, '_> {
    /// Returns `true` if the directory of a revision's signatures, or of an algorithm in it, was
    /// created.
    pub fn has_directory(
        &mut self,
        repository: RepositoryId,
        revision: &Digest,
        algorithm: Option<Algorithm>,
    ) -> Result<bool, IndexError> {
        if self.0.id_of(revision)?.is_none() {
            return Ok(false);
        }
        let key = row(self.0.signatures(repository, revision)?, algorithm);
        Ok(self.0.get(key.into_bytes())?.is_some())
    }

    /// Returns `true` if no revision of a repository is known to have signatures or directories for
    /// them, which saves a reader one lookup for each revision. Always `false` in a transaction
    /// that can be committed: it must read the rows that it depends on.
    pub fn known_without_signatures(
        &mut self,
        repository: RepositoryId,
    ) -> Result<bool, IndexError> {
        if !self.0.is_read_only() {
            return Ok(false);
        }
        for table in [b'G', b'S'] {
            if self
                .0
                .any(&Key::table(table).repository(repository).prefix_range())?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Creates the directory of a revision's signatures, or of an algorithm in it.
    pub fn put_directory(
        &mut self,
        repository: RepositoryId,
        revision: &Digest,
        algorithm: Option<Algorithm>,
    ) -> Result<(), IndexError> {
        let key = row(self.0.signatures(repository, revision)?, algorithm);
        self.0.put(key, Vec::new());
        Ok(())
    }

    /// Removes the directory of a revision's signatures, or of an algorithm in it.
    pub fn remove_directory(
        &mut self,
        repository: RepositoryId,
        revision: &Digest,
        algorithm: Option<Algorithm>,
    ) -> Result<(), IndexError> {
        let key = row(self.0.signatures(repository, revision)?, algorithm);
        self.0.delete(key);
        Ok(())
    }
}
