//! Repair: removes or completes rows that verification found faulty.

use super::flaw::{Flaw, FlawKind};
use crate::index::field_reader::FieldReader;
use crate::index::key::algorithm_byte;
use crate::index::store::{Batch, CommitOutcome, Precondition, WriteOp};
use crate::index::{Index, IndexError};

impl Index {
    /// Repairs a flaw if the row is unchanged since it was found: removes a row that cannot be
    /// right, or writes a missing reverse row. Returns `false` if the row has changed or cannot be
    /// repaired.
    ///
    /// # Errors
    /// Those of [`Store::commit`](crate::index::Store::commit).
    pub fn repair(&self, flaw: &Flaw) -> Result<bool, IndexError> {
        let mended = self.repair_row(flaw);
        self.interner.clear();
        mended
    }

    fn repair_row(&self, flaw: &Flaw) -> Result<bool, IndexError> {
        let (precondition, change) = match (&flaw.value, flaw.kind) {
            (None, FlawKind::ReverseMissing) => (
                Precondition::Absent(flaw.key.clone()),
                WriteOp::Put(flaw.key.clone(), Vec::new()),
            ),
            (None, FlawKind::DigestWithoutNumber) => return self.repair_id(&flaw.key),
            (None, _) => return Ok(false),
            (Some(value), _) => (
                Precondition::Equals(flaw.key.clone(), value.clone()),
                WriteOp::Delete(flaw.key.clone()),
            ),
        };
        let batch = Batch {
            preconditions: vec![precondition],
            changes: vec![change],
            as_of: None,
        };
        Ok(self.store.commit(batch)? == CommitOutcome::Committed)
    }

    /// Writes the missing row of a digest's id.
    fn repair_id(&self, key: &[u8]) -> Result<bool, IndexError> {
        let wanted = FieldReader(key.get(1..).unwrap_or_default()).id();
        let mut found = None;
        self.each_blob(|digest, blob| {
            if Some(blob.id) == wanted {
                found = Some(digest);
            }
            Ok::<_, IndexError>(())
        })?;
        let Some(digest) = found else {
            return Ok(false);
        };
        let mut value = vec![algorithm_byte(digest.algorithm())];
        value.extend_from_slice(digest.as_bytes());
        let batch = Batch {
            preconditions: vec![Precondition::Absent(key.to_vec())],
            changes: vec![WriteOp::Put(key.to_vec(), value)],
            as_of: None,
        };
        Ok(self.store.commit(batch)? == CommitOutcome::Committed)
    }
}
