//! Tags, and the manifests that they point to.

use super::Transaction;
use crate::index::error::IndexError;
use crate::index::id::{DigestId, RepositoryId};
use crate::index::key::Key;
use crate::index::record::TagRecord;
use crate::name::Tag;

impl Transaction<'_> {
    /// Replaces the id of a stored tag's manifest by its digest.
    pub(in crate::index) fn resolve_tag(
        &mut self,
        stored: TagRecord<DigestId>,
    ) -> Result<TagRecord, IndexError> {
        let current = match stored.current {
            Some((id, pushed)) => Some((self.digest(id)?, pushed)),
            None => None,
        };
        Ok(TagRecord {
            directories: stored.directories,
            current,
        })
    }

    fn remove_tag_target(&mut self, repository: RepositoryId, tag: &Tag) -> Result<(), IndexError> {
        if let Some((digest, _)) = self
            .tags()
            .get(repository, tag)?
            .and_then(|record| record.current)
        {
            let id = self.intern(&digest)?;
            let reverse = Key::table(b't').id(id).repository(repository);
            self.delete(reverse.bytes(tag.as_str().as_bytes()));
        }
        Ok(())
    }
}

/// The rows of tags.
#[derive(Debug)]
pub struct TagRows<'t, 'a>(&'t mut Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Returns the rows of tags.
    pub fn tags(&mut self) -> TagRows<'_, 'a> {
        TagRows(self)
    }
}

impl TagRows<'_, '_> {
    /// Returns a tag.
    pub fn get(
        &mut self,
        repository: RepositoryId,
        tag: &Tag,
    ) -> Result<Option<TagRecord>, IndexError> {
        let key = Key::table(b'T').repository(repository).tag(tag);
        match self.0.record(key, TagRecord::decode)? {
            Some(stored) => self.0.resolve_tag(stored).map(Some),
            None => Ok(None),
        }
    }

    /// Sets a tag.
    pub fn put(
        &mut self,
        repository: RepositoryId,
        tag: &Tag,
        record: &TagRecord,
    ) -> Result<(), IndexError> {
        self.0.remove_tag_target(repository, tag)?;
        let mut value = vec![record.directories.0];
        if let Some((digest, pushed)) = &record.current {
            let id = self.0.intern(digest)?;
            value.extend(id.0.to_be_bytes());
            value.extend(pushed.to_be_bytes());
            let reverse = Key::table(b't').id(id).repository(repository);
            self.0
                .put(reverse.bytes(tag.as_str().as_bytes()), Vec::new());
        }
        self.0
            .put(Key::table(b'T').repository(repository).tag(tag), value);
        Ok(())
    }

    /// Removes a tag.
    pub fn remove(&mut self, repository: RepositoryId, tag: &Tag) -> Result<(), IndexError> {
        self.0.remove_tag_target(repository, tag)?;
        self.0
            .delete(Key::table(b'T').repository(repository).tag(tag));
        Ok(())
    }

    /// Returns `true` if a repository has no tags. If so, the commit fails unless that still holds.
    pub fn require_none(&mut self, repository: RepositoryId) -> Result<bool, IndexError> {
        self.0
            .require_empty(Key::table(b'T').repository(repository).prefix_range())
    }
}
