//! Modification times of directories that do not follow from their contents.
//!
//! Reads of them are not checked for conflicts, and writes overwrite: of two concurrent changes
//! either may be the last.

use super::Transaction;
use crate::digest::{Algorithm, Digest};
use crate::index::error::IndexError;
use crate::index::field_reader::FieldReader;
use crate::index::id::RepositoryId;
use crate::index::key::{Key, next_key, prefix_end};
use crate::name::{Tag, UploadId};

/// The key of a directory's time.
#[derive(Clone, Debug)]
pub struct TimeKey(Key);

impl TimeKey {
    fn table(kind: u8) -> Self {
        Self(Key::table(b'W').byte(kind))
    }

    /// `v2`, `blobs` or `repositories` (`key.rs`).
    pub fn top(which: u8) -> Self {
        Self(Self::table(0).0.byte(which))
    }

    /// The directory of an algorithm's blobs.
    pub fn blobs(algorithm: Algorithm) -> Self {
        Self(Self::table(1).0.algorithm(algorithm))
    }

    /// The directory of a shard.
    pub fn shard(algorithm: Algorithm, shard: u8) -> Self {
        Self(Self::blobs(algorithm).0.byte(shard))
    }

    /// The directory of a blob.
    pub fn blob(digest: &Digest) -> Self {
        Self(Self::table(1).0.digest(digest))
    }

    /// A repository, or a directory that leads to one.
    pub fn repository(id: RepositoryId) -> Self {
        Self(Self::table(2).0.repository(id))
    }

    /// A part of a repository (`key.rs`).
    #[must_use]
    pub fn part(self, part: u8) -> Self {
        Self(self.0.byte(part))
    }

    /// The directory of a tag in this one.
    #[must_use]
    pub fn tag(self, tag: &Tag) -> Self {
        Self(self.0.tag(tag))
    }

    /// The directory of an algorithm in this one.
    #[must_use]
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        Self(self.0.algorithm(algorithm))
    }

    /// The directory of a digest in this one.
    #[must_use]
    pub fn digest(self, digest: &Digest) -> Self {
        Self(self.0.digest(digest))
    }

    /// The directory of an upload in this one.
    #[must_use]
    pub fn upload(self, upload: &UploadId) -> Self {
        Self(self.0.upload(upload))
    }
}

/// The modification time of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryTime {
    /// When its entries last changed, or the time that was set, in seconds since 1970.
    pub changed: u32,
    /// The time that its contents implied when this was written; 0 if none.
    pub basis: u32,
}

impl DirectoryTime {
    fn encode(self) -> Vec<u8> {
        let mut value = self.changed.to_be_bytes().to_vec();
        if self.basis != 0 {
            value.extend(self.basis.to_be_bytes());
        }
        value
    }

    pub(in crate::index) fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(value);
        let changed = fields.u32()?;
        let basis = if fields.0.is_empty() {
            0
        } else {
            fields.u32()?
        };
        Some(Self { changed, basis })
    }
}

impl Transaction<'_> {
    /// The time at which this transaction started, in seconds since 1970.
    pub fn now(&self) -> u32 {
        self.now
    }
}

/// The times of directories.
#[derive(Debug)]
pub struct TimeRows<'t, 'a>(&'t mut Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Returns the times of directories.
    pub fn times(&mut self) -> TimeRows<'_, 'a> {
        TimeRows(self)
    }
}

impl TimeRows<'_, '_> {
    /// Returns the recorded time of a directory.
    pub fn get(&self, of: &TimeKey) -> Result<Option<DirectoryTime>, IndexError> {
        let key = of.0.clone().into_bytes();
        let value = match self.0.written.get(&key) {
            Some(written) => written.clone(),
            None => self.0.store.get(&key)?,
        };
        let Some(value) = value else { return Ok(None) };
        let time = DirectoryTime::decode(&value);
        time.map(Some).ok_or(IndexError::Record { key })
    }

    /// Returns `true` if a time is recorded for any directory below this one.
    pub fn any_below(&self, of: &TimeKey) -> Result<bool, IndexError> {
        let key = of.0.clone().into_bytes();
        self.0.any(&(next_key(key.clone())..prefix_end(key)))
    }

    /// Sets the time of a directory.
    pub fn put(&mut self, of: TimeKey, time: DirectoryTime) {
        let key = of.0.into_bytes();
        self.0.touched.remove(&key);
        self.0.touches.retain(|touched| *touched != key);
        self.0.written.insert(key, Some(time.encode()));
    }

    /// Sets the time of a directory, whose entries change, to [`now`](Transaction::now).
    pub fn touch(&mut self, of: TimeKey) {
        let key = of.0.into_bytes();
        if self.0.touched.contains(&key, self.0.now) {
            return;
        }
        let time = DirectoryTime {
            changed: self.0.now,
            basis: 0,
        };
        self.0.touches.push(key.clone());
        self.0.written.insert(key, Some(time.encode()));
    }

    /// Removes the recorded time of a directory.
    pub fn remove(&mut self, of: TimeKey) -> Result<(), IndexError> {
        let key = of.0.into_bytes();
        self.0.touched.remove(&key);
        self.0.touches.retain(|touched| *touched != key);
        if self.0.written.contains_key(&key) || self.0.store.get(&key)?.is_some() {
            self.0.written.insert(key, None);
        }
        Ok(())
    }
}
