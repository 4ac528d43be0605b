//! Blobs: the records of stored blobs, and the removal of a blob unless a manifest needs it.

use parking_lot::{MutexGuard, RwLockWriteGuard};

use super::references::{forget_references, index_references};
use super::{Error, Registry, Removal, now};
use crate::blobs::{Area, ImportSource};
use crate::digest::Digest;
use crate::index::{Blob, EdgeRole};

/// A locked digest: no other thread publishes or removes its bytes until this is dropped.
pub struct LockedBlob<'a> {
    registry: &'a Registry,
    digest: Digest,
    _lock: Option<MutexGuard<'a, ()>>,
}

impl Registry {
    /// Locks a digest, whether it is stored or not.
    pub(crate) fn lock_blob(&self, digest: &Digest) -> LockedBlob<'_> {
        LockedBlob {
            registry: self,
            digest: *digest,
            _lock: self.lock(digest),
        }
    }

    /// Removes a blob. Its directory stays, as on a plain disk, and its bytes go into the trash.
    ///
    /// # Errors
    /// [`Error::Missing`] if the blob is not stored; [`Error::Referenced`] if the policy guards
    /// removal and some repository holds a manifest that needs the blob.
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        let blob = self.lock_blob(digest);
        while !blob.try_to_remove()? {}
        Ok(())
    }

    /// Sets when a blob was stored, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Missing`] if the blob is not stored.
    pub fn set_blob_time(&self, digest: &Digest, when: u32) -> Result<(), Error> {
        self.index.transact(|tx| {
            let blob = tx.blobs().stored(digest)?.ok_or(Error::Missing)?;
            if blob.created != when {
                tx.blobs().set_created(digest, &blob, when);
            }
            Ok(())
        })
    }

    /// Records that these blobs were read now, and whether their bytes are damaged. Blobs that were
    /// removed meanwhile are skipped.
    pub(crate) fn mark_verified(&self, read: &[Digest], damaged: bool) -> Result<(), Error> {
        self.index.transact(|tx| {
            for digest in read {
                if tx.blobs().stored(digest)?.is_some() {
                    tx.blobs().put_verified(digest, now(), damaged)?;
                }
            }
            Ok(())
        })
    }
}

