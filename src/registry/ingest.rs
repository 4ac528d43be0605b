//! Ingestion: a manifest that a person copies into the tree, stored as a whole or not at all.
//!
//! [`Admission`](super::Admission) validates the bytes; then one transaction adds the blob, the
//! revision link, and the tag's index entry and current link. A refusal changes nothing, and names
//! the broken rule, the place in the document, and the expected value.

use super::directory::{mark, record_tag_added, record_tag_moved, repository};
use super::link::link;
use super::references::{record_manifest, record_references};
use super::{Bytes, Error, Registry, now};
use crate::digest::{Algorithm, Digest};
use crate::index::{RepositoryDirectories, RepositoryId, TagDirectories, Transaction};
use crate::manifest::{Manifest, ManifestRule, Refusal};
use crate::name::{LinkSet, RepositoryName, Tag};

/// Where a manifest is stored, besides its repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The tag that it gets, if any.
    pub tag: Option<Tag>,
    /// The digest that it must have, if any.
    pub digest: Option<Digest>,
}

/// A stored manifest.
#[derive(Clone, Debug)]
pub struct Ingested {
    /// Its digest.
    pub digest: Digest,
    /// The validated manifest.
    pub manifest: Manifest,
    /// The links of the manifest, of its signatures, and of the empty configuration that it may
    /// name: whether they are new or not.
    pub links: Vec<(LinkSet, Digest)>,
}

/// A blob that is stored together with a manifest.
struct NewBlob<'a> {
    bytes: &'a [u8],
    digest: Digest,
    /// The link set of the repository in which it is linked.
    set: LinkSet,
}

impl Registry {
    /// Stores a manifest in a repository that exists. Storing it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist; [`Error::Refused`] if the manifest
    /// breaks a rule, has not the digest of `destination`, or references something that the
    /// repository does not hold; the failure to write the store.
    pub fn ingest(
        &self,
        name: &RepositoryName,
        document: &[u8],
        destination: &Destination,
    ) -> Result<Ingested, Error> {
        let refused = |refusal| Error::Refused {
            repository: name.clone(),
            refusal: Box::new(refusal),
        };
        let validated = self.admission().validate(Some(name), document)?;
        let manifest = validated.map_err(refused)?;
        let digest = digest(document, &manifest, destination).map_err(refused)?;
        let blobs = blobs(document, &manifest, digest);
        let digests: Vec<Digest> = blobs.iter().map(|blob| blob.digest).collect();
        let locks = self.lock_all(&digests);
        let is_new = |blob: &&NewBlob<'_>| blob.set != LinkSet::Layers || !self.holds(name, blob);
        let new: Vec<&NewBlob<'_>> = blobs.iter().filter(is_new).collect();
        record_references(&self.index, &digest, manifest.summary())?;
        let bytes = new
            .iter()
            .map(|blob| (Bytes::Held(blob.bytes), blob.digest));
        self.publish_locked(&bytes.collect::<Vec<_>>(), |tx| {
            let id = repository(tx, name)?.id;
            // Checked again, because no blob can be removed from here on.
            let view = &mut self.index.view();
            let found = self.admission().check(view, id, manifest.references())?;
            found.map_err(refused)?;
            for blob in new.iter().filter(|blob| blob.set != LinkSet::Revisions) {
                link_blob(tx, name, id, blob)?;
            }
            link_manifest(tx, name, &digest, destination.tag.as_ref())?;
            record_manifest(tx, &digest, manifest.summary())
        })?;
        drop(locks);
        let links = blobs.iter().map(|blob| (blob.set.clone(), blob.digest));
        Ok(Ingested {
            digest,
            links: links.collect(),
            manifest,
        })
    }

    /// Returns `true` if a blob is stored and linked in a repository.
    fn holds(&self, name: &RepositoryName, blob: &NewBlob<'_>) -> bool {
        let present = self.queries().blob(&blob.digest).is_ok();
        present && self.queries().link(name, &blob.set, &blob.digest).is_ok()
    }
}

