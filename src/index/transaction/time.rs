//! Times of directories that cannot be told from what is in them.
//!
//! They are read without being checked again, and written whatever was there: of two changes at
//! once either is the last.

use super::Transaction;
use crate::digest::{Algorithm, Digest};
use crate::index::IndexError;
use crate::index::key::{FieldReader, Key, next_key, prefix_end};
use crate::index::record::RepositoryId;
use crate::name::{Tag, UploadId};

/// Under which key the time of a directory is kept.
#[derive(Clone, Debug)]
pub struct TimeKey(Key);

impl TimeKey {
    fn table(kind: u8) -> Self {
        Self(Key::table(b'W').byte(kind))
    }

    /// That of a directory at the top.
    pub fn top(which: u8) -> Self {
        Self(Self::table(0).0.byte(which))
    }

    /// That of an algorithm's blobs.
    pub fn blobs(algorithm: Algorithm) -> Self {
        Self(Self::table(1).0.algorithm(algorithm))
    }

    /// That of a shard of them.
    pub fn shard(algorithm: Algorithm, shard: u8) -> Self {
        Self(Self::blobs(algorithm).0.byte(shard))
    }

    /// That of a blob.
    pub fn blob(digest: &Digest) -> Self {
        Self(Self::table(1).0.digest(digest))
    }

    /// That of a repository.
    pub fn repository(id: RepositoryId) -> Self {
        Self(Self::table(2).0.repository(id))
    }

    /// That of a part of it.
    #[must_use]
    pub fn part(self, part: u8) -> Self {
        Self(self.0.byte(part))
    }

    /// That of a tag in it.
    #[must_use]
    pub fn tag(self, tag: &Tag) -> Self {
        Self(self.0.tag(tag))
    }

    /// That of an algorithm in it.
    #[must_use]
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        Self(self.0.algorithm(algorithm))
    }

    /// That of a digest in it.
    #[must_use]
    pub fn digest(self, digest: &Digest) -> Self {
        Self(self.0.digest(digest))
    }

    /// That of an upload in it.
    #[must_use]
    pub fn upload(self, upload: &UploadId) -> Self {
        Self(self.0.upload(upload))
    }
}

/// The time of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryTime {
    /// When its entries last changed, or what was set.
    pub changed: u32,
    /// What was told by what is in it when this was written; 0 if nothing.
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
    /// The time of a directory, if one is kept.
    pub fn directory_time(&self, of: &TimeKey) -> Result<Option<DirectoryTime>, IndexError> {
        let key = of.0.clone().into_bytes();
        let value = match self.written.get(&key) {
            Some(written) => written.clone(),
            None => self.store.get(&key)?,
        };
        let Some(value) = value else { return Ok(None) };
        let time = DirectoryTime::decode(&value);
        time.map(Some).ok_or(IndexError::Record { key })
    }

    /// Whether a time is kept of any directory below one.
    pub fn has_times_below(&self, of: &TimeKey) -> Result<bool, IndexError> {
        let key = of.0.clone().into_bytes();
        self.any(&(next_key(key.clone())..prefix_end(key)))
    }

    /// Sets the time of a directory.
    pub fn put_directory_time(&mut self, of: TimeKey, time: DirectoryTime) {
        let key = of.0.into_bytes();
        self.touched.remove(&key);
        self.touches.retain(|touched| *touched != key);
        self.written.insert(key, Some(time.encode()));
    }

    /// The entries of a directory change now.
    pub fn touch(&mut self, of: TimeKey) {
        let key = of.0.into_bytes();
        if self.touched.contains(&key, self.now) {
            return;
        }
        let time = DirectoryTime {
            changed: self.now,
            basis: 0,
        };
        self.touches.push(key.clone());
        self.written.insert(key, Some(time.encode()));
    }

    /// The time of a directory is not kept any more.
    pub fn remove_directory_time(&mut self, of: TimeKey) -> Result<(), IndexError> {
        let key = of.0.into_bytes();
        self.touched.remove(&key);
        self.touches.retain(|touched| *touched != key);
        if self.written.contains_key(&key) || self.store.get(&key)?.is_some() {
            self.written.insert(key, None);
        }
        Ok(())
    }

    /// Now, as this transaction has it, in seconds since 1970.
    pub fn now(&self) -> u32 {
        self.now
    }
}
