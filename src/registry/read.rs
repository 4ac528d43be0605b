//! Reading: facts one by one, and listings in pages, each row with its time.
//!
//! Pages are taken up behind a name, which need not exist any more.

use std::time::SystemTime;

use super::{Error, Registry, time};
use crate::digest::{Algorithm, Digest};
use crate::index::{Link, RepositoryId, Upload};
use crate::layout::Node;
use crate::name::{LinkSet, Namespace, RepositoryName, Tag, UploadId};

impl Registry {
    /// The number of a repository that exists.
    pub(super) fn number(&self, name: &RepositoryName) -> Result<RepositoryId, Error> {
        Ok(self
            .index
            .view()
            .repository(name.namespace())?
            .ok_or(Error::Missing)?
            .id)
    }

    /// The number by which a repository is known whatever its name, or a directory on the way to
    /// one that was made.
    pub fn repository_number(&self, name: &Namespace) -> Result<Option<u32>, Error> {
        let repository = self.index.view().repository(name)?;
        Ok(repository.map(|repository| repository.id.number()))
    }

    /// What a link names, and since when.
    pub fn link(
        &self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<(Digest, SystemTime), Error> {
        match self.index.view().link(self.number(name)?, set, digest)? {
            Some(Link::Linked { target, pushed }) => Ok((target, time(pushed))),
            Some(Link::Directory) | None => Err(Error::Missing),
        }
    }

    /// The manifest that a tag is at, and since when.
    pub fn current(&self, name: &RepositoryName, tag: &Tag) -> Result<(Digest, SystemTime), Error> {
        let record = self.index.view().tag(self.number(name)?, tag)?;
        let current = record
            .and_then(|record| record.current)
            .ok_or(Error::Missing)?;
        Ok((current.0, time(current.1)))
    }

    /// A blob's length in bytes, and since when it is there.
    pub fn blob(&self, digest: &Digest) -> Result<(u64, SystemTime), Error> {
        let blob = self.index.view().blob(digest)?.filter(|blob| blob.present);
        let blob = blob.ok_or(Error::Missing)?;
        Ok((blob.size, time(blob.created)))
    }

    /// The media type of a manifest, if the digest is known as one.
    pub fn media_type(&self, digest: &Digest) -> Result<Option<String>, Error> {
        Ok(self.index.view().manifest(digest)?)
    }

    /// An upload's record.
    pub fn upload(&self, name: &RepositoryName, id: &UploadId) -> Result<Upload, Error> {
        self.index
            .view()
            .upload(self.number(name)?, id)?
            .ok_or(Error::Missing)
    }

    /// An upload's hash state, and since when it is there.
    pub fn hash_state(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Result<(Vec<u8>, SystemTime), Error> {
        let state = self
            .index
            .view()
            .hash_state(self.number(name)?, id, algorithm, offset)?;
        let (updated, state) = state.ok_or(Error::Missing)?;
        Ok((state, time(updated)))
    }

    /// Names directly below a name, or at the top.
    pub fn namespaces(
        &self,
        parent: Option<&Namespace>,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        Ok(self.index.namespaces(parent, last, limit)?)
    }

    /// Digests for which a set has a link, or a directory made for one.
    pub fn links(
        &self,
        name: &RepositoryName,
        set: &LinkSet,
        algorithm: Algorithm,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, SystemTime)>, Error> {
        let rows = self
            .index
            .links(self.number(name)?, set, algorithm, last, limit)?;
        let told = rows.into_iter().map(|(digest, link)| match link {
            Link::Directory => (digest, 0),
            Link::Linked { pushed, .. } => (digest, pushed),
        });
        let listed = Node::LinksAlgorithm(name.clone(), set.clone(), algorithm);
        self.times_in(&listed, told.collect(), |digest| {
            Node::LinkDirectory(name.clone(), set.clone(), *digest)
        })
    }

    /// Tags, in the order of their bytes.
    pub fn tags(
        &self,
        name: &RepositoryName,
        last: Option<&Tag>,
        limit: usize,
    ) -> Result<Vec<(Tag, SystemTime)>, Error> {
        let rows = self.index.tag_names(self.number(name)?, last, limit)?;
        let told = rows
            .into_iter()
            .map(|(tag, record)| (tag, record.current.map_or(0, |(_, pushed)| pushed)));
        self.times_in(&Node::Tags(name.clone()), told.collect(), |tag| {
            Node::Tag(name.clone(), tag.clone())
        })
    }

    /// Uploads.
    pub fn uploads(
        &self,
        name: &RepositoryName,
        last: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, SystemTime)>, Error> {
        let rows = self.index.uploads(self.number(name)?, last, limit)?;
        let told = rows.into_iter().map(|(id, upload)| (id, upload.updated));
        self.times_in(&Node::Uploads(name.clone()), told.collect(), |id| {
            Node::Upload(name.clone(), *id)
        })
    }

    /// The offsets of an upload's hash states, since when they are there, and their lengths.
    pub fn hash_states(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
    ) -> Result<Vec<(u64, SystemTime, u64)>, Error> {
        let rows = self.index.hash_states(self.number(name)?, id, algorithm)?;
        let dated = rows
            .into_iter()
            .map(|(at, updated, len)| (at, time(updated), len as u64));
        Ok(dated.collect())
    }

    /// The shards of an algorithm that have a directory.
    pub fn blob_shards(&self, algorithm: Algorithm) -> Result<Vec<u8>, Error> {
        Ok(self.index.blob_shards(algorithm)?)
    }

    /// Digests of a shard that have a directory, with the bytes or without.
    pub fn blobs(
        &self,
        algorithm: Algorithm,
        shard: u8,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, SystemTime)>, Error> {
        let rows = self.index.blobs(algorithm, shard, last, limit)?;
        let told = rows
            .into_iter()
            .map(|(digest, blob)| (digest, blob.created));
        self.times_in(
            &Node::BlobShard(algorithm, shard),
            told.collect(),
            |digest| Node::BlobDirectory(*digest),
        )
    }
}
