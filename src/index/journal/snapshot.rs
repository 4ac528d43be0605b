//! A snapshot of a journal: the overlay and a snapshot of the base store.

use std::ops::Range;
use std::sync::Arc;

use super::overlay::Overlay;
use crate::index::store::{Batch, CommitOutcome, Pair, Store, StoreError};

/// Everything committed up to one point in time.
pub(super) struct JournalSnapshot(Arc<SnapshotState>);

struct SnapshotState {
    overlay: Overlay,
    base: Arc<dyn Store>,
}

impl JournalSnapshot {
    /// Combines a copy of the overlay with a snapshot of the base store.
    pub(super) fn new(overlay: Overlay, base: Arc<dyn Store>) -> Self {
        Self(Arc::new(SnapshotState { overlay, base }))
    }
}

impl Store for JournalSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.0.overlay.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.0.base.get(key),
        }
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let base = self.0.base.as_ref();
        self.0.overlay.scan(base, range, limit)
    }

    fn commit(&self, _batch: Batch) -> Result<CommitOutcome, StoreError> {
        Err(StoreError::Snapshot)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Self(Arc::clone(&self.0))))
    }
}
