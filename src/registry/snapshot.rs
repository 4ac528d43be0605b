//! A moment: all facts as they were when it began, and every blob that they name.
//!
//! While one is held, blobs that are removed are kept aside; the registry goes on meanwhile.

use std::time::SystemTime;

use super::ownership::owned;
use super::{Error, Fact, OpenBlob, Owner, Ownership, Registry, Value};
use crate::blobs::Area;
use crate::digest::{Algorithm, Digest};
use crate::index::Index;
use crate::layout::Node;
use crate::name::{LinkSet, Namespace, RepositoryName, UploadId};

mod repository;

use repository::{One, directories};

/// Rows that are read at once.
const PAGE: usize = 1_000;

/// How many moments are held, and what was removed meanwhile.
#[derive(Debug, Default)]
pub(super) struct OpenSnapshots {
    pub(super) held: usize,
    /// Since when at least one is held: what was removed before, none of them names.
    pub(super) since: Option<SystemTime>,
    pub(super) removed: Vec<Digest>,
}

/// Everything as of one moment.
#[derive(Debug)]
pub struct Snapshot<'a> {
    registry: &'a Registry,
    index: Index,
}

impl Registry {
    /// Holds this moment.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        // Counted first: what is removed from here on is kept.
        {
            let mut snapshots = self.snapshots.lock();
            snapshots.held += 1;
            snapshots.since.get_or_insert_with(SystemTime::now);
        }
        match self.index.snapshot() {
            Ok(index) => Ok(Snapshot {
                registry: self,
                index,
            }),
            Err(error) => {
                self.end_snapshot();
                Err(error.into())
            }
        }
    }

    /// Removes the bytes of a blob that no fact names any more: into the trash, or for good, now
    /// or when no moment needs them.
    pub(super) fn remove_bytes(&self, digest: &Digest) -> Result<(), Error> {
        if self.policy.keeps_removed() {
            return self.retire(digest);
        }
        let mut snapshots = self.snapshots.lock();
        if snapshots.held == 0 {
            drop(snapshots);
            return Ok(self.blobs.remove(Area::Live, digest, None)?);
        }
        // What is in the trash to stay does.
        let stays =
            !snapshots.removed.contains(digest) && self.blobs.open(Area::Trash, digest).is_ok();
        self.blobs.move_to(Area::Trash, digest)?;
        if !stays {
            snapshots.removed.push(*digest);
        }
        Ok(())
    }

    /// Moves the bytes of a blob into the trash, where they stay when no moment needs them.
    pub(super) fn retire(&self, digest: &Digest) -> Result<(), Error> {
        self.snapshots.lock().removed.retain(|one| one != digest);
        Ok(self.blobs.move_to(Area::Trash, digest)?)
    }

    fn end_snapshot(&self) {
        let mut snapshots = self.snapshots.lock();
        snapshots.held -= 1;
        if snapshots.held > 0 {
            return;
        }
        snapshots.since = None;
        for digest in std::mem::take(&mut snapshots.removed) {
            if let Err(error) = self.blobs.remove(Area::Trash, &digest, None) {
                log::warn!("removed blob {digest} stays in the trash: {error}");
            }
        }
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        self.registry.end_snapshot();
    }
}

