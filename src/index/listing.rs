//! Listings: facts in pages, in the order of names, taken up behind a name.
//!
//! A page is one moment; the next page is another. The name behind which it goes on need not
//! exist any more.

use std::collections::BTreeSet;
use std::ops::Range;

use super::key::{FieldReader, Key, next_key, prefix_end};
use super::record::{
    Blob, DigestId, Link, LoggedBytes, Repository, RepositoryId, TagRecord, Upload,
};
use super::store::Store;
use super::{Index, IndexError};
use crate::digest::{Algorithm, Digest};
use crate::name::{LinkSet, Namespace, Tag, UploadId};

/// Rows read from the store at once where some are passed over.
const PAGE: usize = 256;

/// The rows of a table that can be read.
#[derive(Debug)]
pub struct Readable<T> {
    /// These.
    pub rows: Vec<T>,
    /// Whether they are all.
    pub complete: bool,
}

/// Listings of repositories.
impl Index {
    /// The range of everything below a name, or below none.
    pub(super) fn namespace_range(parent: Option<&Namespace>) -> Range<Vec<u8>> {
        match parent {
            None => Key::table(b'N').prefix_range(),
            Some(name) => Key::table(b'N').namespace(name).byte(0).prefix_range(),
        }
    }

    /// At most `limit` names directly below `parent`, behind `last`.
    pub fn namespaces(
        &self,
        parent: Option<&Namespace>,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, IndexError> {
        let mut range = Self::namespace_range(parent);
        let skip = range.start.len();
        if let Some(last) = last {
            range.start = behind(&range.start, last.as_bytes());
        }
        let mut names = Vec::new();
        while names.len() < limit
            && let Some((key, _)) = self.scan(&range, 1)?.pop()
        {
            let rest = key.get(skip..).unwrap_or_default();
            let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
            range.start = behind(key.get(..skip).unwrap_or_default(), name);
            names.push(String::from_utf8(name.to_vec()).map_err(|_| IndexError::Record { key })?);
        }
        Ok(names)
    }

    /// At most `limit` repositories behind `last`, in the order of the hierarchy.
    pub fn repositories(
        &self,
        last: Option<&Namespace>,
        limit: usize,
    ) -> Result<Vec<(Namespace, Repository)>, IndexError> {
        let mut range = Key::table(b'N').prefix_range();
        if let Some(last) = last {
            range.start = next_key(Key::table(b'N').namespace(last).into_bytes());
        }
        let rows = self.scan(&range, limit)?;
        rows.into_iter()
            .map(|(key, value)| {
                let name = key.get(1..).unwrap_or_default();
                let name = String::from_utf8_lossy(name)
                    .replace('\0', "/")
                    .parse()
                    .ok();
                name.zip(Repository::decode(&value))
                    .ok_or(IndexError::Record { key })
            })
            .collect()
    }
}

/// The first key behind `prefix name` and all below it.
fn behind(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    [prefix, name, &[1]].concat()
}

/// Listings within a repository.
impl Index {
    /// At most `limit` links of an algorithm (directories made for one among them) behind
    /// `last`, in the order of their digests.
    pub fn links(
        &self,
        repository: RepositoryId,
        set: &LinkSet,
        algorithm: Algorithm,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Link)>, IndexError> {
        let mut view = self.view();
        let Some(mut range) = view.set_range(repository, set, Some(algorithm))? else {
            return Ok(Vec::new());
        };
        if let Some(last) = last {
            // A digest that was ever listed keeps its number, even if its link is gone.
            let first = last.as_bytes().get(..8).unwrap_or_default();
            let prefix = [&range.start[..], first].concat();
            range.start = match view.id_of(last)? {
                Some(id) => next_key([&prefix[..], &id.0.to_be_bytes()].concat()),
                None => prefix_end(prefix),
            };
        }
        let rows = self.scan(&range, limit)?;
        rows.into_iter()
            .map(|(key, value)| {
                let id = key.last_chunk().map(|id| DigestId(u32::from_be_bytes(*id)));
                let digest =
                    self.digest(id.ok_or_else(|| IndexError::Record { key: key.clone() })?)?;
                Ok((digest, view.decode_link(&key, &value, &digest)?))
            })
            .collect()
    }

