//! Queries: what is asked of the facts, one by one, in pages, or about a digest.
//!
//! Each sees what is committed when it is asked; of one value of [`Queries`] those about the
//! same repository find its record once. It changes nothing.

use std::time::SystemTime;

use super::directory::{exists, last_change, made, started, withholds};
use super::ownership::owned;
use super::{Error, Owner, Ownership, Registry, time};
use crate::digest::{Algorithm, Digest};
use crate::index::{Link, RepositoryId, Transaction, Upload};
use crate::layout::Node;
use crate::name::{LinkSet, Namespace, RepositoryName, Tag, UploadId};

mod digests;
mod pages;

/// What is asked of a registry's facts.
#[derive(Debug)]
pub struct Queries<'a> {
    registry: &'a Registry,
    view: Transaction<'a>,
}

impl Registry {
    /// What can be asked of the facts.
    pub fn queries(&self) -> Queries<'_> {
        Queries {
            registry: self,
            view: self.index.view(),
        }
    }
}

impl Queries<'_> {
    /// The number of a repository that exists.
    fn number(&mut self, name: &RepositoryName) -> Result<RepositoryId, Error> {
        let found = self.view.repository(name.namespace())?;
        Ok(found.ok_or(Error::Missing)?.id)
    }

    /// The number by which a repository is known whatever its name, or a directory on the way to
    /// one that was made.
    pub fn repository_number(&mut self, name: &Namespace) -> Result<Option<u32>, Error> {
        let repository = self.view.repository(name)?;
        Ok(repository.map(|repository| repository.id.number()))
    }

    /// What a link names, and since when.
    pub fn link(
        &mut self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<(Digest, SystemTime), Error> {
        let id = self.number(name)?;
        match self.view.link(id, set, digest)? {
            Some(Link::Linked { target, pushed }) => Ok((target, time(pushed))),
            Some(Link::Directory) | None => Err(Error::Missing),
        }
    }

    /// The manifest that a tag is at, and since when.
    pub fn current(
        &mut self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<(Digest, SystemTime), Error> {
        let id = self.number(name)?;
        let record = self.view.tag(id, tag)?;
        let current = record
            .and_then(|record| record.current)
            .ok_or(Error::Missing)?;
        Ok((current.0, time(current.1)))
    }

    /// A blob's length in bytes, and since when it is there.
    pub fn blob(&mut self, digest: &Digest) -> Result<(u64, SystemTime), Error> {
        let blob = self.view.blob(digest)?.filter(|blob| blob.present);
        let blob = blob.ok_or(Error::Missing)?;
        Ok((blob.size, time(blob.created)))
    }

    /// Returns `true` if a blob is stored.
    pub fn has_blob(&mut self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.view.blob(digest)?.is_some_and(|blob| blob.present))
    }

    /// Returns when a blob was last read and found right or wrong, in seconds since 1970; `None`
    /// if it never was.
    pub fn verified_at(&mut self, digest: &Digest) -> Result<Option<u32>, Error> {
        Ok(self.view.verified(digest)?)
    }

    /// Returns `true` if opening a blob reads no disk but for a page or two of the index.
    pub fn is_blob_at_hand(&mut self, digest: &Digest) -> bool {
        let blob = self.view.blob(digest);
        blob.is_ok_and(|blob| blob.is_none_or(|blob| blob.inline))
            || self.registry.blobs.is_cached(digest)
    }

    /// The media type of a manifest, if the digest is known as one.
    pub fn media_type(&mut self, digest: &Digest) -> Result<Option<String>, Error> {
        Ok(self.view.manifest(digest)?)
    }

    /// An upload's record.
    pub fn upload(&mut self, name: &RepositoryName, id: &UploadId) -> Result<Upload, Error> {
        let repository = self.number(name)?;
        self.view.upload(repository, id)?.ok_or(Error::Missing)
    }

    /// What an upload's registry wrote as its start, and when.
    pub fn started_at(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
    ) -> Result<(Vec<u8>, SystemTime), Error> {
        let record = self.upload(name, id)?;
        let text = record.started_at.ok_or(Error::Missing)?;
        let set = started(&mut self.view, &Node::StartedAt(name.clone(), *id))?;
        Ok((text, time(set.unwrap_or(record.updated))))
    }

    /// An upload's hash state, and since when it is there.
    pub fn hash_state(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Result<(Vec<u8>, SystemTime), Error> {
        let repository = self.number(name)?;
        let state = self.view.hash_state(repository, id, algorithm, offset)?;
        let (updated, state) = state.ok_or(Error::Missing)?;
        Ok((state, time(updated)))
    }

    /// When this directory last changed (1970 if that is not known), or nothing if it does not
    /// exist.
    pub fn directory(&mut self, directory: &Node) -> Result<Option<SystemTime>, Error> {
        let view = &mut self.view;
        let Some(told) = exists(view, directory)? else {
            return Ok(None);
        };
        if withholds(self.registry, view, directory)? {
            return Ok(None);
        }
        Ok(Some(time(last_change(view, directory, told)?)))
    }

    /// Whether a directory may come to list one that nobody makes.
    pub fn may_come_to_list(&mut self, directory: &Node) -> Result<bool, Error> {
        let Node::Namespace(namespace) = directory else {
            return Ok(false);
        };
        match namespace.repository() {
            Some(name) => {
                let layers = Node::Links(name, LinkSet::Layers);
                withholds(self.registry, &mut self.view, &layers)
            }
            None => Ok(false),
        }
    }

    /// Whether a directory was made and not removed; others are there as long as what is in them.
    pub fn was_made(&mut self, directory: &Node) -> Result<bool, Error> {
        made(&mut self.view, directory)
    }

    /// To whom a directory belongs; nothing where that was never set.
    pub fn ownership(&mut self, of: &Owner) -> Result<Option<Ownership>, Error> {
        if !self.registry.directories().has_ownership() {
            return Ok(None);
        }
        match owned(&mut self.view, of)? {
            Some(owned) => Ok(self.view.ownership(owned)?),
            None => Ok(None),
        }
    }
}
