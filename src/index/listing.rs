//! Listings: facts in pages, in name order, resumed after a name.
//!
//! Each page is read at one point in time; the next page may be newer. The name after which a page
//! starts need not exist any more.

use std::collections::BTreeSet;

use super::field_reader::FieldReader;
use super::id::{DigestId, RepositoryId};
use super::key::{Key, next_key, prefix_end};
use super::record::{self, Blob, Link, LoggedBytes, Repository, TagRecord, Upload};
use super::transaction::scan_blobs;
use super::{Index, IndexError};
use crate::digest::{Algorithm, Digest};
use crate::name::{LinkSet, Namespace, Tag, UploadId};

/// The rows of a table that could be decoded.
#[derive(Debug)]
pub struct Readable<T> {
    /// The decoded rows.
    pub rows: Vec<T>,
    /// `true` if every row could be decoded.
    pub complete: bool,
}

/// Listings of repositories.
/// Lists rows of an index by pages, or visits them.
#[derive(Clone, Copy, Debug)]
pub struct Listings<'a>(&'a Index);

impl Index {
    /// Returns the listings of this index.
    pub fn list(&self) -> Listings<'_> {
        Listings(self)
    }
}

impl Listings<'_> {
    /// Returns at most `limit` components directly below `parent`, after `last`.
    pub fn namespaces(
        self,
        parent: Option<&Namespace>,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, IndexError> {
        let mut range = Key::namespaces_below(parent);
        let skip = range.start.len();
        if let Some(last) = last {
            range.start = behind(&range.start, last.as_bytes());
        }
        let mut names = Vec::new();
        while names.len() < limit
            && let Some((key, _)) = self.0.scan(&range, 1)?.pop()
        {
            let rest = key.get(skip..).unwrap_or_default();
            let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
            range.start = behind(key.get(..skip).unwrap_or_default(), name);
            names.push(String::from_utf8(name.to_vec()).map_err(|_| IndexError::Record { key })?);
        }
        Ok(names)
    }

    /// Returns at most `limit` repositories after `last`, in the order of the hierarchy.
    pub fn repositories(
        self,
        last: Option<&Namespace>,
        limit: usize,
    ) -> Result<Vec<(Namespace, Repository)>, IndexError> {
        let mut range = Key::table(b'N').prefix_range();
        if let Some(last) = last {
            range.start = next_key(Key::table(b'N').namespace(last).into_bytes());
        }
        let rows = self.0.scan(&range, limit)?;
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

/// The first key after `prefix name` and everything below it.
fn behind(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    [prefix, name, &[1]].concat()
}

/// Listings within a repository.
impl Listings<'_> {
    /// Returns at most `limit` links of an algorithm after `last`, in digest order. Directories
    /// that were created for a link are included.
    pub fn links(
        self,
        repository: RepositoryId,
        set: &LinkSet,
        algorithm: Algorithm,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Link)>, IndexError> {
        let mut view = self.0.view();
        let Some(mut range) = view.set_range(repository, set, Some(algorithm))? else {
            return Ok(Vec::new());
        };
        if let Some(last) = last {
            // A digest that was listed keeps its id, even if its link is gone.
            let first = last.as_bytes().get(..8).unwrap_or_default();
            let prefix = [&range.start[..], first].concat();
            range.start = match view.id_of(last)? {
                Some(id) => next_key([&prefix[..], &id.0.to_be_bytes()].concat()),
                None => prefix_end(prefix),
            };
        }
        let rows = self.0.scan(&range, limit)?;
        rows.into_iter()
            .map(|(key, value)| {
                let id = key.last_chunk().map(|id| DigestId(u32::from_be_bytes(*id)));
                let digest = self
                    .0
                    .digest(id.ok_or_else(|| IndexError::Record { key: key.clone() })?)?;
                Ok((digest, view.decode_link(&key, &value, &digest)?))
            })
            .collect()
    }

    /// Returns at most `limit` tags after `last`, in byte order.
    pub fn tags(
        self,
        repository: RepositoryId,
        last: Option<&Tag>,
        limit: usize,
    ) -> Result<Vec<(Tag, TagRecord)>, IndexError> {
        let mut view = self.0.view();
        let rows = self.0.list().tags_with_ids(repository, last, limit)?;
        rows.into_iter()
            .map(|(tag, stored)| Ok((tag, view.resolve_tag(stored)?)))
            .collect()
    }

    /// As [`tags`](Self::tags), with the ids of the manifests: each digest would cost a lookup.
    pub fn tags_with_ids(
        self,
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
        let rows = self.0.scan(&range, limit)?;
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

    /// Returns at most `limit` uploads after `last`.
    pub fn uploads(
        self,
        repository: RepositoryId,
        last: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Upload)>, IndexError> {
        let table = Key::table(b'U').repository(repository);
        let mut range = table.clone().prefix_range();
        if let Some(last) = last {
            range.start = next_key(table.upload(last).into_bytes());
        }
        let rows = self.0.scan(&range, limit)?;
        rows.into_iter()
            .map(|(key, value)| {
                let id = key.last_chunk().map(|id| UploadId::from_bytes(*id));
                id.zip(Upload::decode(&value))
                    .ok_or(IndexError::Record { key })
            })
            .collect()
    }

    /// Returns all hash states of an upload for an algorithm: offset, time of writing (seconds
    /// since 1970) and length in bytes. There are a few at most.
    pub fn hash_states(
        self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
    ) -> Result<Vec<(u64, u32, usize)>, IndexError> {
        let key = Key::table(b'H')
            .repository(repository)
            .upload(id)
            .algorithm(algorithm);
        let rows = self.0.scan(&key.prefix_range(), usize::MAX)?;
        rows.into_iter()
            .map(|(key, value)| {
                let offset = key.last_chunk().map(|offset| u64::from_be_bytes(*offset));
                let state = record::decode_hash_state(&value)
                    .map(|(updated, state)| (updated, state.len()));
                let row = offset
                    .zip(state)
                    .map(|(offset, (updated, len))| (offset, updated, len));
                row.ok_or(IndexError::Record { key })
            })
            .collect()
    }
}

/// Listings of signatures.
impl Listings<'_> {
    /// Returns the revisions of a repository that have signatures or directories for signatures.
    pub fn signed_revisions(
        self,
        repository: RepositoryId,
    ) -> Result<BTreeSet<Digest>, IndexError> {
        let mut signed = BTreeSet::new();
        for table in [b'G', b'S'] {
            let table = Key::table(table).repository(repository);
            let skip = table.clone().into_bytes().len();
            for (key, _) in self.0.scan(&table.prefix_range(), usize::MAX)? {
                let id = FieldReader(key.get(skip..).unwrap_or_default()).id();
                signed.insert(self.0.digest(id.ok_or(IndexError::Record { key })?)?);
            }
        }
        Ok(signed)
    }
}

/// Listings for opening a store, which skip and report rows that fsck would repair.
impl Listings<'_> {
    /// The uploads of all repositories.
    pub fn all_uploads(self) -> Result<Readable<(RepositoryId, UploadId, Upload)>, IndexError> {
        self.scan_readable(b'U', |mut key, value| {
            let repository = RepositoryId(key.u32()?);
            let id = UploadId::from_bytes(key.0.try_into().ok()?);
            Some((repository, id, Upload::decode(value)?))
        })
    }

    /// The pending publications: blobs, and the number of the staging file that a crash may leave
    /// in place of each.
    pub fn pending_publications(self) -> Result<Readable<(Digest, u64)>, IndexError> {
        self.scan_readable(b'Y', |mut key, value| {
            Some((key.digest()?, FieldReader(value).u64()?))
        })
    }

    /// The logged bytes of all staging files.
    pub fn logged_bytes(self) -> Result<Readable<LoggedBytes>, IndexError> {
        self.scan_readable(b'Z', |mut key, value| {
            LoggedBytes::decode(key.u64()?, value)
        })
    }

    fn scan_readable<T>(
        self,
        table: u8,
        decode: impl Fn(FieldReader<'_>, &[u8]) -> Option<T>,
    ) -> Result<Readable<T>, IndexError> {
        let (mut rows, mut complete) = (Vec::new(), true);
        for (key, value) in self.0.scan(&Key::table(table).prefix_range(), usize::MAX)? {
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

/// Listings of blobs.
impl Listings<'_> {
    /// The shards of an algorithm that have a directory.
    pub fn blob_shards(self, algorithm: Algorithm) -> Result<Vec<u8>, IndexError> {
        let mut range = Key::table(b'P').algorithm(algorithm).prefix_range();
        range.start = next_key(range.start);
        let rows = self.0.scan(&range, usize::MAX)?;
        Ok(rows
            .into_iter()
            .filter_map(|(key, _)| key.last().copied())
            .collect())
    }

    /// Returns at most `limit` blobs of a shard after `last`, in digest order. Directories without
    /// a blob are included.
    pub fn blobs(
        self,
        algorithm: Algorithm,
        shard: u8,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Blob)>, IndexError> {
        scan_blobs(self.0.store.as_ref(), algorithm, shard, last, limit)
    }
}
