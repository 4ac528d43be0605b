//! Times: those that programs set which copy files, and registries' trees with them.
//!
//! A time is part of the fact that it is about; nothing else of that changes.

use std::time::{SystemTime, UNIX_EPOCH};

use super::directory::{repository, set_started, started, tag, upload};
use super::{Error, Registry};
use crate::digest::{Algorithm, Digest};
use crate::index::{Link, TagRecord};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag, UploadId};

/// A time as it is kept: in seconds, since 1970.
pub fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

impl Registry {
    /// Sets since when a link is there.
    pub fn set_link_time(
        &self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
        when: u32,
    ) -> Result<(), Error> {
        self.index.transact(|facts| {
            let id = repository(facts, name)?.id;
            match facts.link(id, set, digest)? {
                None | Some(Link::Directory) => Err(Error::Missing),
                Some(Link::Linked { pushed, .. }) if pushed == when => Ok(()),
                Some(Link::Linked { target, .. }) => {
                    let link = Link::Linked {
                        target,
                        pushed: when,
                    };
                    Ok(facts.put_link(id, set, digest, &link)?)
                }
            }
        })
    }

    /// Sets since when a tag is at its manifest.
    pub fn set_current_time(
        &self,
        name: &RepositoryName,
        label: &Tag,
        when: u32,
    ) -> Result<(), Error> {
        self.index.transact(|facts| {
            let (repository, record) = tag(facts, name, label)?;
            let (target, pushed) = record.current.ok_or(Error::Missing)?;
            if pushed == when {
                return Ok(());
            }
            let record = TagRecord {
                current: Some((target, when)),
                ..record
            };
            Ok(facts.put_tag(repository.id, label, &record)?)
        })
    }

    /// Sets since when a blob is there.
    pub fn set_blob_time(&self, digest: &Digest, when: u32) -> Result<(), Error> {
        self.index.transact(|facts| {
            let blob = facts.blob(digest)?.filter(|blob| blob.present);
            let blob = blob.ok_or(Error::Missing)?;
            if blob.created != when {
                facts.date_blob(digest, &blob, when);
            }
            Ok(())
        })
    }

    /// Sets when the start of an upload was written.
    pub fn set_started_time(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        when: u32,
    ) -> Result<(), Error> {
        self.index.transact(|facts| {
            let (_, record) = upload(facts, name, id)?;
            if record.started_at.is_none() {
                return Err(Error::Missing);
            }
            let start = Node::StartedAt(name.clone(), *id);
            let known = started(facts, &start)?.unwrap_or(record.updated);
            if known == when {
                return Ok(());
            }
            set_started(facts, &start, when)
        })
    }

    /// Sets since when an upload's hash state is there.
    pub fn set_hash_state_time(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
        when: u32,
    ) -> Result<(), Error> {
        self.index.transact(|facts| {
            let repository = repository(facts, name)?.id;
            let state = facts.hash_state(repository, id, algorithm, offset)?;
            let (updated, state) = state.ok_or(Error::Missing)?;
            if updated == when {
                return Ok(());
            }
            Ok(facts.put_hash_state(repository, id, algorithm, offset, (when, &state))?)
        })
    }
}