    /// At most `limit` tags behind `last`, in the order of their bytes.
    pub fn tags(
        &self,
        repository: RepositoryId,
        last: Option<&Tag>,
        limit: usize,
    ) -> Result<Vec<(Tag, TagRecord)>, IndexError> {
        let mut view = self.view();
        let rows = self.tags_with_ids(repository, last, limit)?;
        rows.into_iter()
            .map(|(tag, stored)| Ok((tag, view.resolve_tag(stored)?)))
            .collect()
    }

    /// The same, with the manifests' numbers only: their digests would have to be looked up one
    /// by one.
    pub fn tags_with_ids(
        &self,
        repository: RepositoryId,
        last: Option<&Tag>,
        limit: usize,
    ) -> Result<Vec<(Tag, TagRecord<DigestId>)>, IndexError> {
        let table = Key::table(b'T').repository(repository);
        let mut range = table.clone().prefix_range();
        let skip = range.start.len();
        if let Some(last) = last {
            range.start = next_key(table.tag(last).into_bytes());
        }
        let rows = self.scan(&range, limit)?;
        rows.into_iter()
            .map(|(key, value)| {
                let tag = key
                    .get(skip..key.len() - 1)
                    .and_then(|tag| std::str::from_utf8(tag).ok());
                let tag = tag.and_then(|tag| tag.parse().ok());
                tag.zip(TagRecord::decode(&value))
                    .ok_or(IndexError::Record { key })
            })
            .collect()
    }

    /// At most `limit` uploads behind `last`.
    pub fn uploads(
        &self,
        repository: RepositoryId,
        last: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Upload)>, IndexError> {
        let table = Key::table(b'U').repository(repository);
        let mut range = table.clone().prefix_range();
        if let Some(last) = last {
            range.start = next_key(table.upload(last).into_bytes());
        }
        let rows = self.scan(&range, limit)?;
        rows.into_iter()
            .map(|(key, value)| {
                let id = key.last_chunk().map(|id| UploadId::from_bytes(*id));
                id.zip(Upload::decode(&value))
                    .ok_or(IndexError::Record { key })
            })
            .collect()
    }

    /// All hash states of an upload and algorithm: their offsets, when they were written, and
    /// their lengths in bytes. There are a few at most.
    pub fn hash_states(
        &self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
    ) -> Result<Vec<(u64, u32, usize)>, IndexError> {
        let key = Key::table(b'H')
            .repository(repository)
            .upload(id)
            .algorithm(algorithm);
        let rows = self.scan(&key.prefix_range(), usize::MAX)?;
        rows.into_iter()
            .map(|(key, value)| {
                let offset = key.last_chunk().map(|offset| u64::from_be_bytes(*offset));
                let state =
                    decode_hash_state(&value).map(|(updated, state)| (updated, state.len()));
                let row = offset
                    .zip(state)
                    .map(|(offset, (updated, len))| (offset, updated, len));
                row.ok_or(IndexError::Record { key })
            })
            .collect()
    }
}

/// Listings of signatures.
impl Index {
    /// The revisions of a repository that have signatures, or directories made for some.
    pub fn signed_revisions(
        &self,
        repository: RepositoryId,
    ) -> Result<BTreeSet<Digest>, IndexError> {
        let mut signed = BTreeSet::new();
        for table in [b'G', b'S'] {
            let table = Key::table(table).repository(repository);
            let skip = table.clone().into_bytes().len();
            for (key, _) in self.scan(&table.prefix_range(), usize::MAX)? {
                let id = FieldReader(key.get(skip..).unwrap_or_default()).id();
                signed.insert(self.digest(id.ok_or(IndexError::Record { key })?)?);
            }
        }
        Ok(signed)
    }
}

/// When a hash state was written, and what it is.
pub(super) fn decode_hash_state(value: &[u8]) -> Option<(u32, Vec<u8>)> {
    let mut fields = FieldReader(value);
    Some((fields.u32()?, fields.0.to_vec()))
}

/// What opening a store has to know, which must not fail for a row that fsck would mend.
impl Index {
    /// The uploads of all repositories.
    pub fn all_uploads(&self) -> Result<Readable<(RepositoryId, UploadId, Upload)>, IndexError> {
        self.scan_readable(b'U', |mut key, value| {
            let repository = RepositoryId(key.u32()?);
            let id = UploadId::from_bytes(key.0.try_into().ok()?);
            Some((repository, id, Upload::decode(value)?))
        })
    }

