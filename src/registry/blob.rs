//! Blobs: removed, unless somebody needs them.

use super::directory::{goes, repository};
use super::{Error, Registry, Removal, now};
use crate::digest::Digest;
use crate::index::Role;
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName};

impl Registry {
    /// Takes a layer out of a repository as if it had never been stored there. Its bytes stay
    /// until they are collected.
    pub fn withdraw_layer(&self, name: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        self.index.transact(|facts| {
            let id = repository(facts, name)?.id;
            let directory = Node::LinkDirectory(name.clone(), LinkSet::Layers, *digest);
            goes(facts, &directory)?;
            Ok(facts.remove_link(id, &LinkSet::Layers, digest)?)
        })
    }

    /// Says that a blob is here, whose file was read and is right, once its bytes are durable:
    /// those that went before they were come back as they went.
    pub(super) fn take_in(&self, digest: &Digest, size: u64) -> Result<(), Error> {
        self.blobs.settle()?;
        self.index.transact(|facts| {
            facts.put_blob(digest, size, now())?;
            facts.put_verified(digest, now(), false)
        })?;
        self.learn(digest)
    }

    /// Removes a blob; its directory stays, as on a plain disk, and its bytes go into the trash.
    /// If removal is guarded, this is refused while a manifest that some repository holds needs
    /// the bytes.
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        let held = self.hold(digest);
        while !self.try_to_remove(digest)? {}
        drop(held);
        Ok(())
    }

    /// Removes a blob, unless somebody comes to need it meanwhile; whether it is removed.
    fn try_to_remove(&self, digest: &Digest) -> Result<bool, Error> {
        let blob = self.index.view().blob(digest)?.filter(|blob| blob.present);
        let blob = blob.ok_or(Error::Missing)?;
        let needed_by = self.needed_by(digest)?;
        if let (Some(manifest), Removal::Guarded) = (needed_by, self.policy.removal) {
            return Err(Error::Referenced {
                digest: *digest,
                manifest,
            });
        }
        if self.policy.keeps_removed() {
            if blob.inline {
                self.retire_inline(digest)?;
            } else {
                self.settle_one(digest)?;
            }
        }
        let nobody_comes = self.needs.write();
        if needed_by.is_none() && self.needed_by(digest)?.is_some() {
            return Ok(false);
        }
        let was_manifest = self.withdraw_fact(digest)?;
        drop(nobody_comes);
        self.sync_always()?;
        if !blob.inline {
            self.remove_bytes(digest)?;
        }
        if was_manifest {
            self.forget_edges(digest)?;
        }
        Ok(true)
    }

    /// Puts the bytes of a small blob into the trash, where everything is a file. On a disk that
    /// is full they go without: removal must be possible there.
    fn retire_inline(&self, digest: &Digest) -> Result<(), Error> {
        let bytes = self.index.view().inline(digest)?.unwrap_or_default();
        if let Err(error) = self.blobs.retire_bytes(digest, &bytes) {
            log::warn!("removed blob {digest} is not in the trash: {error}");
        }
        Ok(())
    }

    /// Says that a blob is not here. When that is durable its bytes may go. Whether it was known
    /// as a manifest, whose edges are to be forgotten then. The caller holds `needs` alone.
    pub(super) fn withdraw_fact(&self, digest: &Digest) -> Result<bool, Error> {
        self.index.transact(|facts| {
            facts.put_blob_directory(digest, now())?;
            let was_manifest = facts.manifest(digest)?.is_some();
            facts.forget_manifest(digest)?;
            Ok(was_manifest)
        })
    }

    /// A manifest that some repository holds and that cannot be served without these bytes.
    ///
    /// A manifest's children do not count: distribution's own collection removes untagged
    /// children of a tagged index, and whether that is right is not a filesystem's business.
    /// What an index names beside manifests does: the layers of a `BuildKit` cache.
    fn needed_by(&self, digest: &Digest) -> Result<Option<Digest>, Error> {
        if self.index.is_revision(digest)? {
            return Ok(Some(*digest));
        }
        let roles: &[Role] = if self.queries().media_type(digest)?.is_some() {
            &[Role::Config, Role::Layer]
        } else {
            &[Role::Config, Role::Layer, Role::Child]
        };
        for manifest in self.index.named_by(digest, roles)? {
            if self.index.is_revision(&manifest)? {
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
    use crate::registry::{Bytes, Destination, Policy};

    #[test]
    fn no_layer_goes_while_a_manifest_comes_that_names_it() {
        let registry = Registry::in_memory_with(Policy {
            removal: Removal::Guarded,
            ..Policy::default()
        });
        let name: RepositoryName = "app".parse().unwrap();
        for directory in [
            Node::Namespace(name.namespace().clone()),
            Node::Manifests(name.clone()),
        ] {
            registry.make_directory(&directory).unwrap();
        }
        let store = |bytes: &[u8]| {
            let stored = registry.store_layer(&name, Bytes::Held(bytes), None);
            stored.unwrap().0
        };
        let config = store(b"{}");
        let start = Barrier::new(2);
        let (mut came, mut went) = (0, 0);
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
                // At once: a crash may come at any moment.
                let there = registry.has_blob(&layer).unwrap();
                assert!(there || ingested.is_err(), "round {round}");
                (removing.join().unwrap(), ingested)
            });
            // One of them, and not both.
            assert_ne!(
                removed.is_ok(),
                ingested.is_ok(),
                "{removed:?} {ingested:?}"
            );
            assert_eq!(registry.has_blob(&layer).unwrap(), ingested.is_ok());
            came += u32::from(ingested.is_ok());
            went += u32::from(removed.is_ok());
        }
        assert_eq!(came + went, 2_000);
        assert_eq!(Digest::of(Algorithm::Sha256, b"{}"), config);
    }
}
