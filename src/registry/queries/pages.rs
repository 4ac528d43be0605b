//! Listings in pages, each row with its time.
//!
//! Pages are taken up behind a name, which need not exist any more.

use std::time::SystemTime;

use super::Queries;
use crate::digest::{Algorithm, Digest};
use crate::index::Link;
use crate::layout::Node;
use crate::name::{LinkSet, Namespace, RepositoryName, Tag, UploadId};
use crate::registry::directory::{any_below, exists, last_change};
use crate::registry::{Error, time};

impl Queries<'_> {
    /// Names directly below a name, or at the top.
    pub fn namespaces(
        &mut self,
        parent: Option<&Namespace>,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        Ok(self.registry.index.namespaces(parent, last, limit)?)
    }

    /// Digests for which a set has a link, or a directory made for one.
    pub fn links(
        &mut self,
        name: &RepositoryName,
        set: &LinkSet,
        algorithm: Algorithm,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, SystemTime)>, Error> {
        let repository = self.number(name)?;
        let rows = self
            .registry
            .index
            .links(repository, set, algorithm, last, limit)?;
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
        &mut self,
        name: &RepositoryName,
        last: Option<&Tag>,
        limit: usize,
    ) -> Result<Vec<(Tag, SystemTime)>, Error> {
        let repository = self.number(name)?;
        let rows = self.registry.index.tags_with_ids(repository, last, limit)?;
        let told = rows
            .into_iter()
            .map(|(tag, record)| (tag, record.current.map_or(0, |(_, pushed)| pushed)));
        self.times_in(&Node::Tags(name.clone()), told.collect(), |tag| {
            Node::Tag(name.clone(), tag.clone())
        })
    }

    /// Uploads.
    pub fn uploads(
        &mut self,
        name: &RepositoryName,
        last: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, SystemTime)>, Error> {
        let repository = self.number(name)?;
        let rows = self.registry.index.uploads(repository, last, limit)?;
        let told = rows.into_iter().map(|(id, upload)| (id, upload.updated));
        self.times_in(&Node::Uploads(name.clone()), told.collect(), |id| {
            Node::Upload(name.clone(), *id)
        })
    }

    /// The offsets of an upload's hash states, since when they are there, and their lengths.
    pub fn hash_states(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
    ) -> Result<Vec<(u64, SystemTime, u64)>, Error> {
        let repository = self.number(name)?;
        let rows = self.registry.index.hash_states(repository, id, algorithm)?;
        let dated = rows
            .into_iter()
            .map(|(at, updated, len)| (at, time(updated), len as u64));
        Ok(dated.collect())
    }

    /// The shards of an algorithm that have a directory.
    pub fn blob_shards(&mut self, algorithm: Algorithm) -> Result<Vec<u8>, Error> {
        Ok(self.registry.index.blob_shards(algorithm)?)
    }

    /// Digests of a shard that have a directory, with the bytes or without.
    pub fn blobs(
        &mut self,
        algorithm: Algorithm,
        shard: u8,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, SystemTime)>, Error> {
        let rows = self.registry.index.blobs(algorithm, shard, last, limit)?;
        let told = rows
            .into_iter()
            .map(|(digest, blob)| (digest, blob.created));
        self.times_in(
            &Node::BlobShard(algorithm, shard),
            told.collect(),
            |digest| Node::BlobDirectory(*digest),
        )
    }

    /// Gives directories in one their times, where what is in each tells this one (0 if nothing).
    fn times_in<T>(
        &mut self,
        directory: &Node,
        rows: Vec<(T, u32)>,
        place: impl Fn(&T) -> Node,
    ) -> Result<Vec<(T, SystemTime)>, Error> {
        let view = &mut self.view;
        let (each, mut own) = (any_below(view, directory)?, None);
        let mut dated = Vec::with_capacity(rows.len());
        for (row, told) in rows {
            let when = match (each, told, own) {
                (false, 0, Some(own)) => own,
                (false, 0, None) => {
                    let told = exists(view, directory)?.unwrap_or_default();
                    let found = last_change(view, directory, told)?;
                    own = Some(found);
                    found
                }
                (false, told, _) => told,
                (true, told, _) => last_change(view, &place(&row), told)?,
            };
            dated.push((row, time(when)));
        }
        Ok(dated)
    }
}
