//! Blobs: removed, unless somebody needs them.

use super::directory::repository;
use super::{Error, Registry, Removal, now};
use crate::blobs::Vouched;
use crate::digest::Digest;
use crate::index::Role;
use crate::name::{LinkSet, RepositoryName};

impl Registry {
    /// Takes a layer out of a repository as if it had never been stored there. Its bytes stay
    /// until they are collected.
    pub fn withdraw_layer(&self, name: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        self.index.transact(|facts| {
            let id = repository(facts, name)?.id;
            Ok(facts.remove_link(id, &LinkSet::Layers, digest)?)
        })
    }

    /// Removes a blob; its directory stays, as on a plain disk. Refused while a manifest that
    /// some repository holds needs the bytes, unless removal is permissive.
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        let held = self.hold(digest);
        let blob = self.index.view().blob(digest)?.filter(|blob| blob.present);
        let blob = blob.ok_or(Error::Missing)?;
        let needed_by = self.needed_by(digest)?;
        if let (Some(manifest), Removal::Guarded) = (needed_by, self.policy.removal) {
            return Err(Error::Referenced {
                digest: *digest,
                manifest,
            });
        }
        if blob.inline && needed_by.is_some() {
            // In the trash everything is a file.
            let staging = self.stage_again(digest)?;
            self.blobs
                .publish(staging.draft(), digest, Vouched::default())?;
        }
        if needed_by.is_some() {
            self.settle_one(digest)?;
        }
        let was_manifest = self.withdraw_fact(digest)?;
        if needed_by.is_some() {
            self.blobs.retire(digest)?;
        } else if !blob.inline {
            self.remove_bytes(digest)?;
        }
        if was_manifest {
            self.forget_edges(digest)?;
        }
        drop(held);
        Ok(())
    }

    /// Says that a blob is not here, and for good: only then may its bytes go. Whether it was
    /// known as a manifest, whose edges are to be forgotten then.
    pub(super) fn withdraw_fact(&self, digest: &Digest) -> Result<bool, Error> {
        let was_manifest = self.index.transact(|facts| {
            facts.put_blob_directory(digest, now())?;
            let was_manifest = facts.manifest(digest)?.is_some();
            facts.forget_manifest(digest)?;
            Ok::<_, Error>(was_manifest)
        })?;
        self.index.sync()?;
        Ok(was_manifest)
    }

    /// A manifest that some repository holds and that cannot be served without these bytes.
    ///
    /// A manifest's children do not count: distribution's own collection removes untagged
    /// children of a tagged index, and whether that is right is not a filesystem's business.
    fn needed_by(&self, digest: &Digest) -> Result<Option<Digest>, Error> {
        if self.index.is_revision(digest)? {
            return Ok(Some(*digest));
        }
        for manifest in self.index.named_by(digest, &[Role::Config, Role::Layer])? {
            if self.index.is_revision(&manifest)? {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }
}
