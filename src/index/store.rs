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
pub(crate) mod contract {
    //! The contract of every store; the tests of each implementation call [`all`].

    use super::*;

    pub(crate) fn put(key: &[u8], value: &[u8]) -> WriteOp {
        WriteOp::Put(key.to_vec(), value.to_vec())
    }

    pub(crate) fn change(store: &dyn Store, changes: Vec<WriteOp>) {
        let batch = Batch {
            preconditions: vec![],
            changes,
            as_of: None,
        };
        assert_eq!(store.commit(batch).unwrap(), CommitOutcome::Committed);
    }

    fn keys(store: &dyn Store, from: &[u8], end: &[u8], limit: usize) -> Vec<Vec<u8>> {
        store
            .scan(from..end, limit)
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .collect()
    }

    /// Runs every check, each on a fresh store.
    pub(crate) fn all(make: &dyn Fn() -> std::sync::Arc<dyn Store>) {
        for check in [
            a_commit_is_visible_when_it_returns,
            a_scan_is_ordered_bounded_and_exclusive_of_its_end,
            a_failed_precondition_changes_nothing,
            changes_apply_in_their_order,
            limits_are_enforced,
            no_number_is_allocated_twice,
            conflicting_writers_lose_nothing,
            a_snapshot_does_not_change_and_refuses_commits,
        ] {
            check(make().as_ref());
        }
    }

    fn a_commit_is_visible_when_it_returns(store: &dyn Store) {
        assert_eq!(store.get(b"a").unwrap(), None);
        change(store, vec![put(b"a", b"1"), put(b"b", b"")]);
        assert_eq!(store.get(b"a").unwrap().unwrap(), b"1");
        assert_eq!(store.get(b"b").unwrap().unwrap(), b"");
        store.sync().unwrap();
        store.sync().unwrap();
        assert_eq!(store.get(b"a").unwrap().unwrap(), b"1");
    }

    fn a_scan_is_ordered_bounded_and_exclusive_of_its_end(store: &dyn Store) {
        change(
            store,
            vec![
                put(b"b", b""),
                put(b"a", b""),
                put(b"ab", b""),
                put(b"c", b""),
            ],
        );
        assert_eq!(keys(store, b"a", b"c", 9), [&b"a"[..], b"ab", b"b"]);
        assert_eq!(keys(store, b"a", b"c", 2), [&b"a"[..], b"ab"]);
        assert_eq!(keys(store, b"a\0", b"\xff", 9), [&b"ab"[..], b"b", b"c"]);
        assert!(keys(store, b"d", b"e", 9).is_empty());
        assert!(keys(store, b"a", b"c", 0).is_empty());
    }

    fn a_failed_precondition_changes_nothing(store: &dyn Store) {
        change(store, vec![put(b"a", b"1")]);
        for precondition in [
            Precondition::Absent(b"a".to_vec()),
            Precondition::Equals(b"a".to_vec(), b"2".to_vec()),
            Precondition::Equals(b"b".to_vec(), b"".to_vec()),
            Precondition::Empty(b"a".to_vec()..b"b".to_vec()),
        ] {
            let batch = Batch {
                preconditions: vec![precondition],
                changes: vec![put(b"z", b"")],
                as_of: None,
            };
            assert!(matches!(
                store.commit(batch).unwrap(),
                CommitOutcome::Conflict(_)
            ));
            assert_eq!(store.get(b"z").unwrap(), None);
        }
        let preconditions = vec![
            Precondition::Absent(b"b".to_vec()),
            Precondition::Equals(b"a".to_vec(), b"1".to_vec()),
            Precondition::Empty(b"b".to_vec()..b"c".to_vec()),
        ];
        let batch = Batch {
            preconditions,
            changes: vec![put(b"z", b"")],
            as_of: None,
        };
        assert_eq!(store.commit(batch).unwrap(), CommitOutcome::Committed);
    }

    fn changes_apply_in_their_order(store: &dyn Store) {
        change(
            store,
            vec![put(b"a", b"1"), put(b"b", b"1"), put(b"c", b"1")],
        );
        let delete = |key: &[u8]| WriteOp::Delete(key.to_vec());
        change(
            store,
            vec![
                delete(b"a"),
                delete(b"b"),
                put(b"b", b"2"),
                put(b"d", b"1"),
                delete(b"d"),
                delete(b"c"),
            ],
        );
        assert_eq!(keys(store, b"a", b"z", 9), [b"b"]);
        assert_eq!(store.get(b"b").unwrap().unwrap(), b"2");
    }

    fn limits_are_enforced(store: &dyn Store) {
        let many = vec![WriteOp::Delete(b"a".to_vec()); BATCH_OPERATIONS_MAX + 1];
        let large = vec![put(b"a", &vec![0; BATCH_BYTES_MAX])];
        for changes in [many, large] {
            let refused = store.commit(Batch {
                preconditions: vec![],
                changes,
                as_of: None,
            });
            assert!(matches!(refused, Err(StoreError::BatchTooLarge { .. })));
        }
        let full = vec![put(b"a", b"1"); BATCH_OPERATIONS_MAX];
        change(store, full);
    }

    fn no_number_is_allocated_twice(store: &dyn Store) {
        assert_eq!(store.allocate(b"n", 3).unwrap(), 1..4);
        assert_eq!(store.allocate(b"n", 1).unwrap(), 4..5);
        assert_eq!(store.allocate(b"m", 1).unwrap(), 1..2);
    }

    fn a_snapshot_does_not_change_and_refuses_commits(store: &dyn Store) {
        change(store, vec![put(b"a", b"1"), put(b"b", b"1")]);
        let snapshot = store.snapshot().unwrap();
        let changes = vec![
            put(b"a", b"2"),
            put(b"c", b"2"),
            WriteOp::Delete(b"b".to_vec()),
        ];
        change(store, changes);
        store.sync().unwrap();
        assert_eq!(snapshot.get(b"a").unwrap().unwrap(), b"1");
        assert_eq!(snapshot.get(b"c").unwrap(), None);
        assert_eq!(keys(snapshot.as_ref(), b"a", b"z", 9), [b"a", b"b"]);
        assert_eq!(keys(store, b"a", b"z", 9), [b"a", b"c"]);
        let refused = snapshot.commit(Batch {
            preconditions: vec![],
            changes: vec![put(b"a", b"3")],
            as_of: None,
        });
        assert!(matches!(refused, Err(StoreError::Snapshot)));
        let again = snapshot.snapshot().unwrap();
        assert_eq!(again.get(b"a").unwrap().unwrap(), b"1");
    }

    fn conflicting_writers_lose_nothing(store: &dyn Store) {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        store.allocate(b"n", 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.allocate(b"n", 1).unwrap(), 201..202);
    }
}
