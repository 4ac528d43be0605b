//! Listings in pages, each row with its time.
//!
//! The next page starts after the last name of the page before, which need not exist any more.

use std::time::SystemTime;

use super::Queries;
use crate::digest::{Algorithm, Digest};
use crate::index::Link;
use crate::layout::Node;
use crate::name::{LinkSet, Namespace, RepositoryName, Tag, UploadId};
use crate::registry::directory::{content_time, has_times_below, last_change};
use crate::registry::{Error, time};

/// What a registry holds, in pages.
#[derive(Debug)]
pub struct QueryPages<'q, 'a>(&'q mut Queries<'a>);

impl<'a> Queries<'a> {
    /// Returns the queries that list directories in pages.
    pub fn pages(&mut self) -> QueryPages<'_, 'a> {
        QueryPages(self)
    }
}

impl QueryPages<'_, '_> {
    /// Returns at most `limit` names directly below a name, or at the top, after `last`.
    pub fn namespaces(
        &mut self,
        parent: Option<&Namespace>,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        Ok(self
            .0
            .registry
            .index
            .list()
            .namespaces(parent, last, limit)?)
    }

    /// Returns at most `limit` digests after `last` for which a set has a link, or a directory made
    /// for one, each with the time of that directory.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist.
    pub fn links(
        &mut self,
        name: &RepositoryName,
        set: &LinkSet,
        algorithm: Algorithm,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, SystemTime)>, Error> {
        let repository = self.0.repository_id(name)?;
        let rows = self
            .0
            .registry
            .index
            .list()
            .links(repository, set, algorithm, last, limit)?;
        let dated = rows.into_iter().map(|(digest, link)| match link {
            Link::Directory => (digest, 0),
            Link::Linked { pushed, .. } => (digest, pushed),
        });
        let listed = Node::LinksAlgorithm(name.clone(), set.clone(), algorithm);
        self.times_in(&listed, dated.collect(), |digest| {
            Node::LinkDirectory(name.clone(), set.clone(), *digest)
        })
    }

    /// Returns at most `limit` tags after `last`, in byte order, each with the time of its
    /// directory.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist.
    pub fn tags(
        &mut self,
        name: &RepositoryName,
        last: Option<&Tag>,
        limit: usize,
    ) -> Result<Vec<(Tag, SystemTime)>, Error> {
        let repository = self.0.repository_id(name)?;
        let rows = self
            .0
            .registry
            .index
            .list()
            .tags_with_ids(repository, last, limit)?;
        let dated = rows
            .into_iter()
            .map(|(tag, record)| (tag, record.current.map_or(0, |(_, pushed)| pushed)));
        self.times_in(&Node::Tags(name.clone()), dated.collect(), |tag| {
            Node::Tag(name.clone(), tag.clone())
        })
    }

    /// Returns at most `limit` uploads after `last`, each with the time of its directory.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist.
    pub fn uploads(
        &mut self,
        name: &RepositoryName,
        last: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, SystemTime)>, Error> {
        let repository = self.0.repository_id(name)?;
        let rows = self
            .0
            .registry
            .index
            .list()
            .uploads(repository, last, limit)?;
        let dated = rows.into_iter().map(|(id, upload)| (id, upload.updated));
        self.times_in(&Node::Uploads(name.clone()), dated.collect(), |id| {
            Node::Upload(name.clone(), *id)
        })
    }

    /// Returns the hash states of an upload by one algorithm: the offset of each, when it was
    /// written, and its length in bytes.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist.
    pub fn hash_states(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
    ) -> Result<Vec<(u64, SystemTime, u64)>, Error> {
        let repository = self.0.repository_id(name)?;
        let rows = self
            .0
            .registry
            .index
            .list()
            .hash_states(repository, id, algorithm)?;
        let dated = rows
            .into_iter()
            .map(|(at, updated, len)| (at, time(updated), len as u64));
        Ok(dated.collect())
    }

    /// Returns the shards of an algorithm that have a directory.
    pub fn blob_shards(&mut self, algorithm: Algorithm) -> Result<Vec<u8>, Error> {
        Ok(self.0.registry.index.list().blob_shards(algorithm)?)
    }

    /// Returns at most `limit` digests of a shard after `last` that have a directory, whether their
    /// bytes are stored or not, each with the time of its directory.
    pub fn blobs(
        &mut self,
        algorithm: Algorithm,
        shard: u8,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, SystemTime)>, Error> {
        let rows = self
            .0
            .registry
            .index
            .list()
            .blobs(algorithm, shard, last, limit)?;
        let dated = rows
            .into_iter()
            .map(|(digest, blob)| (digest, blob.created));
        self.times_in(
            &Node::BlobShard(algorithm, shard),
            dated.collect(),
            |digest| Node::BlobDirectory(*digest),
        )
    }

    /// Adds the time of its own directory to each row. Each row comes with its content time, or 0
    /// if there is none.
    fn times_in<T>(
        &mut self,
        directory: &Node,
        rows: Vec<(T, u32)>,
        node: impl Fn(&T) -> Node,
    ) -> Result<Vec<(T, SystemTime)>, Error> {
        let view = &mut self.0.view;
        let (has_own_times, mut own) = (has_times_below(view, directory)?, None);
        let mut dated = Vec::with_capacity(rows.len());
        for (row, time_in_row) in rows {
            let when = match (has_own_times, time_in_row, own) {
                (false, 0, Some(own)) => own,
                (false, 0, None) => {
                    let time = content_time(view, directory)?.unwrap_or_default();
                    let found = last_change(view, directory, time)?;
                    own = Some(found);
                    found
                }
                (false, time_in_row, _) => time_in_row,
                (true, time_in_row, _) => last_change(view, &node(&row), time_in_row)?,
            };
            dated.push((row, time(when)));
        }
        Ok(dated)
    }
}
