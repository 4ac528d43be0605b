//! The state that a journal shares with its applier: reads and commits. Flushing and applying are in
//! `flush.rs` and `applier.rs`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};

use super::group;
use super::group_commit::GroupCommit;
use super::overlay::Overlay;
use super::segments::Segments;
use super::superblock::{Superblock, SuperblockWriter};
use crate::index::store::{Batch, CommitOutcome, Pair, Precondition, Store, StoreError, WriteOp};

/// Bytes in the overlay from which the applier is woken at once.
const APPLY_AT_BYTES: usize = 4 << 20;
/// Bytes in the overlay above which a commit waits for the applier. They bound what opening after a
/// crash has to apply.
pub(super) const OVERLAY_BYTES_MAX: usize = 8 << 20;
/// How long a commit waits for the applier before it checks again.
const ROOM_CHECK: Duration = Duration::from_millis(100);

/// Shared by the journal and its applier.
pub(super) struct Inner {
    pub(super) base: Arc<dyn Store>,
    pub(super) superblock: SuperblockWriter,
    /// Held during a commit. Lock order: commits, `group_commit`, state. `segments` is never held
    /// together with these.
    pub(super) commits: Mutex<()>,
    pub(super) segments: Mutex<Segments>,
    pub(super) group_commit: GroupCommit,
    pub(super) state: RwLock<JournalState>,
    /// The number of the last durable batch.
    pub(super) durable: AtomicU64,
    /// Flushes since the journal was opened.
    pub(super) flushes: AtomicU64,
    pub(super) poison: RwLock<Option<String>>,
    /// The last failure of the applier, while it makes no progress.
    pub(super) apply_error: RwLock<Option<StoreError>>,
    pub(super) signal: Mutex<ApplierSignal>,
    /// Wakes the applier, and commits that wait for it.
    pub(super) wakeup: Condvar,
}

/// What is in memory only.
#[derive(Debug, Default)]
pub(super) struct JournalState {
    pub(super) overlay: Overlay,
    /// The number of the last batch.
    pub(super) last: u64,
    /// Encoded batches that are in no segment yet.
    pub(super) pending: Vec<Vec<u8>>,
}

/// What the applier is asked to do.
#[derive(Debug, Default)]
pub(super) struct ApplierSignal {
    /// There are commits that it has not seen.
    pub(super) committed: bool,
    /// The overlay is large enough to be applied at once.
    pub(super) full: bool,
    /// It is to finish.
    pub(super) stop: bool,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.read();
        f.debug_struct("Journal")
            .field("last", &state.last)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(super) fn new(base: Arc<dyn Store>, superblock: Superblock, segments: Segments) -> Self {
        let last = superblock.applied;
        Self {
            superblock: SuperblockWriter::new(Arc::clone(&base), superblock),
            base,
            commits: Mutex::new(()),
            segments: Mutex::new(segments),
            group_commit: GroupCommit::default(),
            state: RwLock::new(JournalState {
                last,
                ..JournalState::default()
            }),
            durable: AtomicU64::new(last),
            flushes: AtomicU64::new(0),
            poison: RwLock::default(),
            apply_error: RwLock::default(),
            signal: Mutex::default(),
            wakeup: Condvar::new(),
        }
    }

    pub(super) fn check_poison(&self) -> Result<(), StoreError> {
        match &*self.poison.read() {
            Some(reason) => Err(StoreError::Poisoned(reason.clone())),
            None => Ok(()),
        }
    }

    /// Stops accepting commits, since it is unknown what the disk has stored.
    pub(super) fn poison(&self, reason: String) -> StoreError {
        let mut poison = self.poison.write();
        if poison.is_none() {
            log::error!("the index accepts no more changes: {reason}");
        }
        StoreError::Poisoned(poison.get_or_insert(reason).clone())
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = self.state.read().overlay.get(key) {
            return Ok(value.clone());
        }
        self.base.get(key)
    }

    pub(super) fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        // Held, so that the applier moves nothing into the base store between the two reads.
        let state = self.state.read();
        state.overlay.scan(self.base.as_ref(), range, limit)
    }

    /// The key of a precondition that does not hold.
    fn conflict(&self, precondition: &Precondition) -> Result<Option<Vec<u8>>, StoreError> {
        let (holds, key) = match precondition {
            Precondition::Absent(key) => (self.get(key)?.is_none(), key),
            Precondition::Equals(key, value) => (self.get(key)?.as_ref() == Some(value), key),
            Precondition::Empty(range) => {
                let first = self.scan(&range.start..&range.end, 1)?;
                (first.is_empty(), &range.start)
            }
        };
        Ok((!holds).then(|| key.clone()))
    }

    /// Waits until the overlay has room.
    fn wait_for_room(&self) -> Result<(), StoreError> {
        while self.state.read().overlay.bytes() > OVERLAY_BYTES_MAX {
            self.check_poison()?;
            if let Some(reason) = &*self.apply_error.read() {
                return Err(reason.clone());
            }
            let mut signal = self.signal.lock();
            (signal.committed, signal.full) = (true, true);
            self.wakeup.notify_all();
            self.wakeup.wait_for(&mut signal, ROOM_CHECK);
        }
        Ok(())
    }

    /// Tells the applier that there is something to flush, and to apply now if the overlay is
    /// large.
    fn signal_applier(&self, gathered: usize) {
        let mut signal = self.signal.lock();
        let full = gathered > APPLY_AT_BYTES;
        if !signal.committed || (full && !signal.full) {
            signal.committed = true;
            signal.full |= full;
            self.wakeup.notify_all();
        }
    }

    pub(super) fn commit(&self, batch: Batch) -> Result<CommitOutcome, StoreError> {
        batch.check()?;
        self.wait_for_room()?;
        let committing = self.commits.lock();
        self.check_poison()?;
        // No other commit can run now: if none ran since the preconditions held, they still hold.
        let unchanged = batch.as_of == Some(self.state.read().last);
        let looked_at = batch.preconditions.iter().filter(|_| !unchanged);
        for precondition in looked_at {
            if let Some(key) = self.conflict(precondition)? {
                return Ok(CommitOutcome::Conflict(key));
            }
        }
        let encoded = group::encode_batch(&batch.changes);
        let mut state = self.state.write();
        for change in batch.changes {
            match change {
                WriteOp::Put(key, value) => state.overlay.set(key, Some(value)),
                WriteOp::Delete(key) => state.overlay.set(key, None),
            }
        }
        state.last += 1;
        state.pending.push(encoded);
        let gathered = state.overlay.bytes();
        drop(state);
        drop(committing);
        self.signal_applier(gathered);
        Ok(CommitOutcome::Committed)
    }
}
