//! Settling: blobs whose names may not be durable yet.
//!
//! Publication moves staged bytes, which are durable or [kept](super::kept), to where their
//! digest says; that the move is durable it does not wait for. The fact that names the bytes says
//! their number in staging too, and until a number of such blobs are settled at once, off
//! everybody's way, a crash may bring bytes back there, from where opening moves them again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::{Error, Registry};
use crate::blobs::{Blobs, BlobsError};
use crate::digest::Digest;
use crate::index::{Index, Readable};

/// Blobs and kept drafts that are settled at once: what opening after a crash has to look at.
const UNSETTLED: usize = 256;
/// Facts that are changed in one transaction.
const AT_ONCE: usize = 100;

/// How many blobs and kept drafts are to be settled, and who is at it.
#[derive(Debug, Default)]
pub(super) struct Settling {
    waiting: AtomicUsize,
    /// Whether it has failed: nothing is settled any more, and nothing more is kept.
    pub(super) failed: Arc<AtomicBool>,
    /// How often bytes were [kept](super::kept).
    pub(super) turns: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Settling {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.lock().take() {
            // One that panicked has left the facts as they are, which the next opening reads.
            let _ended = thread.join();
        }
    }
}

impl Registry {
    /// Takes note of blobs that are not settled; settles all when there are many.
    pub(super) fn unsettled(&self, count: usize) {
        let before = self.settling.waiting.fetch_add(count, Ordering::Relaxed);
        if self.settling.failed.load(Ordering::Relaxed) || count == 0 || before + count < UNSETTLED
        {
            return;
        }
        let mut thread = self.settling.thread.lock();
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        self.settling.waiting.store(0, Ordering::Relaxed);
        let (index, blobs) = (Arc::clone(&self.index), Arc::clone(&self.blobs));
        let failed = Arc::clone(&self.settling.failed);
        let settle = move || {
            if let Err(error) = settle(&index, blobs.as_ref()) {
                failed.store(true, Ordering::Relaxed);
                log::error!("blobs are settled when the store is next opened: {error}");
            }
        };
        let spawned = std::thread::Builder::new().name("settling".into());
        match spawned.spawn(settle) {
            Ok(started) => *thread = Some(started),
            Err(error) => log::warn!("blobs are settled later: {error}"),
        }
    }

    /// Settles all: the store can be closed, and a crash of the machine changes nothing in it.
    pub fn settle(&self) -> Result<(), Error> {
        settle(&self.index, self.blobs.as_ref())?;
        self.sync_always()
    }

    /// Settles a blob whose fact is about to go while its bytes stay: no number will bring them
    /// back then.
    pub(super) fn settle_one(&self, digest: &Digest) -> Result<(), Error> {
        if self.index.view().pending_publication(digest)?.is_some() {
            self.blobs.settle()?;
        }
        Ok(())
    }

    /// Moves bytes again to where their digest says, which a crash has brought back. The blobs
    /// that are not settled, and their numbers.
    pub(super) fn finish_publications(&self) -> Result<Readable<(Digest, u64)>, Error> {
        let unsettled = self.index.pending_publications()?;
        for (digest, number) in &unsettled.rows {
            match self.blobs.finish(*number, digest) {
                // Removed since, or lost: reading it says so, and fsck.
                Ok(()) | Err(BlobsError::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(unsettled)
    }
}

/// Makes durable where blobs are and what is staged, and takes back what the facts said of it.
pub(super) fn settle(index: &Index, blobs: &dyn Blobs) -> Result<(), Error> {
    let (unsettled, kept) = (
        index.pending_publications()?.rows,
        index.logged_bytes()?.rows,
    );
    if unsettled.is_empty() && kept.is_empty() {
        return Ok(());
    }
    blobs.settle()?;
    for some in unsettled.chunks(AT_ONCE) {
        index.transact(|facts| {
            let settled = |(digest, number): &_| facts.complete_publication(digest, *number);
            some.iter().try_for_each(settled).map_err(Error::from)
        })?;
    }
    for one in kept {
        index.transact(|facts| {
            // It may have been written again meanwhile.
            if facts
                .logged_bytes(one.number)?
                .is_some_and(|now| now.generation == one.generation)
            {
                facts.remove_logged_bytes(one.number)?;
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
    fn a_crash_undoes_no_publication_settled_or_not() {
        let facts = Arc::new(index::MemoryStore::default());
        let bytes = Arc::new(blobs::Memory::default());
        let open = || Registry::new(facts.clone(), bytes.clone(), Policy::default()).unwrap();
        let mut published = Vec::new();
        for round in 0..3 {
            let registry = open();
            for number in 0..UNSETTLED * 3 / 4 {
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
        let left = registry.index.pending_publications().unwrap().rows.len();
        assert!(left < published.len(), "{left} were never settled");
    }

    #[test]
    fn a_row_that_cannot_be_read_keeps_nobody_from_opening_and_costs_no_bytes() {
        let facts = Arc::new(index::MemoryStore::default());
        let bytes = Arc::new(blobs::Memory::default());
        let open = || Registry::new(facts.clone(), bytes.clone(), Policy::default()).unwrap();
        let change = |change| {
            let changes = vec![change];
            let batch = Batch {
                changes,
                ..Batch::default()
            };
            facts.commit(batch).unwrap();
        };
        bytes.draft(7).unwrap();
        for table in [b"U?", b"Y?", b"Z?"] {
            change(WriteOp::Put(table.to_vec(), Vec::new()));
            open().settle().unwrap();
            assert_eq!(bytes.drafts().unwrap(), [7]);
            change(WriteOp::Delete(table.to_vec()));
        }
        open();
        assert!(bytes.drafts().unwrap().is_empty());
    }
}
