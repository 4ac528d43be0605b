//! The index: every fact of a registry, typed, over an ordered key-value store.
//!
//! Facts change in optimistic [transactions](Transaction), which [`Index::transact`] retries when a
//! concurrent commit changed something they had read. Listings are read in pages in name order
//! without holding a snapshot; an entry that exists for the whole listing is returned exactly once.
//! `index/key.rs` documents the format byte for byte; [`Store`] is the seam to the engine.
//!
//! The index does not know how facts depend on each other: that is the registry's business.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::digest::Digest;
use crate::dir::Dir;

mod copy;
mod durable_rename;
mod embedded;
mod error;
mod field_reader;
mod id;
mod interner;
mod journal;
mod key;
mod listing;
mod memory_store;
mod ownership;
mod read_cache;
mod record;
mod redb;
mod reverse_index;
mod store;
mod touched;
mod transaction;
mod verify;

pub use embedded::{
    INDEX_FILE, JOURNAL_DIRECTORY, check_embedded, detach_journal, open_embedded,
    open_embedded_read_only,
};
pub use error::IndexError;
use error::TRIES;
pub use id::{DigestId, RepositoryId};
use interner::Interner;
pub use journal::{Journal, JournalDamage, JournalFault, JournalFaultKind, Recover};
use key::Key;
pub use listing::Listings;
pub use listing::Readable;
pub use memory_store::MemoryStore;
pub use ownership::{OwnedDirectory, Ownership};
pub use record::{
    Blob, EdgeRole, Link, LoggedBytes, Repository, RepositoryDirectories, TagDirectories,
    TagRecord, Upload,
};
pub use redb::Redb;
pub use store::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, Batch, CommitOutcome, Pair, Precondition, Store,
    StoreError, WriteOp,
};
use touched::Touched;
pub use transaction::{
    BlobRows, DirectoryTime, EDGES_AT_ONCE, LinkRows, ManifestRows, OwnershipRows, RepositoryRows,
    SignatureRows, TagRows, TimeKey, TimeRows, Transaction, UploadRows,
};
pub use verify::{Census, CensusEntry, Flaw, FlawKind};

/// The facts of a registry.
///
/// # Errors
/// Unless its documentation says more, a method fails with [`IndexError::Store`] if the store fails
/// and with [`IndexError::Record`] if a record that it reads is damaged.
pub struct Index {
    store: Arc<dyn Store>,
    interner: Interner,
    touched: Touched,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Returns an index of the facts in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            interner: Interner::default(),
            touched: Touched::default(),
        }
    }

    /// Runs `body` and commits its changes atomically; runs it again while something that it read
    /// has changed before the commit. Returns what the committed run of `body` returned. If `body`
    /// fails, nothing is changed; if it changes nothing, nothing is committed.
    ///
    /// # Errors
    /// Those of `body`, those of [`Store::commit`], and [`IndexError::Contended`] after 1,000
    /// conflicts.
    pub fn transact<T, E: From<IndexError>>(
        &self,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut last = Vec::new();
        for _ in 0..TRIES {
            let mut transaction =
                Transaction::begin(self.store.as_ref(), &self.interner, &self.touched);
            let value = body(&mut transaction)?;
            let (touches, now) = transaction.take_touched();
            let Some(batch) = transaction.batch() else {
                return Ok(value);
            };
            match self.store.commit(batch).map_err(IndexError::from)? {
                CommitOutcome::Committed => {
                    self.touched.insert(touches, now);
                    return Ok(value);
                }
                CommitOutcome::Conflict(key) => last = key,
            }
        }
        Err(IndexError::Contended { key: last }.into())
    }

    /// Returns a transaction that only reads. Each read returns the newest committed value; reads
    /// are not checked for conflicts.
    pub fn view(&self) -> Transaction<'_> {
        Transaction::new(self.store.as_ref(), &self.interner, &self.touched)
    }

    /// Returns the facts as of now; later commits do not change them, and commits to them fail.
    ///
    /// # Errors
    /// Those of [`Store::snapshot`].
    pub fn snapshot(&self) -> Result<Self, IndexError> {
        Ok(Self::new(self.store.snapshot()?))
    }

    /// Writes all facts except uploads, pending publications and logged bytes to a store of its own
    /// in the file `name` of a directory. A file of that name is replaced once the copy is complete
    /// and durable.
    ///
    /// # Errors
    /// Those of [`Store::scan`], and of [`Redb::open`] and [`Store::commit`] for the copy.
    pub fn copy(&self, dir: &Dir, name: impl AsRef<Path>) -> Result<(), IndexError> {
        Ok(copy::to_file(self.store.as_ref(), dir, name.as_ref())?)
    }

    /// Returns once everything committed before the call is durable.
    ///
    /// # Errors
    /// Those of [`Store::sync`].
    pub fn sync(&self) -> Result<(), IndexError> {
        Ok(self.store.sync()?)
    }

    /// The number of the newest commit. It grows with each commit.
    pub fn position(&self) -> u64 {
        self.store.position()
    }

    /// Returns `true` if everything committed up to `position` is durable.
    pub fn is_durable(&self, position: u64) -> bool {
        self.store.is_durable(position)
    }

    /// Allocates the number of a staging file. No number is allocated twice.
    ///
    /// # Errors
    /// Those of [`Store::allocate`].
    pub fn allocate_staging(&self) -> Result<u64, IndexError> {
        Ok(self
            .store
            .allocate(&Key::table(b'C').byte(b's').into_bytes(), 1)?
            .start)
    }

    fn scan(&self, range: &Range<Vec<u8>>, limit: usize) -> Result<Vec<Pair>, IndexError> {
        Ok(self.store.scan(&range.start..&range.end, limit)?)
    }

    /// Returns the digest of an id.
    ///
    /// # Errors
    /// [`IndexError::Record`] if the id has no digest, and those of [`Store::get`].
    pub fn digest(&self, id: DigestId) -> Result<Digest, IndexError> {
        self.view().digest(id)
    }
}

#[cfg(test)]
mod tests;
