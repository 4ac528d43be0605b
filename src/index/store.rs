//! The store: the seam between facts and the engine that keeps them, an ordered map of bytes.
//!
//! Synchronous, blocking, owned bytes, no held snapshots: what a database server can do as well
//! as an embedded engine. A commit is atomic and visible to every reader when it returns; it is
//! durable after the next [`Store::sync`] at the latest, always as a prefix of what was
//! committed. It is not a retry loop: a conflict goes back to the caller.

use std::ops::Range;
use std::sync::Arc;

use super::journal::JournalDamage;

/// Most operations (preconditions and changes) in one batch.
pub const BATCH_OPERATIONS_MAX: usize = 1_000;
/// Most bytes of keys and values in one batch.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What must hold for a batch to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is no such key.
    Absent(Vec<u8>),
    /// The key has this value.
    Equals(Vec<u8>, Vec<u8>),
    /// No key lies in this range.
    Empty(Range<Vec<u8>>),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key, which need not exist.
    Delete(Vec<u8>),
}

/// Changes that are made together, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// What changes, in this order.
    pub changes: Vec<WriteOp>,
    /// The [position](Store::position) at which everything was as it must be, where somebody
    /// counts: if nothing was committed since, nobody needs to look again.
    pub as_of: Option<u64>,
}

impl Batch {
    /// Refuses a batch over the limits.
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

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is visible.
    Committed,
    /// Nothing changed: this key, or one in the range beginning here, was not as required.
    Conflict(Vec<u8>),
}

/// Why the store could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A durable write did not succeed; what was committed after the last sync may be lost.
    #[error(
        "the index stopped accepting changes after a write that did not become durable ({0}): check the disk, unmount, and mount again"
    )]
    Poisoned(String),
    /// The engine could not read or write.
    #[error("index {path}: {reason}")]
    Engine {
        /// The file.
        path: String,
        /// What the engine says.
        reason: String,
    },
    /// The file is of a format that this program does not know.
    #[error(
        "index {path} has format {found}, this program reads format {known}: use a newer regfs"
    )]
    Format {
        /// The file.
        path: String,
        /// What it says.
        found: u32,
        /// What we read.
        known: u32,
    },
    /// The journal in front of the index lost something, or is not the index's own.
    #[error(
        "{0}: put back what is missing, restore a backup, or go on with what there is by regfs \
         mount -o recover=accept or regfs fsck --repair, which keep the damaged segments aside"
    )]
    Journal(Arc<JournalDamage>),
    /// More than a batch may hold.
    #[error(
        "a batch of {operations} operations and {bytes} bytes is over the limit of {BATCH_OPERATIONS_MAX} and {BATCH_BYTES_MAX}"
    )]
    BatchTooLarge {
        /// Operations in it.
        operations: usize,
        /// Bytes in it.
        bytes: usize,
    },
    /// The operating system refused, by its own code.
    #[error("index: {0}")]
    System(Arc<std::io::Error>),
    /// What was kept as of one moment cannot change.
    #[error("a snapshot of the index takes no changes")]
    Snapshot,
}

/// An ordered map of bytes with atomic, optimistic commits.
pub trait Store: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` pairs of the range, in the order of their keys. Read on from behind the
    /// last key; each call sees its own moment.
    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Makes all changes, if all preconditions hold.
    fn commit(&self, batch: Batch) -> Result<CommitOutcome, StoreError>;

    /// Returns when everything committed before the call is durable; free if that is so.
    fn sync(&self) -> Result<(), StoreError>;

    /// How far commits have come: a number that grows with each, 0 where nobody counts.
    fn position(&self) -> u64 {
        0
    }

    /// Whether everything committed up to a position is durable, as far as can be told at once.
    fn is_durable(&self, _position: u64) -> bool {
        false
    }

    /// Everything as of now: later commits do not show, and it takes none itself. While it is
    /// held it costs room below, for what it keeps from being reused.
    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError>;

    /// Tries to take changes again after a commit or sync has failed that nobody relies on.
    fn recover(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Takes `count` numbers from the counter kept at `key`. None is ever given out twice, not
    /// even after a crash.
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
    //! What every store must do; each implementation's tests call [`all`].

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

    /// Runs every check on a fresh store each.
    pub(crate) fn all(make: &dyn Fn() -> std::sync::Arc<dyn Store>) {
        for check in [
            a_commit_is_visible_when_it_returns,
            a_scan_is_ordered_bounded_and_exclusive_of_its_end,
            a_failed_precondition_changes_nothing,
            changes_apply_in_their_order,
            limits_are_enforced,
            numbers_are_never_given_out_twice,
            conflicting_writers_lose_nothing,
            a_snapshot_shows_one_moment_and_takes_no_changes,
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

    fn numbers_are_never_given_out_twice(store: &dyn Store) {
        assert_eq!(store.allocate(b"n", 3).unwrap(), 1..4);
        assert_eq!(store.allocate(b"n", 1).unwrap(), 4..5);
        assert_eq!(store.allocate(b"m", 1).unwrap(), 1..2);
    }

    fn a_snapshot_shows_one_moment_and_takes_no_changes(store: &dyn Store) {
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
