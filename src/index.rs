//! The index: every fact of a registry, typed, over an ordered store of bytes.
//!
//! Facts change in [transactions](Transaction): optimistic, retried here when somebody else was
//! faster. Listings are read in pages, by name, without a held snapshot: what is there during
//! the whole listing is seen exactly once. How facts are written down stands in `index/key.rs`;
//! what keeps them is behind [`Store`].
//!
//! It does not know what the facts mean to each other: that is the registry's business.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::digest::Digest;
use crate::dir::Dir;

mod copy;
mod durable_rename;
mod embedded;
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
use interner::Interner;
pub use journal::{Journal, JournalDamage, JournalFault, JournalFaultKind, Recover};
use key::Key;
pub use listing::Readable;
use listing::decode_hash_state;
pub use memory_store::MemoryStore;
pub use ownership::{OwnedDirectory, Ownership};
pub use record::{
    Blob, DigestId, EdgeRole, Link, LoggedBytes, Repository, RepositoryDirectories, RepositoryId,
    TagDirectories, TagRecord, Upload,
};
pub use redb::Redb;
pub use store::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, Batch, CommitOutcome, Pair, Precondition, Store,
    StoreError, WriteOp,
};
use touched::Touched;
pub use transaction::{DirectoryTime, TimeKey, Transaction};
pub use verify::{Census, CensusEntry, Flaw, FlawKind};

/// Edges of a manifest that fit into one transaction.
pub const EDGES_AT_ONCE: usize = 100;
/// How often a transaction is tried before it gives up.
const TRIES: usize = 1_000;

/// Why a fact could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is not of the documented form.
    #[error("index record {key:02x?} is damaged: run regfs fsck")]
    Record {
        /// Its key.
        key: Vec<u8>,
    },
    /// Others were faster, every time.
    #[error("index key {key:02x?} changed {TRIES} times under one transaction: try again")]
    Contended {
        /// The last key in the way.
        key: Vec<u8>,
    },
    /// All numbers are given out.
    #[error("the index has given out all its 2^32 numbers")]
    Exhausted,
}

/// The facts of a registry.
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
    /// The facts in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            interner: Interner::default(),
            touched: Touched::default(),
        }
    }

    /// Runs `body` until what it read is unchanged when its changes commit. An error of `body`
    /// changes nothing; a `body` that changes nothing commits nothing.
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

    /// Reads facts; what was read is not checked again.
    pub fn view(&self) -> Transaction<'_> {
        Transaction::new(self.store.as_ref(), &self.interner, &self.touched)
    }

    /// The facts as of now, which do not change any more.
    pub fn snapshot(&self) -> Result<Self, IndexError> {
        Ok(Self::new(self.store.snapshot()?))
    }

    /// Writes these facts, but for uploads, as a store of its own into a file of a directory,
    /// which takes the place of one that is there when it is whole and durable.
    pub fn copy(&self, dir: &Dir, name: impl AsRef<Path>) -> Result<(), IndexError> {
        copy::to_file(self, dir, name.as_ref())
    }

    /// Returns when everything committed before is durable.
    pub fn sync(&self) -> Result<(), IndexError> {
        Ok(self.store.sync()?)
    }

    /// How far transactions have come: a number that grows with each.
    pub fn position(&self) -> u64 {
        self.store.position()
    }

    /// Whether everything committed up to a position is durable.
    pub fn is_durable(&self, position: u64) -> bool {
        self.store.is_durable(position)
    }

    /// A number for staged bytes, given out once.
    pub fn allocate_staging(&self) -> Result<u64, IndexError> {
        Ok(self
            .store
            .allocate(&Key::table(b'C').byte(b's').into_bytes(), 1)?
            .start)
    }

    fn scan(&self, range: &Range<Vec<u8>>, limit: usize) -> Result<Vec<Pair>, IndexError> {
        Ok(self.store.scan(&range.start..&range.end, limit)?)
    }

    /// The digest of a number.
    pub fn digest(&self, id: DigestId) -> Result<Digest, IndexError> {
        self.view().digest(id)
    }
}

#[cfg(test)]
mod tests;
