//! Snapshots: all facts as they were when the snapshot was taken, and every blob that they name.
//!
//! While a snapshot is open, removed blobs stay readable in the trash; the registry continues
//! meanwhile.

use std::time::SystemTime;

use super::ownership::ownership_key;
use super::{Error, Fact, OpenBlob, Ownership, OwnershipScope, Registry, Value};
use crate::blobs::Area;
use crate::digest::{Algorithm, Digest};
use crate::index::Index;
use crate::layout::Node;
use crate::name::{LinkSet, Namespace, RepositoryName, UploadId};

mod repository;

use repository::{RepositorySnapshot, made_directories};

/// Rows that are read at once.
const PAGE: usize = 1_000;

/// The open snapshots, and the blobs that were removed meanwhile.
#[derive(Debug, Default)]
pub(super) struct OpenSnapshots {
    /// The number of open snapshots.
    pub(super) count: usize,
    /// When the oldest of them was taken; no snapshot names a blob that was removed before.
    pub(super) since: Option<SystemTime>,
    /// Blobs in the trash only for the snapshots: they are removed with the last one.
    pub(super) removed: Vec<Digest>,
}

/// All facts as of one point in time.
#[derive(Debug)]
pub struct Snapshot<'a> {
    registry: &'a Registry,
    index: Index,
}

impl Registry {
    /// Takes a snapshot. It is closed when it is dropped.
    ///
    /// # Errors
    /// The failure of the index.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        // Counted first, so that blobs removed from here on stay readable.
        {
            let mut snapshots = self.snapshots.lock();
            snapshots.count += 1;
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

    /// Removes the bytes of a blob that no fact names any more: moves them to the trash, or removes
    /// them for good, at once or when the last open snapshot is closed.
    pub(super) fn remove_bytes(&self, digest: &Digest) -> Result<(), Error> {
        if self.policy.has_trash() {
            return self.retire(digest);
        }
        let mut snapshots = self.snapshots.lock();
        if snapshots.count == 0 {
            drop(snapshots);
            return Ok(self.blobs.remove(Area::Live, digest, None)?);
        }
        // A blob that is in the trash for its own sake stays there.
        let stays =
            !snapshots.removed.contains(digest) && self.blobs.open(Area::Trash, digest).is_ok();
        self.blobs.move_to(Area::Trash, digest)?;
        if !stays {
            snapshots.removed.push(*digest);
        }
        Ok(())
    }

    /// Moves the bytes of a blob to the trash, where they stay after the last snapshot is closed.
    pub(super) fn retire(&self, digest: &Digest) -> Result<(), Error> {
        self.snapshots.lock().removed.retain(|one| one != digest);
        Ok(self.blobs.move_to(Area::Trash, digest)?)
    }

    fn end_snapshot(&self) {
        let mut snapshots = self.snapshots.lock();
        snapshots.count -= 1;
        if snapshots.count > 0 {
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
    /// Returns the index as of the snapshot.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Returns owner and mode of the top of the mount, if they were set.
    pub fn mountpoint_ownership(&self) -> Result<Option<Ownership>, Error> {
        self.ownership_of(&OwnershipScope::Mountpoint)
    }

    /// Visits owner and mode of the directories that always exist, where they were set.
    ///
    /// # Errors
    /// The first error of `visit`, or the failure of the index.
    pub fn fixed_directories<E: From<Error>>(
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

    fn ownership_of(&self, of: &OwnershipScope) -> Result<Option<Ownership>, Error> {
        let view = &mut self.index.view();
        Ok(match ownership_key(view, of)? {
            Some(key) => view.owners().get(key)?,
            None => None,
        })
    }

    /// Visits every directory of blobs that was made or holds something, and every blob.
    ///
    /// # Errors
    /// The first error of `visit`, or the failure of the index.
    pub fn blobs<E: From<Error>>(
        &self,
        mut visit: impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        for algorithm in Algorithm::ALL {
            if self.algorithm_was_made(algorithm)? {
                visit((Node::BlobAlgorithm(algorithm), Value::Directory))?;
            }
            for shard in self
                .index
                .list()
                .blob_shards(algorithm)
                .map_err(Error::from)?
            {
                visit((Node::BlobShard(algorithm, shard), Value::Directory))?;
                self.shard(algorithm, shard, &mut visit)?;
            }
        }
        Ok(())
    }

    fn algorithm_was_made(&self, algorithm: Algorithm) -> Result<bool, Error> {
        Ok(self.index.view().blobs().has_algorithm(algorithm)?)
    }

    fn shard<E: From<Error>>(
        &self,
        algorithm: Algorithm,
        shard: u8,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        loop {
            let page = self
                .index
                .list()
                .blobs(algorithm, shard, last.as_ref(), PAGE);
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

    /// Visits the names of all repositories and of the directories above them that were made.
    ///
    /// # Errors
    /// The first error of `visit`, or the failure of the index.
    pub fn repositories<E: From<Error>>(
        &self,
        mut visit: impl FnMut(Namespace) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        loop {
            let page = self.index.list().repositories(last.as_ref(), PAGE);
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

    /// Visits every fact of a repository, or of a directory above repositories.
    ///
    /// # Errors
    /// The first error of `visit`, or the failure of the index.
    pub fn repository<E: From<Error>>(
        &self,
        name: &Namespace,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        visit((Node::Namespace(name.clone()), Value::Directory))?;
        self.ownership(Node::Namespace(name.clone()), visit)?;
        let found = self
            .index
            .view()
            .repositories()
            .get(name)
            .map_err(Error::from)?;
        let (Some(found), Some(name)) = (found, name.repository()) else {
            return Ok(());
        };
        for directory in made_directories(&name, found.directories) {
            visit((directory, Value::Directory))?;
        }
        let repository = RepositorySnapshot {
            index: &self.index,
            name,
            found,
        };
        repository.links(&LinkSet::Layers, visit)?;
        repository.links(&LinkSet::Revisions, visit)?;
        repository.signatures(visit)?;
        repository.tags(visit)?;
        repository.uploads(visit)
    }

    /// Returns all bytes of a blob as of the snapshot. The caller checks that they are few.
    ///
    /// # Errors
    /// The same as of [`Snapshot::open`], and the failure of a read.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.open(digest)?.read_all()
    }

    /// Opens a blob as of the snapshot for reading.
    ///
    /// # Errors
    /// [`Error::Missing`] if the snapshot does not have the blob; [`Error::is_damaged_blob`] or
    /// [`Error::is_missing_blob`] if its bytes are wrong or lost.
    pub fn open(&self, digest: &Digest) -> Result<OpenBlob, Error> {
        self.registry.read_as_of(&self.index, digest)
    }

    /// Returns the bytes of an upload as they are now.
    ///
    /// # Errors
    /// [`Error::Missing`] if the upload has none.
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
    fn a_blob_removed_for_its_own_sake_stays_in_the_trash_when_a_snapshot_is_closed() {
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
        // First only for the snapshot, then for its own sake.
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
        // First for its own sake, then for a snapshot.
        push();
        let snapshot = registry.snapshot().unwrap();
        registry.remove_blob(&digest).unwrap();
        drop(snapshot);
        assert_eq!(in_trash(), 1);
    }
}
