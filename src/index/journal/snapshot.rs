//! A snapshot: what was committed up to one moment, in memory and in the store below.

use std::ops::Range;
use std::sync::Arc;

use super::overlay::Overlay;
use crate::index::store::{Batch, Outcome, Pair, Store, StoreError};

/// Everything as of one moment.
pub(super) struct Snapshot(Arc<Parts>);

struct Parts {
    overlay: Overlay,
    below: Arc<dyn Store>,
}

impl Snapshot {
    /// What was in memory, in front of what was below at that moment.
    pub(super) fn new(overlay: Overlay, below: Arc<dyn Store>) -> Self {
        Self(Arc::new(Parts { overlay, below }))
    }
}

impl Store for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.0.overlay.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.0.below.get(key),
        }
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let below = self.0.below.as_ref();
        self.0.overlay.scan(below, range, limit)
    }

    fn commit(&self, _batch: Batch) -> Result<Outcome, StoreError> {
        Err(StoreError::Snapshot)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Self(Arc::clone(&self.0))))
    }
}
