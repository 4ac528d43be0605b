//! Blobs: bytes published under their digest, and removed again.

use super::directory::repository;
use super::ingest::link;
use super::{Error, Registry, Removal, Staging, now};
use crate::blobs::BlobsError;
use crate::digest::{Algorithm, Digest};
use crate::index::{Directories, Role, Transaction};
use crate::name::{LinkSet, RepositoryName, UploadId};

/// Bytes that are copied at once.
const COPIED_AT_ONCE: usize = 1 << 20;

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
    fn publish_with(
        &self,
        staging: &Staging,
        digest: &Digest,
        also: impl FnMut(&mut Transaction<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let held = self.hold(digest);
        self.publish_held(&[(staging, *digest)], also)?;
        self.learn(digest)?;
        drop(held);
        Ok(())
    }

    /// The same for several blobs at once, whose shards the caller holds.
    pub(super) fn publish_held(
        &self,
        parts: &[(&Staging, Digest)],
        mut also: impl FnMut(&mut Transaction<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut sizes = Vec::new();
        let mut new = Vec::new();
        let mut publish = || {
            for (staging, digest) in parts {
                let known = self.index.view().blob(digest)?;
                if !known.is_some_and(|blob| blob.present) {
                    new.push(*digest);
                }
                sizes.push(self.blobs.publish(staging.draft(), digest)?);
            }
            self.index.transact(|facts| {
                for ((_, digest), size) in parts.iter().zip(&sizes) {
                    facts.put_blob(digest, *size, now())?;
                }
                also(facts)
            })
        };
        let published = publish();
        if published.is_err() {
            self.withdraw(&new);
        }
        published
    }

    /// Removes bytes that no fact names. What cannot be removed now fsck finds.
    fn withdraw(&self, digests: &[Digest]) {
        for digest in digests {
            match self.blobs.remove(digest) {
                Ok(()) | Err(BlobsError::Missing(_)) => {}
                Err(error) => log::warn!("blob {digest} stays without a fact: {error}"),
            }
        }
    }

    /// Stores staged bytes as a layer (or configuration) of a repository: blob and link in one.
    /// `expected` is the digest that the bytes must have, if the caller knows one. Gives the
    /// digest, and whether the repository did not have it before.
    pub fn store_layer(
        &self,
        name: &RepositoryName,
        staging: &Staging,
        expected: Option<&Digest>,
    ) -> Result<(Digest, bool), Error> {
        let digest = match expected {
            Some(digest) => *digest,
            None => staging.digest(Algorithm::Sha256)?,
        };
        let new = self.link(name, &LinkSet::Layers, &digest).is_err();
        self.publish_with(staging, &digest, |facts| {
            let repository = repository(facts, name)?;
            let directories = repository
                .directories
                .with(Directories::LAYERS)
                .with(Directories::LAYERS.of(digest.algorithm()));
            facts.put_repository(name.namespace(), directories)?;
            link(facts, repository.id, &LinkSet::Layers, &digest)
        })?;
        Ok((digest, new))
    }

    /// Staged bytes that begin as those of a blob.
    pub fn stage_again(&self, digest: &Digest) -> Result<Staging, Error> {
        let (reading, staging) = (self.read_blob(digest)?, self.stage()?);
        let mut buffer = vec![0; COPIED_AT_ONCE];
        let mut offset = 0;
        loop {
            let read = reading.read_at(offset, &mut buffer)?;
            if read == 0 {
                return Ok(staging);
            }
            staging.write_at(offset, buffer.get(..read).unwrap_or_default())?;
            offset += read as u64;
        }
    }

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
        blob.ok_or(Error::Missing)?;
        let needed_by = self.needed_by(digest)?;
        if let (Some(manifest), Removal::Guarded) = (needed_by, self.policy.removal) {
            return Err(Error::Referenced {
                digest: *digest,
                manifest,
            });
        }
        let was_manifest = self.index.transact(|facts| {
            facts.put_blob_directory(digest, now())?;
            let was_manifest = facts.manifest(digest)?.is_some();
            facts.forget_manifest(digest)?;
            Ok::<_, Error>(was_manifest)
        })?;
        // The fact must be gone for good before the bytes are.
        self.index.sync()?;
        if needed_by.is_some() {
            self.blobs.retire(digest)?;
        } else {
            self.blobs.remove(digest)?;
        }
        if was_manifest {
            self.forget_edges(digest)?;
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
}
