//! Queries: reads of single facts, of pages of facts, and of what belongs to a digest.
//!
//! Each query sees what is committed when it runs. Queries of one [`Queries`] value that concern
//! the same repository look up its record only once. Queries change nothing.

use std::time::SystemTime;

use super::directory::{content_time, is_hidden, last_change, started_time, was_made};
use super::ownership::ownership_key;
use super::{Error, Ownership, OwnershipScope, Registry, time};
use crate::digest::{Algorithm, Digest};
use crate::index::{Link, RepositoryId, Transaction, Upload};
use crate::layout::Node;
use crate::name::{LinkSet, Namespace, RepositoryName, Tag, UploadId};

mod digests;
mod pages;

pub use pages::QueryPages;

/// Reads of a registry's facts.
#[derive(Debug)]
pub struct Queries<'a> {
    registry: &'a Registry,
    view: Transaction<'a>,
}

impl Registry {
    /// Returns the queries of the facts.
    pub fn queries(&self) -> Queries<'_> {
        Queries {
            registry: self,
            view: self.index.view(),
        }
    }
}

impl Queries<'_> {
    /// Returns the id of a repository.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist.
    fn repository_id(&mut self, name: &RepositoryName) -> Result<RepositoryId, Error> {
        let found = self.view.repositories().get(name.namespace())?;
        Ok(found.ok_or(Error::Missing)?.id)
    }

    /// Returns the number of a repository, or of a directory above repositories that was made. A
    /// rename does not change it. Returns `None` if there is no record of that name.
    pub fn repository_number(&mut self, name: &Namespace) -> Result<Option<u32>, Error> {
        let repository = self.view.repositories().get(name)?;
        Ok(repository.map(|repository| repository.id.number()))
    }

    /// Returns the target of a link, and when the link was written.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such link.
    pub fn link(
        &mut self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<(Digest, SystemTime), Error> {
        let id = self.repository_id(name)?;
        match self.view.links().get(id, set, digest)? {
            Some(Link::Linked { target, pushed }) => Ok((target, time(pushed))),
            Some(Link::Directory) | None => Err(Error::Missing),
        }
    }

    /// Returns the manifest that a tag names, and since when.
    ///
    /// # Errors
    /// [`Error::Missing`] if the tag does not exist or has no current link.
    pub fn current(
        &mut self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<(Digest, SystemTime), Error> {
        let id = self.repository_id(name)?;
        let record = self.view.tags().get(id, tag)?;
        let current = record
            .and_then(|record| record.current)
            .ok_or(Error::Missing)?;
        Ok((current.0, time(current.1)))
    }

    /// Returns a blob's length in bytes, and when it was stored.
    ///
    /// # Errors
    /// [`Error::Missing`] if the blob is not stored.
    pub fn blob(&mut self, digest: &Digest) -> Result<(u64, SystemTime), Error> {
        let blob = self.view.blobs().stored(digest)?.ok_or(Error::Missing)?;
        Ok((blob.size, time(blob.created)))
    }

    /// Returns `true` if a blob is stored.
    pub fn has_blob(&mut self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.view.blobs().stored(digest)?.is_some())
    }

    /// Returns when a blob's bytes were last compared with its digest, in seconds since 1970;
    /// `None` if they never were.
    pub fn verified_at(&mut self, digest: &Digest) -> Result<Option<u32>, Error> {
        Ok(self.view.blobs().verified(digest)?)
    }

    /// Returns `true` if opening a blob reads at most a page or two of the index from the disk.
    pub fn is_blob_at_hand(&mut self, digest: &Digest) -> bool {
        let blob = self.view.blobs().get(digest);
        blob.is_ok_and(|blob| blob.is_none_or(|blob| blob.inline))
            || self.registry.blobs.is_cached(digest)
    }

    /// Returns the media type of a manifest; `None` if the digest is not known as a manifest.
    pub fn media_type(&mut self, digest: &Digest) -> Result<Option<String>, Error> {
        Ok(self.view.manifests().media_type(digest)?)
    }

    /// Returns an upload's record.
    ///
    /// # Errors
    /// [`Error::Missing`] if the upload does not exist.
    pub fn upload(&mut self, name: &RepositoryName, id: &UploadId) -> Result<Upload, Error> {
        let repository = self.repository_id(name)?;
        self.view
            .uploads()
            .get(repository, id)?
            .ok_or(Error::Missing)
    }

    /// Returns the content of an upload's `startedat`, and when it was written.
    ///
    /// # Errors
    /// [`Error::Missing`] if the upload does not have it.
    pub fn started_at(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
    ) -> Result<(Vec<u8>, SystemTime), Error> {
        let record = self.upload(name, id)?;
        let text = record.started_at.ok_or(Error::Missing)?;
        let set = started_time(&mut self.view, &Node::StartedAt(name.clone(), *id))?;
        Ok((text, time(set.unwrap_or(record.updated))))
    }

    /// Returns an upload's hash state, and when it was written.
    ///
    /// # Errors
    /// [`Error::Missing`] if the upload does not have it.
    pub fn hash_state(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Result<(Vec<u8>, SystemTime), Error> {
        let repository = self.repository_id(name)?;
        let state = self
            .view
            .uploads()
            .hash_state(repository, id, algorithm, offset)?;
        let (updated, state) = state.ok_or(Error::Missing)?;
        Ok((state, time(updated)))
    }

    /// Returns when a directory last changed (1970 if that is not known); `None` if it does not
    /// exist, or is not shown yet.
    pub fn directory(&mut self, directory: &Node) -> Result<Option<SystemTime>, Error> {
        let view = &mut self.view;
        let Some(content_time) = content_time(view, directory)? else {
            return Ok(None);
        };
        if is_hidden(self.registry, view, directory)? {
            return Ok(None);
        }
        Ok(Some(time(last_change(view, directory, content_time)?)))
    }

    /// Returns `true` if a directory contains one that is not shown yet, so that its listing can
    /// change without any request.
    pub fn has_hidden_directory(&mut self, directory: &Node) -> Result<bool, Error> {
        let Node::Namespace(namespace) = directory else {
            return Ok(false);
        };
        match namespace.repository() {
            Some(name) => {
                let layers = Node::Links(name, LinkSet::Layers);
                is_hidden(self.registry, &mut self.view, &layers)
            }
            None => Ok(false),
        }
    }

    /// Returns `true` if a directory was made and not removed; other directories exist as long as
    /// something is in them.
    pub fn was_made(&mut self, directory: &Node) -> Result<bool, Error> {
        was_made(&mut self.view, directory)
    }

    /// Returns owner and mode of a directory; `None` if they were never set.
    pub fn ownership(&mut self, of: &OwnershipScope) -> Result<Option<Ownership>, Error> {
        if !self.registry.directories().has_ownership() {
            return Ok(None);
        }
        match ownership_key(&mut self.view, of)? {
            Some(key) => Ok(self.view.owners().get(key)?),
            None => Ok(None),
        }
    }
}