    /// The blobs that a crash may bring back to a number in staging, and the numbers.
    pub fn pending_publications(&self) -> Result<Readable<(Digest, u64)>, IndexError> {
        self.scan_readable(b'Y', |mut key, value| {
            Some((key.digest()?, FieldReader(value).u64()?))
        })
    }

    /// Staged bytes that are kept.
    pub fn logged_bytes(&self) -> Result<Readable<LoggedBytes>, IndexError> {
        self.scan_readable(b'Z', |mut key, value| {
            LoggedBytes::decode(key.u64()?, value)
        })
    }

    fn scan_readable<T>(
        &self,
        table: u8,
        decode: impl Fn(FieldReader<'_>, &[u8]) -> Option<T>,
    ) -> Result<Readable<T>, IndexError> {
        let (mut rows, mut complete) = (Vec::new(), true);
        for (key, value) in self.scan(&Key::table(table).prefix_range(), usize::MAX)? {
            if let Some(row) = decode(FieldReader(key.get(1..).unwrap_or_default()), &value) {
                rows.push(row);
            } else {
                log::error!("{}", IndexError::Record { key });
                complete = false;
            }
        }
        Ok(Readable { rows, complete })
    }
}

/// Listings of blobs, and who needs them.
impl Index {
    /// The shards of an algorithm that have a directory.
    pub fn blob_shards(&self, algorithm: Algorithm) -> Result<Vec<u8>, IndexError> {
        let mut range = Key::table(b'P').algorithm(algorithm).prefix_range();
        range.start = next_key(range.start);
        let rows = self.scan(&range, usize::MAX)?;
        Ok(rows
            .into_iter()
            .filter_map(|(key, _)| key.last().copied())
            .collect())
    }

    /// At most `limit` blobs of a shard (directories left of one among them) behind `last`.
    pub fn blobs(
        &self,
        algorithm: Algorithm,
        shard: u8,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Blob)>, IndexError> {
        Self::scan_blobs(self.store.as_ref(), algorithm, shard, last, limit)
    }

    pub(super) fn scan_blobs(
        store: &dyn Store,
        algorithm: Algorithm,
        shard: u8,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Blob)>, IndexError> {
        let mut range = Key::table(b'B')
            .algorithm(algorithm)
            .byte(shard)
            .prefix_range();
        if let Some(last) = last {
            range.start = next_key(Key::table(b'B').digest(last).into_bytes());
        }
        let mut found = Vec::new();
        while found.len() < limit {
            let rows = store.scan(&range.start..&range.end, PAGE)?;
            let Some((key, _)) = rows.last() else { break };
            range.start = next_key(key.clone());
            for (key, value) in rows {
                let digest = FieldReader(key.get(1..).unwrap_or_default()).digest();
                let row = digest
                    .zip(Blob::decode(&value))
                    .ok_or(IndexError::Record { key })?;
                if row.1.present || row.1.has_directory {
                    found.push(row);
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}
