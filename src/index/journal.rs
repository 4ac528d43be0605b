//! The journal: a write-ahead log in front of a base store, so that durability costs one flush of
//! one preallocated file.
//!
//! - A commit is checked and applied to an overlay in memory, where every reader sees it at once.
//! - A sync appends everything committed since the last sync as one checksummed group and flushes
//!   it. Concurrent syncs share a flush. Commits that nobody syncs are flushed after 100 ms.
//! - The applier moves the overlay into the base store in one durable commit, which also records
//!   the last batch in it; the segments with those batches are free again.
//! - Opening applies newer batches to the base store and starts a new epoch. A journal that lost
//!   something is an error, and nothing is changed until the caller accepts the loss.
//! - A failed flush poisons the journal: it accepts no more commits and does not retry, since it is
//!   unknown what the disk has stored.
//!
//! The journal handles bytes only. Besides it, only `segment.rs` decides when they are durable.

use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};

use super::store::{Batch, CommitOutcome, Pair, Precondition, Store, StoreError, WriteOp};
use crate::dir::Dir;

mod applier;
mod damage;
mod flush;
mod group;
mod group_commit;
mod opening;
mod overlay;
mod recovery;
mod segment;
mod snapshot;
mod superblock;

pub use damage::{JournalDamage, JournalFault, JournalFaultKind};
use group_commit::GroupCommit;
use opening::OpenedJournal;
pub use opening::Recover;
pub(super) use opening::replay;
use overlay::Overlay;
use segment::{Segment, Segments};
use snapshot::JournalSnapshot;
pub(super) use superblock::SUPERBLOCK_KEY;
use superblock::SuperblockWriter;

/// Bytes in the overlay from which the applier is woken at once.
const GATHERED: usize = 4 << 20;
/// Bytes in the overlay above which a commit waits for the applier. They bound what opening after a
/// crash has to apply.
const GATHERED_MAX: usize = 8 << 20;
/// How long a commit waits for the applier before it checks again.
const ROOM: Duration = Duration::from_millis(100);

/// A write-ahead log in front of a base store.
#[derive(Debug)]
pub struct Journal {
    inner: Arc<Inner>,
    /// The damage that was accepted when the journal was opened.
    damage: Option<JournalDamage>,
    applier: Mutex<Option<JoinHandle<()>>>,
}

/// Shared by the journal and its applier.
struct Inner {
    base: Arc<dyn Store>,
    superblock: SuperblockWriter,
    /// Held during a commit. Lock order: commits, `group_commit`, state. `segments` is never held
    /// together with these.
    commits: Mutex<()>,
    segments: Mutex<Segments>,
    group_commit: GroupCommit,
    state: RwLock<JournalState>,
    /// The number of the last durable batch.
    durable: AtomicU64,
    /// Flushes since the journal was opened.
    flushes: AtomicU64,
    poison: RwLock<Option<String>>,
    /// The last failure of the applier, while it makes no progress.
    apply_error: RwLock<Option<StoreError>>,
    signal: Mutex<ApplierSignal>,
    /// Wakes the applier, and commits that wait for it.
    wakeup: Condvar,
}

/// What is in memory only.
#[derive(Debug, Default)]
struct JournalState {
    overlay: Overlay,
    /// The number of the last batch.
    last: u64,
    /// Encoded batches that are in no segment yet.
    pending: Vec<Vec<u8>>,
}

