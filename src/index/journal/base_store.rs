//! Writes to the base store: an ordered sequence of changes in batches, the last one with a mark.

use super::overlay::Layer;
use crate::index::store::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, Batch, CommitOutcome, Store, StoreError, WriteOp,
};

/// Applies changes in order, and `end` together with the last of them. Durable when it returns.
pub(super) fn apply(
    base: &dyn Store,
    changes: impl Iterator<Item = WriteOp>,
    end: WriteOp,
) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    let mut bytes = 0;
    for change in changes {
        let len = match &change {
            WriteOp::Put(key, value) => key.len() + value.len(),
            WriteOp::Delete(key) => key.len(),
        };
        // The last batch has room for `end`.
        let full =
            batch.changes.len() + 2 > BATCH_OPERATIONS_MAX || bytes + len + 1024 > BATCH_BYTES_MAX;
        if full {
            commit(base, std::mem::take(&mut batch))?;
            bytes = 0;
        }
        bytes += len;
        batch.changes.push(change);
    }
    batch.changes.push(end);
    commit(base, batch)?;
    base.sync()
}

fn commit(base: &dyn Store, batch: Batch) -> Result<(), StoreError> {
    match base.commit(batch)? {
        CommitOutcome::Committed => Ok(()),
        // A batch without preconditions cannot conflict.
        CommitOutcome::Conflict(key) => Err(StoreError::Engine {
            path: "base store".into(),
            reason: format!("a batch without preconditions conflicts on {key:02x?}"),
        }),
    }
}

/// The changes that a layer stands for.
pub(super) fn changes(layer: &Layer) -> impl Iterator<Item = WriteOp> {
    layer.iter().map(|(key, value)| match value {
        Some(value) => WriteOp::Put(key.clone(), value.clone()),
        None => WriteOp::Delete(key.clone()),
    })
}

/// The last value of each key in a sequence of changes.
pub(super) fn newest(changes: Vec<WriteOp>) -> Layer {
    let mut layer = Layer::new();
    for change in changes {
        match change {
            WriteOp::Put(key, value) => drop(layer.insert(key, Some(value))),
            WriteOp::Delete(key) => drop(layer.insert(key, None)),
        }
    }
    layer
}
