//! Blobs: bytes published under their digest, and removed again.

use super::directory::repository;
use super::ingest::link;
use super::{Error, Registry, Removal, Staging, now};
use crate::digest::{Algorithm, Digest};
use crate::index::{Directories, Role};
use crate::manifest::{self, MANIFEST_BYTES_MAX, Manifest};
use crate::name::{LinkSet, RepositoryName, UploadId};

impl Registry {
    /// Publishes staged bytes under `digest`, if that is what they hash to. When this returns
    /// they are durable, though the fact that names them is so only after the next sync.
    pub fn publish(&self, staging: &Staging, digest: &Digest) -> Result<(), Error> {
        self.publish_with(staging, digest, |_| Ok(()))
    }

    /// Publishes an upload's bytes; the upload's data is gone in the same moment.
    pub fn publish_upload(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        digest: &Digest,
    ) -> Result<(), Error> {
        let staging = self.upload_data(name, id)?;
        self.publish_with(&staging, digest, |facts| {
            let (repository, record) = super::directory::upload(facts, name, id)?;
            let record = crate::index::Upload {
                has_data: false,
                ..record
            };
            Ok(facts.put_upload(repository.id, id, &record)?)
        })?;
        self.uploads.close(staging.draft().id());
        Ok(())
    }

    /// Bytes first, then the fact, together with whatever else `also` changes.
    pub(super) fn publish_with(
        &self,
        staging: &Staging,
        digest: &Digest,
        mut also: impl FnMut(&mut crate::index::Transaction<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let held = self.hold(digest);
        let known = self
            .index
            .view()
            .blob(digest)?
            .is_some_and(|blob| blob.present);
        let size = self.blobs.publish(staging.draft(), digest)?;
        let committed = self.index.transact(|facts| {
            facts.put_blob(digest, size, now())?;
            also(facts)
        });
        if committed.is_err() && !known {
            // No fact names these bytes. If they cannot be removed now, fsck finds them.
            if let Err(error) = self.blobs.remove(digest) {
                log::warn!("blob {digest} stays without a fact: {error}");
            }
        }
        drop(held);
        committed
    }

    /// Stores staged bytes as a layer (or configuration) of a repository: blob and link in one.
    /// `expected` is the digest that the bytes must have, if the caller knows one.
    pub fn store_layer(
        &self,
        name: &RepositoryName,
        staging: &Staging,
        expected: Option<&Digest>,
    ) -> Result<Digest, Error> {
        let digest = match expected {
            Some(digest) => *digest,
            None => staging.digest(Algorithm::Sha256)?,
        };
        self.publish_with(staging, &digest, |facts| {
            let repository = repository(facts, name)?;
            let directories = repository
                .directories
                .with(Directories::LAYERS)
                .with(Directories::LAYERS.of(digest.algorithm()));
            facts.put_repository(name.namespace(), directories)?;
            link(facts, repository.id, &LinkSet::Layers, &digest)
        })?;
        Ok(digest)
    }

    /// Removes a blob; its directory stays, as on a plain disk. Refused while a manifest that
    /// some repository holds needs the bytes, unless removal is permissive.
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), Error> {
        let held = self.hold(digest);
        let blob = self.index.view().blob(digest)?.filter(|blob| blob.present);
        blob.ok_or(Error::Missing)?;
        let needed_by = self.needed_by(digest)?;
        if let (Some(manifest), Removal::Guarded) = (needed_by, self.removal) {
            return Err(Error::Referenced {
                digest: *digest,
                manifest,
            });
        }
        self.index
            .transact(|facts| Ok::<_, Error>(facts.put_blob_directory(digest, now())?))?;
        // The fact must be gone for good before the bytes are.
        self.index.sync()?;
        if needed_by.is_some() {
            self.blobs.retire(digest)?;
        } else {
            self.blobs.remove(digest)?;
        }
        drop(held);
        Ok(())
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

    /// What a stored blob says as a manifest; nothing if it is not there or is none that we
    /// understand: registries may admit what we would not.
    pub(super) fn learn(&self, digest: &Digest) -> Result<Option<Manifest>, Error> {
        let Some(blob) = self.index.view().blob(digest)?.filter(|blob| blob.present) else {
            return Ok(None);
        };
        let Ok(len) = usize::try_from(blob.size) else {
            return Ok(None);
        };
        if len > MANIFEST_BYTES_MAX || self.index.view().manifest(digest)?.is_some() {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        let read = self.read_blob(digest)?.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(manifest::parse(&bytes).ok())
    }
}
