//! The journal: a store in front of a store, so that what is durable costs one flush of one
//! preallocated file.
//!
//! - A commit is checked and applied in memory, where every reader sees it at once.
//! - A sync appends everything that was committed since the last one as one checksummed group,
//!   and flushes it. Whoever syncs does it; who comes meanwhile finds it done. What nobody syncs
//!   is flushed a moment later.
//! - The applier moves what has gathered in memory into the store below, in one durable commit
//!   that also says up to which batch; then the segments that held it are free again.
//! - Opening applies what is newer than that, and begins a new epoch. A journal that lost
//!   something is an error, and nothing of it is changed, until the caller accepts the loss.
//! - A flush that fails poisons the journal: it takes nothing more, and nothing is tried again,
//!   since nobody can know what the disk has kept.
//!
//! It knows bytes only, and is the only file besides `segment.rs` that says when they are
//! durable.

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

/// Memory that may gather before the applier is called, in bytes.
const GATHERED: usize = 4 << 20;
/// Memory above which a commit waits for the applier: what opening after a crash has to apply.
const GATHERED_MAX: usize = 8 << 20;
/// How long a commit waits for the applier before it looks again.
const ROOM: Duration = Duration::from_millis(100);

/// A store in front of another.
#[derive(Debug)]
pub struct Journal {
    inner: Arc<Inner>,
    /// What was wrong and accepted when it was opened.
    damage: Option<JournalDamage>,
    applier: Mutex<Option<JoinHandle<()>>>,
}

/// What the journal and its applier share.
struct Inner {
    base: Arc<dyn Store>,
    superblock: SuperblockWriter,
    /// Held by whoever commits. The order of locks: commits, turns, state; segments by itself.
    commits: Mutex<()>,
    segments: Mutex<Segments>,
    group_commit: GroupCommit,
    state: RwLock<JournalState>,
    /// The number of the last batch that is durable.
    durable: AtomicU64,
    /// Flushes since it was opened.
    flushes: AtomicU64,
    poison: RwLock<Option<String>>,
    /// Why the applier makes no progress.
    apply_error: RwLock<Option<StoreError>>,
    signal: Mutex<ApplierSignal>,
    /// Wakes the applier, and those who wait for it.
    wakeup: Condvar,
}

/// What is in memory only.
#[derive(Debug, Default)]
struct JournalState {
    overlay: Overlay,
    /// The number of the last batch.
    last: u64,
    /// Batches that are in no segment yet.
    pending: Vec<Vec<u8>>,
}

/// What the applier is asked for.
#[derive(Debug, Default)]
struct ApplierSignal {
    /// Something was committed that it has not seen.
    committed: bool,
    /// There is enough of it.
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
    /// Opens the journal in a directory, in front of a store; what the store below lacks is
    /// applied first.
    ///
    /// # Errors
    /// [`StoreError::Journal`] if the journal lost something and that is not accepted: then
    /// nothing was changed. Otherwise what the store and the system say.
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
                shared.poison("the applier has panicked".into());
            }
        });
        Ok(Self {
            inner,
            damage,
            applier: Mutex::new(Some(thread.map_err(system)?)),
        })
    }

    /// What was wrong with the journal when it was opened, and accepted.
    pub fn damage(&self) -> Option<&JournalDamage> {
        self.damage.as_ref()
    }
}

impl Journal {
    /// Batches committed and flushes made so far: how many share one.
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

    /// Takes nothing more: nobody knows what the disk has kept.
    fn poison(&self, reason: String) -> StoreError {
        let mut poison = self.poison.write();
        if poison.is_none() {
            log::error!("the index is read-only from now on: {reason}");
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
        // Held, so that nothing sinks below between the look here and the look there.
        let state = self.state.read();
        state.overlay.scan(self.base.as_ref(), range, limit)
    }

    /// The key that is not as a precondition demands.
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

    /// Waits until there is room for more in memory.
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

    /// Takes note that there is something to flush, and perhaps to apply.
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
        // Nobody else commits now: what nobody has changed since it was read is as it was read.
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
        // Held, so that nothing sinks below between the look here and the look there.
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
    /// Flushes and applies everything, so that the next opening finds nothing to do.
    fn drop(&mut self) {
        self.inner.signal.lock().stop = true;
        self.inner.wakeup.notify_all();
        if let Some(applier) = self.applier.lock().take() {
            // An applier that panicked has left everything in the segments.
            let _ended = applier.join();
        }
    }
}

#[cfg(test)]
mod tests;