impl Snapshot<'_> {
    /// The facts themselves.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Owner and mode of the top of the mount, if they were set.
    pub fn mountpoint(&self) -> Result<Option<Ownership>, Error> {
        self.ownership_of(&Owner::Mountpoint)
    }

    /// Visits the owners and modes that were set of the directories that are always there.
    pub fn fixed<E: From<Error>>(
        &self,
        mut visit: impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        for node in [Node::Root, Node::Blobs, Node::Repositories] {
            self.ownership(node, &mut visit)?;
        }
        Ok(())
    }

    fn ownership<E: From<Error>>(
        &self,
        node: Node,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.ownership_of(&node.clone().into())? {
            Some(ownership) => visit((node, Value::Ownership(ownership))),
            None => Ok(()),
        }
    }

    fn ownership_of(&self, of: &Owner) -> Result<Option<Ownership>, Error> {
        let view = &mut self.index.view();
        Ok(match owned(view, of)? {
            Some(owned) => view.ownership(owned)?,
            None => None,
        })
    }

    /// Visits every directory of blobs, and every blob.
    pub fn blobs<E: From<Error>>(
        &self,
        mut visit: impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        for algorithm in Algorithm::ALL {
            if self.kept(algorithm)? {
                visit((Node::BlobAlgorithm(algorithm), Value::Directory))?;
            }
            for shard in self.index.blob_shards(algorithm).map_err(Error::from)? {
                visit((Node::BlobShard(algorithm, shard), Value::Directory))?;
                self.shard(algorithm, shard, &mut visit)?;
            }
        }
        Ok(())
    }

    fn kept(&self, algorithm: Algorithm) -> Result<bool, Error> {
        Ok(self.index.view().has_blob_algorithm(algorithm)?)
    }

    fn shard<E: From<Error>>(
        &self,
        algorithm: Algorithm,
        shard: u8,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        loop {
            let page = self.index.blobs(algorithm, shard, last.as_ref(), PAGE);
            let page = page.map_err(Error::from)?;
            let Some((end, _)) = page.last() else {
                return Ok(());
            };
            last = Some(*end);
            for (digest, blob) in page {
                visit(if blob.present {
                    let (size, created) = (blob.size, blob.created);
                    (Node::BlobData(digest), Value::Blob { size, created })
                } else {
                    (Node::BlobDirectory(digest), Value::Directory)
                })?;
            }
        }
    }

    /// Visits the names of all repositories and of the directories on the way to them.
    pub fn repositories<E: From<Error>>(
        &self,
        mut visit: impl FnMut(Namespace) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        loop {
            let page = self.index.repositories(last.as_ref(), PAGE);
            let page = page.map_err(Error::from)?;
            let Some((end, _)) = page.last() else {
                return Ok(());
            };
            last = Some(end.clone());
            for (name, _) in page {
                visit(name)?;
            }
        }
    }

    /// Visits every fact of a repository, or of a directory on the way to one.
    pub fn repository<E: From<Error>>(
        &self,
        name: &Namespace,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        visit((Node::Namespace(name.clone()), Value::Directory))?;
        self.ownership(Node::Namespace(name.clone()), visit)?;
        let found = self.index.view().repository(name).map_err(Error::from)?;
        let (Some(found), Some(name)) = (found, name.repository()) else {
            return Ok(());
        };
        for directory in directories(&name, found.directories) {
            visit((directory, Value::Directory))?;
        }
        let one = One {
            index: &self.index,
            name,
            found,
        };
        one.links(&LinkSet::Layers, visit)?;
        one.links(&LinkSet::Revisions, visit)?;
        one.signatures(visit)?;
        one.tags(visit)?;
        one.uploads(visit)
    }

    /// Bytes of a blob of that moment, which must not be many.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.open(digest)?.read_all()
    }

    /// A blob of that moment, open for reading.
    pub fn open(&self, digest: &Digest) -> Result<OpenBlob, Error> {
        self.registry.read_as_of(&self.index, digest)
    }

    /// The bytes of an upload as they are now.
    pub fn upload_data(
        &self,
        name: &RepositoryName,
        upload: &UploadId,
    ) -> Result<super::StagedUpload, Error> {
        self.registry.uploads().data(name, upload)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registry::publish::INLINE_BYTES_MAX;
    use crate::registry::{Bytes, Policy};

    #[test]
    fn what_is_in_the_trash_to_stay_stays_when_a_moment_ends() {
        let registry = Registry::in_memory_with(Policy {
            trash: Duration::ZERO,
            ..Policy::default()
        });
        let layer = vec![1; INLINE_BYTES_MAX + 1];
        let digest = Digest::of(Algorithm::Sha256, &layer);
        let push = || registry.publish(Bytes::Held(&layer), &digest).unwrap();
        let in_trash = || {
            registry
                .blobs
                .list(Area::Trash, None, usize::MAX)
                .unwrap()
                .len()
        };
        push();
        let snapshot = registry.snapshot().unwrap();
        registry.remove_blob(&digest).unwrap();
        assert_eq!(in_trash(), 1);
        drop(snapshot);
        assert_eq!(in_trash(), 0);
        // First for the moment alone, then to stay.
        push();
        let snapshot = registry.snapshot().unwrap();
        registry.remove_blob(&digest).unwrap();
        push();
        let blob = registry.lock_blob(&digest);
        blob.forget().unwrap();
        blob.retire().unwrap();
        drop(blob);
        drop(snapshot);
        assert_eq!(in_trash(), 1);
        // First to stay, then for a moment.
        push();
        let snapshot = registry.snapshot().unwrap();
        registry.remove_blob(&digest).unwrap();
        drop(snapshot);
        assert_eq!(in_trash(), 1);
    }
}
