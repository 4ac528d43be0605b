//! The store: the seam between the facts and the engine, an ordered map from bytes to bytes.
//!
//! Calls are synchronous and take and return owned bytes, so that a database server can implement
//! it as well as an embedded engine. A commit is atomic, and visible to every reader when it
//! returns. It is durable at the latest after the next [`Store::sync`]; what survives a crash is
//! always a prefix of the commits. The store does not retry: a conflict is returned to the caller.

use std::ops::Range;
use std::sync::Arc;

use super::journal::JournalDamage;

/// Most operations (preconditions and changes) in one batch.
pub const BATCH_OPERATIONS_MAX: usize = 1_000;
/// Most bytes of keys and values in one batch.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A condition that must hold for a batch to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key does not exist.
    Absent(Vec<u8>),
    /// The key has this value.
    Equals(Vec<u8>, Vec<u8>),
    /// No key is in this range.
    Empty(Range<Vec<u8>>),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// Sets a key to a value.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key, which need not exist.
    Delete(Vec<u8>),
}

/// Changes that are committed together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Conditions for the commit.
    pub preconditions: Vec<Precondition>,
    /// Changes in the order in which they apply.
    pub changes: Vec<WriteOp>,
    /// The [position](Store::position) at which the preconditions held, if known. If nothing was
    /// committed since, the store does not evaluate them again.
    pub as_of: Option<u64>,
}

impl Batch {
    /// Checks the limits of a batch.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let operations = self.preconditions.len() + self.changes.len();
        let preconditions = self.preconditions.iter().map(|one| match one {
            Precondition::Absent(key) => key.len(),
            Precondition::Equals(key, value) => key.len() + value.len(),
            Precondition::Empty(range) => range.start.len() + range.end.len(),
        });
        let changes = self.changes.iter().map(|one| match one {
            WriteOp::Put(key, value) => key.len() + value.len(),
            WriteOp::Delete(key) => key.len(),
        });
        let bytes = preconditions.chain(changes).sum();
        if operations > BATCH_OPERATIONS_MAX || bytes > BATCH_BYTES_MAX {
            return Err(StoreError::BatchTooLarge { operations, bytes });
        }
        Ok(())
    }
}

/// The result of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The batch is committed and visible.
    Committed,
    /// Nothing changed: a precondition on this key, or on the range that starts here, did not hold.
    Conflict(Vec<u8>),
}

/// Why the store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A write did not become durable; commits after the last successful sync may be lost.
    #[error(
        "the index accepts no more changes, since a write did not become durable ({0}): check the disk, unmount, and mount again"
    )]
    Poisoned(String),
    /// The engine could not read or write.
    #[error("index {path}: {reason}")]
    Engine {
        /// The file.
        path: String,
        /// The engine's message.
        reason: String,
    },
    /// The file has a format that this program does not read.
    #[error(
        "index {path} has format {found}, this program reads formats up to {known}: use a newer regfs"
    )]
    Format {
        /// The file.
        path: String,
        /// The format of the file.
        found: u32,
        /// The format that this program writes.
        known: u32,
    },
    /// The journal of the index is incomplete, damaged, or belongs to another index.
    #[error(
        "{0}: put the missing files back, restore a backup, or accept the loss with regfs mount -o \
         recover=accept or regfs fsck --repair, which set the damaged segments aside"
    )]
    Journal(Arc<JournalDamage>),
    /// A batch exceeds the limits.
    #[error(
        "a batch of {operations} operations and {bytes} bytes is over the limit of {BATCH_OPERATIONS_MAX} and {BATCH_BYTES_MAX}"
    )]
    BatchTooLarge {
        /// Its operations.
        operations: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// The operating system returned an error.
    #[error("index: {0}")]
    System(Arc<std::io::Error>),
    /// A snapshot cannot be changed.
    #[error("a snapshot of the index cannot be changed")]
    Snapshot,
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::System(Arc::new(error))
    }
}

/// An ordered map from bytes to bytes with atomic, optimistic commits.
pub trait Store: Send + Sync {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`StoreError::Engine`] or [`StoreError::System`] if the engine cannot read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns at most `limit` pairs of a range, in key order. To continue, call again with a range
    /// that starts after the last key. Each call reads one point in time of its own.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Commits all changes if all preconditions hold; otherwise changes nothing and returns
    /// [`CommitOutcome::Conflict`]. At most [`BATCH_OPERATIONS_MAX`] operations and
    /// [`BATCH_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`StoreError::BatchTooLarge`]; [`StoreError::Poisoned`] after a write that did not become
    /// durable; [`StoreError::Snapshot`] on a snapshot; [`StoreError::Engine`] or
    /// [`StoreError::System`] if the engine cannot write.
    fn commit(&self, batch: Batch) -> Result<CommitOutcome, StoreError>;

    /// Returns once everything committed before the call is durable. It costs nothing if that is
    /// already so.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] if the write did not become durable, now or earlier;
    /// [`StoreError::System`] if there is no space.
    fn sync(&self) -> Result<(), StoreError>;

    /// The number of the newest commit, which grows with each commit; 0 if the store does not count
    /// commits.
    fn position(&self) -> u64 {
        0
    }

    /// Returns `true` if everything committed up to `position` is known to be durable. It never
    /// waits.
    fn is_durable(&self, _position: u64) -> bool {
        false
    }

    /// Returns the content as of now, as a store that later commits do not change and that takes no
    /// commits. While it exists, the engine cannot reuse the space of what has been changed since.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError>;

    /// Makes the store accept changes again after a failed commit or sync. The caller must hold the
    /// data that may be lost.
    ///
    /// # Errors
    /// As opening the store; it stays closed to changes then.
    fn recover(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Allocates `count` consecutive numbers from the counter at `key`, starting at 1. No number is
    /// allocated twice, even after a crash.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`commit`](Self::commit); [`StoreError::Engine`] if the counter is
    /// damaged.
    fn allocate(&self, key: &[u8], count: u64) -> Result<Range<u64>, StoreError> {
        loop {
            let old = self.get(key)?;
            let damaged = || StoreError::Engine {
                path: format!("counter {key:02x?}"),
                reason: "it is damaged: run regfs fsck".into(),
            };
            let start = match old.as_deref() {
                None => 1,
                Some(old) => old
                    .try_into()
                    .map(u64::from_be_bytes)
                    .map_err(|_| damaged())?,
            };
            let end = start.checked_add(count).ok_or_else(damaged)?;
            let precondition = match old {
                Some(old) => Precondition::Equals(key.to_vec(), old),
                None => Precondition::Absent(key.to_vec()),
            };
            let put = WriteOp::Put(key.to_vec(), end.to_be_bytes().to_vec());
            let batch = Batch {
                preconditions: vec![precondition],
                changes: vec![put],
                as_of: None,
            };
            if self.commit(batch)? == CommitOutcome::Committed {
                return Ok(start..end);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod contract;
