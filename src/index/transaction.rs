//! Transactions: facts that are read and changed atomically, with optimistic concurrency control.
//!
//! The commit checks that every value the transaction read is unchanged, and that every range it
//! required to be empty still is. By key a transaction reads its own changes; scans return
//! committed rows only.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::IndexError;
use super::interner::Interner;
use super::key::Key;
use super::record::Repository;
use super::store::{Batch, Precondition, Store, WriteOp};
use super::touched::Touched;
use crate::name::Namespace;

mod blob;
mod link;
mod manifest;
mod ownership;
mod repository;
mod signature;
mod tag;
mod time;
mod upload;

pub use blob::BlobRows;
pub(super) use blob::scan_blobs;
pub use link::LinkRows;
pub use manifest::{EDGES_AT_ONCE, ManifestRows};
pub use ownership::OwnershipRows;
pub use repository::RepositoryRows;
pub use signature::SignatureRows;
pub use tag::TagRows;
pub use time::{DirectoryTime, TimeKey, TimeRows};
pub use upload::UploadRows;

/// Facts, read and changed atomically.
///
/// Times are in seconds since 1970. Changes are made in memory until the commit.
///
/// # Errors
/// Unless its documentation says more, a method fails with [`IndexError::Store`] if the store fails
/// and with [`IndexError::Record`] if a record that it reads is damaged. A method that records a
/// new digest or repository also fails with [`IndexError::Exhausted`] if all ids are allocated.
pub struct Transaction<'a> {
    pub(super) store: &'a dyn Store,
    interner: &'a Interner,
    touched: &'a Touched,
    /// Keys of the rows of table W that are set to the current time.
    touches: Vec<Vec<u8>>,
    now: u32,
    read: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    written: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    empty: Vec<Range<Vec<u8>>>,
    /// The repository that was read last, if this transaction only reads: most reads of a directory
    /// start with the id of its repository.
    last: Option<(Namespace, Option<Repository>)>,
    /// The position of the store before the first read; `None` if this transaction only reads.
    began: Option<u64>,
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("written", &self.written.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Transaction<'a> {
    pub(super) fn new(store: &'a dyn Store, interner: &'a Interner, touched: &'a Touched) -> Self {
        Self {
            store,
            interner,
            touched,
            touches: Vec::new(),
            now: 0,
            read: BTreeMap::new(),
            written: BTreeMap::new(),
            empty: Vec::new(),
            last: None,
            began: None,
        }
    }

    /// Starts a transaction that can be committed.
    pub(super) fn begin(
        store: &'a dyn Store,
        interner: &'a Interner,
        touched: &'a Touched,
    ) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            now: since.map_or(0, |since| {
                u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
            }),
            began: Some(store.position()),
            ..Self::new(store, interner, touched)
        }
    }

    /// Takes the keys of the rows that were set to the current time, and that time.
    pub(super) fn take_touched(&mut self) -> (Vec<Vec<u8>>, u32) {
        (std::mem::take(&mut self.touches), self.now)
    }

    /// The batch to commit; `None` if nothing changes.
    pub(super) fn batch(self) -> Option<Batch> {
        if self.written.is_empty() {
            return None;
        }
        let read = self.read.into_iter().map(|(key, value)| match value {
            Some(value) => Precondition::Equals(key, value),
            None => Precondition::Absent(key),
        });
        let preconditions = read
            .chain(self.empty.into_iter().map(Precondition::Empty))
            .collect();
        let changes = self.written.into_iter().map(|(key, value)| match value {
            Some(value) => WriteOp::Put(key, value),
            None => WriteOp::Delete(key),
        });
        Some(Batch {
            preconditions,
            changes: changes.collect(),
            as_of: self.began,
        })
    }

    /// The value of a key, including changes of this transaction.
    pub(super) fn get(&mut self, key: Vec<u8>) -> Result<Option<Vec<u8>>, IndexError> {
        if let Some(value) = self.written.get(&key).or_else(|| self.read.get(&key)) {
            return Ok(value.clone());
        }
        let value = self.store.get(&key)?;
        if !self.is_read_only() {
            self.read.insert(key, value.clone());
        }
        Ok(value)
    }

    /// Returns `true` if this transaction cannot be committed.
    fn is_read_only(&self) -> bool {
        self.began.is_none()
    }

    fn put(&mut self, key: Key, value: Vec<u8>) {
        self.written.insert(key.into_bytes(), Some(value));
    }

    fn delete(&mut self, key: Key) {
        self.written.insert(key.into_bytes(), None);
    }

    /// Reads a record and decodes it.
    fn record<T>(
        &mut self,
        key: Key,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, IndexError> {
        let key = key.into_bytes();
        let Some(value) = self.get(key.clone())? else {
            return Ok(None);
        };
        decode(&value).map(Some).ok_or(IndexError::Record { key })
    }

    /// Returns `true` if a range is empty. If so, the commit fails unless it still is.
    fn require_empty(&mut self, range: Range<Vec<u8>>) -> Result<bool, IndexError> {
        let empty = !self.any(&range)?;
        if empty {
            self.empty.push(range);
        }
        Ok(empty)
    }

    fn any(&self, range: &Range<Vec<u8>>) -> Result<bool, IndexError> {
        Ok(!self.store.scan(&range.start..&range.end, 1)?.is_empty())
    }
}