/// Returns the digest of a manifest, or a refusal if it differs from the digest of the path.
fn digest(
    document: &[u8],
    manifest: &Manifest,
    destination: &Destination,
) -> Result<Digest, Refusal> {
    let expected = destination.digest;
    let algorithm = expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
    let digest = manifest.digest(document, algorithm);
    match expected.filter(|expected| *expected != digest) {
        None => Ok(digest),
        Some(expected) => {
            let (rule, value) = (ManifestRule::DigestMismatch, digest.to_string());
            let expected = format!("{expected}, as the path says");
            Err(Refusal::new(rule, "", value, expected))
        }
    }
}

/// Returns the blobs that are stored for a manifest: its signatures, the empty configuration that
/// it may name, and itself.
fn blobs<'a>(document: &'a [u8], manifest: &'a Manifest, digest: Digest) -> Vec<NewBlob<'a>> {
    let signatures = manifest.signatures().iter().map(|bytes| NewBlob {
        bytes,
        digest: Digest::of(Algorithm::Sha256, bytes),
        set: LinkSet::Signatures(digest),
    });
    let mut references = manifest.references().iter();
    let empty = references
        .find(|one| one.is_empty_object())
        .map(|_| NewBlob {
            bytes: b"{}",
            digest: Digest::of(Algorithm::Sha256, b"{}"),
            set: LinkSet::Layers,
        });
    let itself = NewBlob {
        bytes: manifest.payload(document),
        digest,
        set: LinkSet::Revisions,
    };
    signatures.chain(empty).chain([itself]).collect()
}

/// Links a signature or the empty configuration, and makes the directories above it.
fn link_blob(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    id: RepositoryId,
    blob: &NewBlob<'_>,
) -> Result<(), Error> {
    let algorithm = blob.digest.algorithm();
    if let LinkSet::Signatures(revision) = &blob.set {
        tx.signature_directories()
            .put_directory(id, revision, None)?;
        tx.signature_directories()
            .put_directory(id, revision, Some(algorithm))?;
    } else {
        let layers = RepositoryDirectories::LAYERS;
        mark(tx, name, layers.with(layers.of(algorithm)))?;
    }
    link(tx, id, &blob.set, &blob.digest)
}

/// Writes the links of a manifest, and makes the directories above them.
fn link_manifest(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    digest: &Digest,
    tag: Option<&Tag>,
) -> Result<(), Error> {
    let mut directories = RepositoryDirectories::LAYERS
        .with(RepositoryDirectories::MANIFESTS)
        .with(RepositoryDirectories::REVISIONS)
        .with(RepositoryDirectories::REVISIONS.of(digest.algorithm()));
    if tag.is_some() {
        directories = directories.with(RepositoryDirectories::TAGS);
    }
    mark(tx, name, directories)?;
    let id = repository(tx, name)?.id;
    link(tx, id, &LinkSet::Revisions, digest)?;
    match tag {
        None => Ok(()),
        Some(tag) => link_tag(tx, id, tag, digest),
    }
}

/// Makes a tag name a manifest.
fn link_tag(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    tag: &Tag,
    digest: &Digest,
) -> Result<(), Error> {
    let known = tx.tags().get(repository, tag)?;
    match known.map(|known| known.current) {
        None => record_tag_added(tx, repository),
        Some(Some((old, pushed))) if old != *digest => {
            record_tag_moved(tx, repository, tag, pushed)?;
        }
        Some(_) => {}
    }
    link(tx, repository, &LinkSet::TagIndex(tag.clone()), digest)?;
    let mut record = known.unwrap_or_default();
    let before = record;
    record.directories = record
        .directories
        .with(TagDirectories::CURRENT)
        .with(TagDirectories::INDEX)
        .with(TagDirectories::index_of(digest.algorithm()));
    if record.current.is_none_or(|(current, _)| current != *digest) {
        record.current = Some((*digest, now()));
    }
    if record != before {
        tx.tags().put(repository, tag, &record)?;
    }
    Ok(())
}
