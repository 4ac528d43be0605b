//! Links, and the directories that were created for them.

use super::Transaction;
use crate::digest::{Algorithm, Digest};
use crate::index::error::IndexError;
use crate::index::field_reader::FieldReader;
use crate::index::id::RepositoryId;
use crate::index::key::Key;
use crate::index::record::Link;
use crate::name::LinkSet;
use std::ops::Range;

impl Transaction<'_> {
    /// The key prefix of a set of links; `None` for signatures of a revision without an id.
    pub(in crate::index) fn set(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
    ) -> Result<Option<Key>, IndexError> {
        Ok(Some(match set {
            LinkSet::Layers => Key::table(b'L').repository(repository),
            LinkSet::Revisions => Key::table(b'R').repository(repository),
            LinkSet::TagIndex(tag) => Key::table(b'I').repository(repository).tag(tag),
            LinkSet::Signatures(revision) => {
                let Some(id) = self.id_of(revision)? else {
                    return Ok(None);
                };
                Key::table(b'S').repository(repository).id(id)
            }
        }))
    }

    /// The key range of a set of links, or of one algorithm in it.
    pub(in crate::index) fn set_range(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        algorithm: Option<Algorithm>,
    ) -> Result<Option<Range<Vec<u8>>>, IndexError> {
        let Some(key) = self.set(repository, set)? else {
            return Ok(None);
        };
        Ok(Some(match algorithm {
            None => key.prefix_range(),
            Some(algorithm) => key.algorithm(algorithm).prefix_range(),
        }))
    }

    /// Decodes the value of a link; `key` is for the error.
    pub(in crate::index) fn decode_link(
        &mut self,
        key: &[u8],
        value: &[u8],
        digest: &Digest,
    ) -> Result<Link, IndexError> {
        let mut fields = FieldReader(value);
        if value.is_empty() {
            return Ok(Link::Directory);
        }
        let pushed = fields
            .u32()
            .ok_or_else(|| IndexError::Record { key: key.to_vec() })?;
        let target = match fields.id() {
            None => *digest,
            Some(id) => self.digest(id)?,
        };
        Ok(Link::Linked { target, pushed })
    }
}

/// The rows of links.
#[derive(Debug)]
pub struct LinkRows<'t, 'a>(&'t mut Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Returns the rows of links.
    pub fn links(&mut self) -> LinkRows<'_, 'a> {
        LinkRows(self)
    }
}

impl LinkRows<'_, '_> {
    /// Returns a link, or the directory that was created for it.
    pub fn get(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<Option<Link>, IndexError> {
        let Some(id) = self.0.id_of(digest)? else {
            return Ok(None);
        };
        let Some(key) = self.0.set(repository, set)? else {
            return Ok(None);
        };
        let key = key.prefix(digest).id(id).into_bytes();
        let Some(value) = self.0.get(key.clone())? else {
            return Ok(None);
        };
        self.0.decode_link(&key, &value, digest).map(Some)
    }

    /// Sets a link, or creates its directory.
    pub fn put(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        digest: &Digest,
        link: &Link,
    ) -> Result<(), IndexError> {
        if let LinkSet::Signatures(revision) = set {
            self.0.intern_record(revision)?;
        }
        let id = self.0.intern(digest)?;
        let Some(key) = self.0.set(repository, set)? else {
            return Ok(());
        };
        let value = match link {
            Link::Directory => Vec::new(),
            Link::Linked { target, pushed } => {
                let mut value = pushed.to_be_bytes().to_vec();
                if target != digest {
                    value.extend(self.0.intern(target)?.0.to_be_bytes());
                }
                value
            }
        };
        self.0.put(key.prefix(digest).id(id), value);
        if *set == LinkSet::Revisions {
            let reverse = Key::table(b'r').id(id).repository(repository);
            match link {
                Link::Directory => self.0.delete(reverse),
                Link::Linked { .. } => self.0.put(reverse, Vec::new()),
            }
        }
        Ok(())
    }

    /// Removes a link and its directory.
    pub fn remove(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<(), IndexError> {
        let Some(id) = self.0.id_of(digest)? else {
            return Ok(());
        };
        let Some(key) = self.0.set(repository, set)? else {
            return Ok(());
        };
        self.0.delete(key.prefix(digest).id(id));
        if *set == LinkSet::Revisions {
            self.0
                .delete(Key::table(b'r').id(id).repository(repository));
        }
        Ok(())
    }

    /// Returns `true` if a set has links, or directories that were created for links.
    pub fn any(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        algorithm: Option<Algorithm>,
    ) -> Result<bool, IndexError> {
        match self.0.set_range(repository, set, algorithm)? {
            None => Ok(false),
            Some(range) => self.0.any(&range),
        }
    }

    /// Returns `true` if a set has neither links nor directories. If so, the commit fails unless
    /// that still holds.
    pub fn require_none(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        algorithm: Option<Algorithm>,
    ) -> Result<bool, IndexError> {
        match self.0.set_range(repository, set, algorithm)? {
            None => Ok(true),
            Some(range) => self.0.require_empty(range),
        }
    }
}
