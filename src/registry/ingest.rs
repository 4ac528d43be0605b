//! Ingestion: a manifest that a person copies into the tree, stored as a whole or not at all.
//!
//! [`Admission`](super::Admission) validates the bytes; then blob, revision link, tag index and
//! current tag become facts in one transaction. A refusal changes nothing, and says which rule
//! was broken, where in the document, and what was expected.

use super::directory::{mark, repository, tag_came, tag_moves};
use super::link::link;
use super::references::{record_manifest, record_references};
use super::{Bytes, Error, Registry, now};
use crate::digest::{Algorithm, Digest};
use crate::index::{RepositoryDirectories, RepositoryId, TagDirectories, Transaction};
use crate::manifest::{Manifest, ManifestRule, Refusal};
use crate::name::{LinkSet, RepositoryName, Tag};

/// Where a manifest goes, besides its repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The tag that it gets.
    pub tag: Option<Tag>,
    /// The digest that it must have.
    pub digest: Option<Digest>,
}

/// A manifest that is stored now, or was before.
#[derive(Clone, Debug)]
pub struct Ingested {
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub manifest: Manifest,
    /// What was stored and linked with it, and itself.
    pub links: Vec<(LinkSet, Digest)>,
}

/// Bytes that become a blob together with a manifest.
struct Part<'a> {
    bytes: &'a [u8],
    digest: Digest,
    /// The set of the repository in which it is linked.
    set: LinkSet,
}

impl Registry {
    /// Stores a manifest in a repository that exists. The same again changes nothing.
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
        let manifest = self
            .admission()
            .validate(Some(name), document)?
            .map_err(refused)?;
        let digest = digest(document, &manifest, destination).map_err(refused)?;
        let parts = parts(document, &manifest, digest);
        let digests: Vec<Digest> = parts.iter().map(|part| part.digest).collect();
        let held = self.lock_all(&digests);
        let new = |part: &&Part<'_>| part.set != LinkSet::Layers || !self.holds(name, part);
        let new: Vec<&Part<'_>> = parts.iter().filter(new).collect();
        record_references(&self.index, &digest, manifest.summary())?;
        let bytes = new
            .iter()
            .map(|part| (Bytes::Held(part.bytes), part.digest));
        let bytes: Vec<_> = bytes.collect();
        self.publish_held(&bytes, |facts| {
            let id = repository(facts, name)?.id;
            // Once more: none of the bytes goes from here on.
            let view = &mut self.index.view();
            let found = self.admission().check(view, id, manifest.references())?;
            found.map_err(refused)?;
            for part in &new {
                if part.set != LinkSet::Revisions {
                    link_part(facts, name, id, part)?;
                }
            }
            link_manifest(facts, name, &digest, destination.tag.as_ref())?;
            record_manifest(facts, &digest, manifest.summary())
        })?;
        drop(held);
        let links = parts.iter().map(|part| (part.set.clone(), part.digest));
        Ok(Ingested {
            digest,
            links: links.collect(),
            manifest,
        })
    }

    /// Whether a repository holds a part already.
    fn holds(&self, name: &RepositoryName, part: &Part<'_>) -> bool {
        let present = self.queries().blob(&part.digest).is_ok();
        present && self.queries().link(name, &part.set, &part.digest).is_ok()
    }
}

/// The digest of a manifest, which must be the one that its path says.
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

/// What is stored for a manifest: its signatures, the empty configuration that it may name,
/// and itself.
fn parts<'a>(document: &'a [u8], manifest: &'a Manifest, digest: Digest) -> Vec<Part<'a>> {
    let signatures = manifest.signatures().iter().map(|bytes| Part {
        bytes,
        digest: Digest::of(Algorithm::Sha256, bytes),
        set: LinkSet::Signatures(digest),
    });
    let mut references = manifest.references().iter();
    let empty = references.find(|one| one.is_empty_object()).map(|_| Part {
        bytes: b"{}",
        digest: Digest::of(Algorithm::Sha256, b"{}"),
        set: LinkSet::Layers,
    });
    let itself = Part {
        bytes: manifest.payload(document),
        digest,
        set: LinkSet::Revisions,
    };
    signatures.chain(empty).chain([itself]).collect()
}

/// Links a signature, or the empty configuration, and makes the directories that lead to it.
fn link_part(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    id: RepositoryId,
    part: &Part<'_>,
) -> Result<(), Error> {
    let algorithm = part.digest.algorithm();
    if let LinkSet::Signatures(revision) = &part.set {
        facts.put_signatures_directory(id, revision, None)?;
        facts.put_signatures_directory(id, revision, Some(algorithm))?;
    } else {
        let layers = RepositoryDirectories::LAYERS;
        mark(facts, name, layers.with(layers.of(algorithm)))?;
    }
    link(facts, id, &part.set, &part.digest)
}

/// Writes the links of a manifest, and makes the directories that lead to them.
fn link_manifest(
    facts: &mut Transaction<'_>,
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
    mark(facts, name, directories)?;
    let id = repository(facts, name)?.id;
    link(facts, id, &LinkSet::Revisions, digest)?;
    match tag {
        None => Ok(()),
        Some(tag) => link_tag(facts, id, tag, digest),
    }
}

/// Moves a tag to a manifest.
fn link_tag(
    facts: &mut Transaction<'_>,
    repository: RepositoryId,
    tag: &Tag,
    digest: &Digest,
) -> Result<(), Error> {
    let known = facts.tag(repository, tag)?;
    match known.map(|known| known.current) {
        None => tag_came(facts, repository),
        Some(Some((old, pushed))) if old != *digest => {
            tag_moves(facts, repository, tag, pushed)?;
        }
        Some(_) => {}
    }
    link(facts, repository, &LinkSet::TagIndex(tag.clone()), digest)?;
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
        facts.put_tag(repository, tag, &record)?;
    }
    Ok(())
}
