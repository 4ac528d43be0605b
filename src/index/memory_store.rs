//! The store in memory: the strict second implementation, for tests of the layers above.
//!
//! A [crash](MemoryStore::crash) discards what was not synced, and writes fail on request. It is
//! not for production.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use parking_lot::Mutex;

use super::store::{Batch, CommitOutcome, Pair, Precondition, Store, StoreError, WriteOp};

/// A store that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<MemoryState>,
}

#[derive(Debug, Default)]
struct MemoryState {
    visible: BTreeMap<Vec<u8>, Vec<u8>>,
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Commits and syncs until one fails; `None` if none will.
    countdown: Option<u64>,
    poisoned: bool,
    /// `true` for a snapshot.
    frozen: bool,
}

impl MemoryState {
    /// Counts one write; the write that reaches zero fails, and so do all later ones.
    fn write(&mut self) -> Result<(), StoreError> {
        if let Some(left) = &mut self.countdown {
            *left = left.saturating_sub(1);
            self.poisoned |= *left == 0;
        }
        if self.poisoned {
            return Err(StoreError::Poisoned("injected".into()));
        }
        Ok(())
    }

    fn conflict(&self, precondition: &Precondition) -> Option<Vec<u8>> {
        let (holds, key) = match precondition {
            Precondition::Absent(key) => (!self.visible.contains_key(key), key),
            Precondition::Equals(key, value) => (self.visible.get(key) == Some(value), key),
            Precondition::Empty(range) => (
                self.visible.range(range.clone()).next().is_none(),
                &range.start,
            ),
        };
        (!holds).then(|| key.clone())
    }
}

impl MemoryStore {
    /// Discards what was not synced, as a power cut would, and clears injected failures.
    pub fn crash(&self) {
        let mut state = self.state.lock();
        state.visible = state.durable.clone();
        state.countdown = None;
        state.poisoned = false;
    }

    /// Makes the `n`-th write from now (a commit or a sync, counted from 1) fail, and all later
    /// ones.
    pub fn fail_after(&self, n: u64) {
        self.state.lock().countdown = Some(n);
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.lock().visible.get(key).cloned())
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let state = self.state.lock();
        let pairs = state
            .visible
            .range::<[u8], _>((Bound::Included(range.start), Bound::Excluded(range.end)))
            .take(limit);
        Ok(pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn commit(&self, batch: Batch) -> Result<CommitOutcome, StoreError> {
        batch.check()?;
        let mut state = self.state.lock();
        if state.frozen {
            return Err(StoreError::Snapshot);
        }
        if let Some(key) = batch
            .preconditions
            .iter()
            .find_map(|one| state.conflict(one))
        {
            return Ok(CommitOutcome::Conflict(key));
        }
        state.write()?;
        for change in batch.changes {
            match change {
                WriteOp::Put(key, value) => {
                    state.visible.insert(key, value);
                }
                WriteOp::Delete(key) => {
                    state.visible.remove(&key);
                }
            }
        }
        Ok(CommitOutcome::Committed)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.write()?;
        state.durable = state.visible.clone();
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError> {
        let state = MemoryState {
            visible: self.state.lock().visible.clone(),
            frozen: true,
            ..MemoryState::default()
        };
        Ok(Arc::new(Self {
            state: Mutex::new(state),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fulfils_the_contract() {
        super::super::store::contract::all(&|| Arc::new(MemoryStore::default()));
    }

    #[test]
    fn a_crash_discards_unsynced_commits() {
        let store = MemoryStore::default();
        store.allocate(b"a", 1).unwrap();
        store.sync().unwrap();
        store.allocate(b"b", 1).unwrap();
        store.crash();
        assert!(store.get(b"a").unwrap().is_some());
        assert!(store.get(b"b").unwrap().is_none());
    }
}
