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

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::store::{Batch, CommitOutcome, Pair, Store, StoreError};
use crate::dir::Dir;

mod applier;
mod base_store;
mod damage;
mod flush;
mod group;
mod group_commit;
mod inner;
mod opening;
mod overlay;
mod recovery;
mod segment;
mod segments;
mod snapshot;
mod superblock;

pub use damage::{JournalDamage, JournalFault, JournalFaultKind};
use inner::Inner;
use opening::OpenedJournal;
pub use opening::Recover;
pub(super) use opening::replay;
use snapshot::JournalSnapshot;
pub(super) use superblock::SUPERBLOCK_KEY;

/// A write-ahead log in front of a base store.
#[derive(Debug)]
pub struct Journal {
    inner: Arc<Inner>,
    /// The damage that was accepted when the journal was opened.
    damage: Option<JournalDamage>,
    applier: Mutex<Option<JoinHandle<()>>>,
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
        let inner = Arc::new(Inner::new(base, superblock, segments));
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
            applier: Mutex::new(Some(thread?)),
        })
    }

    /// The damage of the journal that was accepted when it was opened.
    pub fn damage(&self) -> Option<&JournalDamage> {
        self.damage.as_ref()
    }

    /// Returns the number of the last batch, and the number of flushes since the journal was
    /// opened.
    pub fn activity(&self) -> (u64, u64) {
        let last = self.inner.state.read().last;
        (last, self.inner.flushes.load(Ordering::Relaxed))
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
