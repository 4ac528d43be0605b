//! Checkpoints: publications and logged bytes become durable as files, many at a time, and the
//! index drops the rows that recovery would need for them.
//!
//! Publication flushes the staged bytes (or has [logged](super::logged) them) and links them to
//! the path of their digest, but does not wait until that link is durable: until the next
//! checkpoint the index also records the staging number, a *pending publication*. A checkpoint
//! runs behind the writers' back once enough rows are pending. What happens to rows that a crash
//! leaves is in [`recovery`](super::recovery).
//!
//! Reclaiming is here too: staged files that no upload needs are removed once the change that
//! released them is durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::{Error, Registry};
use crate::blobs::Blobs;
use crate::digest::Digest;
use crate::index::Index;

/// Pending rows at which a checkpoint starts. It bounds the work of recovery.
const PENDING_MAX: usize = 256;
/// Rows that are dropped in one transaction.
const ROWS_AT_ONCE: usize = 100;

/// The state of checkpoints: what is pending, and the thread that runs one.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Rows added since the last checkpoint began.
    pending: AtomicUsize,
    /// Set when a checkpoint has failed: none runs any more, and nothing more is logged.
    pub(super) failed: Arc<AtomicBool>,
    /// The generation of the next [logged bytes](super::logged).
    pub(super) generation: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.lock().take() {
            // A thread that panicked left rows behind, which the next recovery reads.
            let _ended = thread.join();
        }
    }
}

/// Staging numbers that no upload needs, oldest first, each with the position up to which facts
/// must be durable before its file may go: a crash before that gives the file back to its upload.
#[derive(Debug, Default)]
pub(super) struct Reclaimable(Mutex<VecDeque<(u64, u64)>>);

impl Registry {
    /// Counts new pending rows, and starts a checkpoint in a thread once there are many.
    pub(super) fn add_pending(&self, count: usize) {
        let checkpoints = &self.checkpoints;
        let before = checkpoints.pending.fetch_add(count, Ordering::Relaxed);
        let few = count == 0 || before + count < PENDING_MAX;
        if few || checkpoints.failed.load(Ordering::Relaxed) {
            return;
        }
        let mut thread = checkpoints.thread.lock();
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        checkpoints.pending.store(0, Ordering::Relaxed);
        let (index, blobs) = (Arc::clone(&self.index), Arc::clone(&self.blobs));
        let failed = Arc::clone(&checkpoints.failed);
        let run = move || {
            if let Err(error) = checkpoint(&index, blobs.as_ref()) {
                failed.store(true, Ordering::Relaxed);
                log::error!("no more checkpoints until the store is next opened: {error}");
            }
        };
        let spawned = std::thread::Builder::new().name("checkpoint".into());
        match spawned.spawn(run) {
            Ok(started) => *thread = Some(started),
            Err(error) => log::warn!("the checkpoint is postponed: {error}"),
        }
    }

    /// Runs a checkpoint and makes it durable, so that a later crash of the machine leaves
    /// nothing to recover. Called before the store is closed.
    ///
    /// # Errors
    /// Those of the index and of the filesystem. The rows stay, and the next opening reads them.
    pub fn checkpoint(&self) -> Result<(), Error> {
        checkpoint(&self.index, self.blobs.as_ref())?;
        self.sync_always()
    }

    /// Makes a blob's path durable if its publication is pending. The caller is about to drop the
    /// fact and with it the pending row, while the bytes stay (in the trash).
    pub(super) fn sync_if_pending(&self, digest: &Digest) -> Result<(), Error> {
        if self
            .index
            .view()
            .blobs()
            .pending_publication(digest)?
            .is_some()
        {
            self.blobs.sync()?;
        }
        Ok(())
    }

    /// Removes a staged file once the change before this call, by which no upload needs it any
    /// more, is durable.
    pub(super) fn reclaim_when_durable(&self, number: u64) {
        self.reclaimable
            .0
            .lock()
            .push_back((number, self.position()));
        self.reclaim();
    }