impl LockedBlob<'_> {
    /// Returns the blob's record, or `None` if the blob is not stored.
    pub(crate) fn record(&self) -> Result<Option<Blob>, Error> {
        Ok(self.registry.index.view().blobs().stored(&self.digest)?)
    }

    /// Records that the blob is stored, with `size` bytes in a file that was read and has the
    /// digest. Makes the file durable first.
    pub(crate) fn add(&self, size: u64) -> Result<(), Error> {
        self.registry.blobs.sync()?;
        self.registry.index.transact(|tx| {
            tx.blobs().put(&self.digest, size, now())?;
            tx.blobs().put_verified(&self.digest, now(), false)
        })?;
        self.index_references()
    }

    /// Records the references of this blob, if it is a linked manifest without recorded references.
    pub(crate) fn index_references(&self) -> Result<(), Error> {
        index_references(self.registry, &self.digest)
    }

    /// Records that the blob is not stored, and waits until that is durable. The caller may remove
    /// the bytes then.
    pub(crate) fn forget(&self) -> Result<(), Error> {
        self.withdraw(self.registry.reference_lock.write())
    }

    /// Moves the bytes of the blob into the trash.
    pub(crate) fn retire(&self) -> Result<(), Error> {
        self.registry.retire(&self.digest)
    }

    /// Moves the bytes of the blob out of the trash. They are durable when this returns.
    pub(crate) fn restore(&self) -> Result<(), Error> {
        Ok(self.registry.blobs.move_to(Area::Live, &self.digest)?)
    }

    /// Makes the blob's name durable if its publication is still pending. Needed before the index
    /// forgets a blob whose bytes stay.
    pub(crate) fn checkpoint(&self) -> Result<(), Error> {
        self.registry.sync_if_pending(&self.digest)
    }

    /// Removes the blob, unless a manifest that needs it is linked meanwhile: returns `false`
    /// then.
    fn try_to_remove(&self) -> Result<bool, Error> {
        let (registry, digest) = (self.registry, &self.digest);
        let blob = self.record()?.ok_or(Error::Missing)?;
        let needed_by = self.needed_by()?;
        if let (Some(manifest), Removal::Guarded) = (needed_by, registry.policy.removal) {
            return Err(Error::Referenced {
                digest: *digest,
                manifest,
            });
        }
        if registry.policy.has_trash() {
            if blob.inline {
                self.retire_inline()?;
            } else {
                self.checkpoint()?;
            }
        }
        let no_new_references = registry.reference_lock.write();
        if needed_by.is_none() && self.needed_by()?.is_some() {
            return Ok(false);
        }
        self.withdraw(no_new_references)?;
        if !blob.inline {
            registry.remove_bytes(digest)?;
        }
        Ok(true)
    }

    /// Copies the bytes of a small blob into the trash, where each blob is a file. On a full disk
    /// the copy is left out: removal must be possible there.
    fn retire_inline(&self) -> Result<(), Error> {
        let digest = &self.digest;
        let bytes = self.registry.index.view().blobs().inline(digest)?;
        let bytes = bytes.unwrap_or_default();
        if let Err(error) =
            self.registry
                .blobs
                .import(Area::Trash, digest, ImportSource::Bytes(&bytes))
        {
            log::warn!("removed blob {digest} is not in the trash: {error}");
        }
        Ok(())
    }

    /// Records that the blob is not stored, waits until that is durable, and then removes the
    /// record of what it names as a manifest.
    fn withdraw(&self, no_new_references: RwLockWriteGuard<'_, ()>) -> Result<(), Error> {
        let (registry, digest) = (self.registry, &self.digest);
        let was_manifest = registry.index.transact(|tx| {
            tx.blobs().put_directory(digest, now())?;
            let was_manifest = tx.manifests().media_type(digest)?.is_some();
            tx.manifests().remove(digest)?;
            Ok::<_, Error>(was_manifest)
        })?;
        drop(no_new_references);
        registry.sync_always()?;
        if was_manifest {
            forget_references(&registry.index, digest)?;
        }
        Ok(())
    }

    /// Returns a manifest that some repository holds and that cannot be served without these
    /// bytes.
    ///
    /// The children of an index do not count: distribution's own collection removes untagged
    /// children of a tagged index, and a filesystem does not decide whether that is right.
    /// Other references of an index count, such as the layers of a `BuildKit` cache.
    fn needed_by(&self) -> Result<Option<Digest>, Error> {
        let (index, digest) = (&self.registry.index, &self.digest);
        if index.is_revision(digest)? {
            return Ok(Some(*digest));
        }
        let roles: &[EdgeRole] = if index.view().manifests().media_type(digest)?.is_some() {
            &[EdgeRole::Config, EdgeRole::Layer]
        } else {
            &[EdgeRole::Config, EdgeRole::Layer, EdgeRole::Child]
        };
        for manifest in index.referenced_by(digest, roles)? {
            if index.is_revision(&manifest)? {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::digest::Algorithm;
    use crate::layout::Node;
    use crate::name::RepositoryName;
    use crate::registry::{Bytes, Destination, Policy};

    #[test]
    fn no_layer_is_removed_while_a_manifest_is_stored_that_references_it() {
        let registry = Registry::in_memory_with(Policy {
            removal: Removal::Guarded,
            ..Policy::default()
        });
        let name: RepositoryName = "app".parse().unwrap();
        for directory in [
            Node::Namespace(name.namespace().clone()),
            Node::Manifests(name.clone()),
        ] {
            registry.directories().make(&directory).unwrap();
        }
        let store = |bytes: &[u8]| {
            let stored = registry.store_layer(&name, Bytes::Held(bytes), None);
            stored.unwrap().0
        };
        let config = store(b"{}");
        let start = Barrier::new(2);
        let (mut ingests, mut removals) = (0, 0);
        for round in 0..2_000_u32 {
            let layer = store(&round.to_be_bytes());
            let document = format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"a/b","digest":"{config}","size":2}},"layers":[{{"mediaType":"a/b","digest":"{layer}","size":4}}]}}"#
            );
            let (removed, ingested) = std::thread::scope(|scope| {
                let removing = scope.spawn(|| {
                    start.wait();
                    registry.remove_blob(&layer)
                });
                start.wait();
                let ingested = registry.ingest(&name, document.as_bytes(), &Destination::default());
                // Checked at once, since a crash may come at any time.
                let there = registry.queries().has_blob(&layer).unwrap();
                assert!(there || ingested.is_err(), "round {round}");
                (removing.join().unwrap(), ingested)
            });
            // Exactly one of them succeeds.
            assert_ne!(
                removed.is_ok(),
                ingested.is_ok(),
                "{removed:?} {ingested:?}"
            );
            assert_eq!(
                registry.queries().has_blob(&layer).unwrap(),
                ingested.is_ok()
            );
            ingests += u32::from(ingested.is_ok());
            removals += u32::from(removed.is_ok());
        }
        assert_eq!(ingests + removals, 2_000);
        assert_eq!(Digest::of(Algorithm::Sha256, b"{}"), config);
    }
}
