//! Ingestion: a manifest that somebody drops, judged and stored as a whole or not at all.
//!
//! The bytes are judged at the gate, and then blob, revision link, tag index and current tag
//! become facts in one transaction. A refusal changes nothing and says which rule, where, and
//! what was expected.

use super::directory::{link_came, mark, repository, tag_came, tag_moves};
use super::{Bytes, Error, Registry, now};
use crate::digest::{Algorithm, Digest};
use crate::index::{
    self, Directories, EDGES_AT_ONCE, Link, RepositoryId, TagDirectories, Transaction,
};
use crate::manifest::{Manifest, Reference, Refusal, Role, Rule, Understood};
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
        let manifest = self.judge(Some(name), document)?.map_err(refused)?;
        let digest = digest(document, &manifest, destination).map_err(refused)?;
        let parts = parts(document, &manifest, digest);
        let digests: Vec<Digest> = parts.iter().map(|part| part.digest).collect();
        let held = self.hold_all(&digests);
        let new = |part: &&Part<'_>| part.set != LinkSet::Layers || !self.holds(name, part);
        let new: Vec<&Part<'_>> = parts.iter().filter(new).collect();
        self.learn_edges(&digest, manifest.understood())?;
        let bytes = new
            .iter()
            .map(|part| (Bytes::Held(part.bytes), part.digest));
        let bytes: Vec<_> = bytes.collect();
        self.publish_held(&bytes, |facts| {
            let id = repository(facts, name)?.id;
            // Once more: none of the bytes goes from here on.
            let found = self.check(&mut self.index.view(), id, manifest.references())?;
            found.map_err(refused)?;
            for part in &new {
                if part.set != LinkSet::Revisions {
                    link_part(facts, name, id, part)?;
                }
            }
            link_manifest(facts, name, &digest, destination.tag.as_ref())?;
            know(facts, &digest, manifest.understood())
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

    /// Records what a manifest names, in as many transactions as it takes. Edges of a manifest
    /// that nobody holds harm nobody, so that they may come first.
    pub(super) fn learn_edges(&self, digest: &Digest, manifest: &Understood) -> Result<(), Error> {
        if self.index.view().manifest(digest)?.is_some() {
            return Ok(());
        }
        let mut first = 0;
        for edges in edges(manifest).chunks(EDGES_AT_ONCE) {
            self.index
                .transact(|facts| Ok::<_, Error>(facts.put_edges(digest, first, edges)?))?;
            first += u32::try_from(edges.len()).unwrap_or_default();
        }
        Ok(())
    }

    /// Forgets what a manifest names that nobody knows as one any more.
    pub(super) fn forget_edges(&self, digest: &Digest) -> Result<(), Error> {
        loop {
            let more = self
                .index
                .transact(|facts| Ok::<_, Error>(facts.forget_edges(digest)?))?;
            if !more {
                return Ok(());
            }
        }
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
            let (rule, value) = (Rule::DigestMismatch, digest.to_string());
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

/// What a manifest names, as far as it can be known by a number.
pub(super) fn edges(manifest: &Understood) -> Vec<(index::Role, Digest)> {
    let known = |one: &Reference| Some((role(one.role), *one.named.digest()?));
    manifest.references.iter().filter_map(known).collect()
}

fn role(role: Role) -> index::Role {
    match role {
        Role::Config => index::Role::Config,
        Role::Layer => index::Role::Layer,
        Role::Child => index::Role::Child,
        Role::Subject => index::Role::Subject,
    }
}

/// Records that a digest is a manifest, and of which type.
pub(super) fn know(
    facts: &mut Transaction<'_>,
    digest: &Digest,
    manifest: &Understood,
) -> Result<(), Error> {
    if facts.manifest(digest)?.is_none() {
        facts.put_manifest(digest, &manifest.media_type)?;
    }
    Ok(())
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
        facts.keep_signatures(id, revision, None)?;
        facts.keep_signatures(id, revision, Some(algorithm))?;
    } else {
        let layers = Directories::LAYERS;
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
    let mut directories = Directories::LAYERS
        .with(Directories::MANIFESTS)
        .with(Directories::REVISIONS)
        .with(Directories::REVISIONS.of(digest.algorithm()));
    if tag.is_some() {
        directories = directories.with(Directories::TAGS);
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

/// Links a digest to itself, unless it is linked so already.
pub(super) fn link(
    facts: &mut Transaction<'_>,
    repository: RepositoryId,
    set: &LinkSet,
    digest: &Digest,
) -> Result<(), Error> {
    let known = facts.link(repository, set, digest)?;
    if matches!(known, Some(Link::Linked { target, .. }) if target == *digest) {
        return Ok(());
    }
    // A new tag's index has the time of the tag.
    let has_time = match set {
        LinkSet::TagIndex(tag) => facts.tag(repository, tag)?.is_some(),
        LinkSet::Layers | LinkSet::Revisions | LinkSet::Signatures(_) => true,
    };
    if known.is_none() && has_time {
        link_came(facts, repository, set, digest);
    }
    let link = Link::Linked {
        target: *digest,
        pushed: now(),
    };
    Ok(facts.put_link(repository, set, digest, &link)?)
}