/// What the applier is asked to do.
#[derive(Debug, Default)]
struct ApplierSignal {
    /// There are commits that it has not seen.
    committed: bool,
    /// The overlay is large enough to be applied at once.
    full: bool,
    /// It is to finish.
    stop: bool,
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

fn system(error: io::Error) -> StoreError {
    StoreError::System(Arc::new(error))
}

impl Journal {
    /// Opens the journal in a directory, in front of a base store. Batches that the base store
    /// lacks are applied to it first.
    ///
    /// # Errors
    /// [`StoreError::Journal`] if the journal lost something and `recover` does not accept that;
    /// then nothing was changed. Otherwise those of the base store and of the system.
    pub fn open(base: Arc<dyn Store>, dir: &Dir, recover: Recover) -> Result<Self, StoreError> {
        let OpenedJournal {
            superblock,
            segments,
            damage,
        } = opening::open(base.as_ref(), dir, recover)?;
        let last = superblock.applied;
        let inner = Arc::new(Inner {
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
        });
        let thread = std::thread::Builder::new().name("applier".into());
        let shared = Arc::clone(&inner);
        let thread = thread.spawn(move || {
            let applying = || shared.apply_until_stopped();
            if catch_unwind(AssertUnwindSafe(applying)).is_err() {
                shared.poison("the applier thread panicked".into());
            }
        });
        Ok(Self {
            inner,
            damage,
            applier: Mutex::new(Some(thread.map_err(system)?)),
        })
    }

    /// The damage of the journal that was accepted when it was opened.
    pub fn damage(&self) -> Option<&JournalDamage> {
        self.damage.as_ref()
    }
}

impl Journal {
    /// Returns the number of the last batch, and the number of flushes since the journal was
    /// opened.
    pub fn activity(&self) -> (u64, u64) {
        let last = self.inner.state.read().last;
        (last, self.inner.flushes.load(Ordering::Relaxed))
    }
}

impl Inner {
    fn check_poison(&self) -> Result<(), StoreError> {
        match &*self.poison.read() {
            Some(reason) => Err(StoreError::Poisoned(reason.clone())),
            None => Ok(()),
        }
    }

    /// Stops accepting commits, since it is unknown what the disk has stored.
    fn poison(&self, reason: String) -> StoreError {
        let mut poison = self.poison.write();
        if poison.is_none() {
            log::error!("the index accepts no more changes: {reason}");
        }
        StoreError::Poisoned(poison.get_or_insert(reason).clone())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = self.state.read().overlay.get(key) {
            return Ok(value.clone());
        }
        self.base.get(key)
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
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
        while self.state.read().overlay.bytes() > GATHERED_MAX {
            self.check_poison()?;
            if let Some(reason) = &*self.apply_error.read() {
                return Err(reason.clone());
            }
            let mut signal = self.signal.lock();
            (signal.committed, signal.full) = (true, true);
            self.wakeup.notify_all();
            self.wakeup.wait_for(&mut signal, ROOM);
        }
        Ok(())
    }

    /// Tells the applier that there is something to flush, and to apply now if the overlay is
    /// large.
    fn signal_applier(&self, gathered: usize) {
        let mut signal = self.signal.lock();
        let full = gathered > GATHERED;
        if !signal.committed || (full && !signal.full) {
            signal.committed = true;
            signal.full |= full;
            self.wakeup.notify_all();
        }
    }

    fn commit(&self, batch: Batch) -> Result<CommitOutcome, StoreError> {
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

impl Store for Journal {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.inner.scan(range, limit)
    }

    fn commit(&self, batch: Batch) -> Result<CommitOutcome, StoreError> {
        self.inner.commit(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let last = self.inner.state.read().last;
        self.inner.flush(last)
    }

    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError> {
        // Held, so that the applier moves nothing into the base store between the two reads.
        let state = self.inner.state.read();
        let base = self.inner.base.snapshot()?;
        Ok(Arc::new(JournalSnapshot::new(state.overlay.copy(), base)))
    }

    fn position(&self) -> u64 {
        self.inner.state.read().last
    }

    fn is_durable(&self, position: u64) -> bool {
        self.inner.durable.load(Ordering::Acquire) >= position
    }
}

impl Drop for Journal {
    /// Flushes and applies everything, so that the next opening has nothing to apply.
    fn drop(&mut self) {
        self.inner.signal.lock().stop = true;
        self.inner.wakeup.notify_all();
        if let Some(applier) = self.applier.lock().take() {
            // If the applier panicked, everything is still in the segments.
            let _ended = applier.join();
        }
    }
}

#[cfg(test)]
mod tests;
