//! The reverse index: repositories, tags and manifests that reference a digest.

use super::field_reader::FieldReader;
use super::id::{DigestId, RepositoryId};
use super::key::Key;
use super::record::EdgeRole;
use super::{Index, IndexError};
use crate::digest::Digest;
use crate::name::{Namespace, Tag};

impl Index {
    /// Returns `true` if any repository has this digest as a revision.
    pub fn is_revision(&self, digest: &Digest) -> Result<bool, IndexError> {
        let Some(id) = self.view().id_of(digest)? else {
            return Ok(false);
        };
        let range = Key::table(b'r').id(id).prefix_range();
        Ok(!self.scan(&range, 1)?.is_empty())
    }

    /// Returns the manifests that reference this digest in one of these roles.
    pub fn referenced_by(
        &self,
        digest: &Digest,
        roles: &[EdgeRole],
    ) -> Result<Vec<Digest>, IndexError> {
        let Some(id) = self.view().id_of(digest)? else {
            return Ok(Vec::new());
        };
        let mut manifests = Vec::new();
        for role in roles {
            let range = Key::table(b'e').id(id).byte(role.byte()).prefix_range();
            for (key, _) in self.scan(&range, usize::MAX)? {
                let id = key.last_chunk().map(|id| DigestId(u32::from_be_bytes(*id)));
                manifests.push(self.digest(id.ok_or(IndexError::Record { key })?)?);
            }
        }
        Ok(manifests)
    }

    /// Returns the references of a manifest in document order; empty for a digest that is no
    /// manifest.
    pub fn references(&self, manifest: &Digest) -> Result<Vec<(EdgeRole, Digest)>, IndexError> {
        let Some(id) = self.view().id_of(manifest)? else {
            return Ok(Vec::new());
        };
        let rows = self.scan(&Key::table(b'E').id(id).prefix_range(), usize::MAX)?;
        rows.into_iter()
            .map(|(key, value)| {
                let mut fields = FieldReader(&value);
                let role = fields.u8().and_then(EdgeRole::of);
                let (role, id) = role.zip(fields.id()).ok_or(IndexError::Record { key })?;
                Ok((role, self.digest(id)?))
            })
            .collect()
    }

    /// Returns at most `limit` tags that point to this digest, in one repository or in all.
    pub fn tags_at(
        &self,
        digest: &Digest,
        repository: Option<RepositoryId>,
        limit: usize,
    ) -> Result<Vec<(RepositoryId, Tag)>, IndexError> {
        let Some(id) = self.view().id_of(digest)? else {
            return Ok(Vec::new());
        };
        let all = Key::table(b't').id(id);
        let skip = all.clone().into_bytes().len();
        let range = repository
            .map_or(all.clone(), |one| all.repository(one))
            .prefix_range();
        let rows = self.scan(&range, limit)?;
        rows.into_iter()
            .map(|(key, _)| {
                let mut fields = FieldReader(key.get(skip..).unwrap_or_default());
                let repository = fields.u32().map(RepositoryId);
                let tag = std::str::from_utf8(fields.0).ok();
                let tag = tag.and_then(|tag| tag.parse().ok());
                repository.zip(tag).ok_or(IndexError::Record { key })
            })
            .collect()
    }

    /// Returns the name of a repository; `None` if the repository does not exist any more.
    pub fn repository_name(&self, id: RepositoryId) -> Result<Option<Namespace>, IndexError> {
        let key = Key::table(b'n').repository(id).into_bytes();
        let Some(value) = self.store.get(&key)? else {
            return Ok(None);
        };
        let name = std::str::from_utf8(&value).ok().map(str::parse);
        name.and_then(Result::ok)
            .map(Some)
            .ok_or(IndexError::Record { key })
    }
}