    /// Removes the staged files that became reclaimable by changes that are durable now.
    pub(super) fn reclaim(&self) {
        let next = || {
            let mut reclaimable = self.reclaimable.0.lock();
            reclaimable.pop_front_if(|(_, position)| self.index.is_durable(*position))
        };
        while let Some((number, _)) = next() {
            // Recovery removes what cannot be removed now.
            if let Err(error) = self.blobs.discard(number) {
                log::warn!("staged bytes stay until the next start: {error}");
            }
        }
    }
}

/// Makes every blob durable under its digest and every staged file durable, then drops the rows
/// that say otherwise. Rows that are added meanwhile stay.
///
/// # Errors
/// If the files cannot be made durable no row is dropped.
pub(super) fn checkpoint(index: &Index, blobs: &dyn Blobs) -> Result<(), Error> {
    let (publications, logged) = (
        index.list().pending_publications()?.rows,
        index.list().logged_bytes()?.rows,
    );
    if publications.is_empty() && logged.is_empty() {
        return Ok(());
    }
    blobs.sync()?;
    for rows in publications.chunks(ROWS_AT_ONCE) {
        index.transact(|tx| {
            let mut drop_row =
                |(digest, number): &_| tx.blobs().complete_publication(digest, *number);
            rows.iter().try_for_each(&mut drop_row).map_err(Error::from)
        })?;
    }
    for row in logged {
        index.transact(|tx| {
            // A newer generation holds bytes that were written after this checkpoint began.
            let now = tx.uploads().logged_bytes(row.number)?;
            if now.is_some_and(|now| now.generation == row.generation) {
                tx.uploads().remove_logged_bytes(row.number)?;
            }
            Ok::<_, Error>(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::index::{Batch, Store as _, WriteOp};
    use crate::registry::publish::INLINE_BYTES_MAX;
    use crate::registry::{Bytes, Policy};
    use crate::{blobs, index};

    #[test]
    fn a_crash_undoes_no_publication_before_or_after_a_checkpoint() {
        let facts = Arc::new(index::MemoryStore::default());
        let bytes = Arc::new(blobs::MemoryBlobs::default());
        let open = || Registry::new(facts.clone(), bytes.clone(), Policy::default()).unwrap();
        let mut published = Vec::new();
        for round in 0..3 {
            let registry = open();
            for number in 0..PENDING_MAX * 3 / 4 {
                let layer = format!("{round} {number} ").repeat(INLINE_BYTES_MAX);
                let digest = Digest::of(Algorithm::Sha256, layer.as_bytes());
                let held = Bytes::Held(layer.as_bytes());
                registry.publish(held, &digest).unwrap();
                published.push(digest);
            }
            registry.sync().unwrap();
            drop(registry);
            facts.crash();
            bytes.crash();
        }
        let registry = open();
        for digest in &published {
            assert!(!registry.read_blob(digest).unwrap().is_empty());
        }
        let left = registry
            .index
            .list()
            .pending_publications()
            .unwrap()
            .rows
            .len();
        assert!(left < published.len(), "{left} are still pending");
    }

    #[test]
    fn an_unreadable_row_does_not_prevent_opening_and_loses_no_bytes() {
        let facts = Arc::new(index::MemoryStore::default());
        let bytes = Arc::new(blobs::MemoryBlobs::default());
        let open = || Registry::new(facts.clone(), bytes.clone(), Policy::default()).unwrap();
        let change = |change| {
            let changes = vec![change];
            let batch = Batch {
                changes,
                ..Batch::default()
            };
            facts.commit(batch).unwrap();
        };
        bytes.draft(7, blobs::DraftState::New).unwrap();
        for table in [b"U?", b"Y?", b"Z?"] {
            change(WriteOp::Put(table.to_vec(), Vec::new()));
            open().checkpoint().unwrap();
            assert_eq!(bytes.drafts(), [7]);
            change(WriteOp::Delete(table.to_vec()));
        }
        open();
        assert!(bytes.drafts().is_empty());
    }
}
