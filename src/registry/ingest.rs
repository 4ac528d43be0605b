//! Ingestion: a manifest that somebody drops, judged and stored as a whole or not at all.
//!
//! The bytes are parsed, what they reference is looked up in the repository, and then blob,
//! revision link, tag index and current tag become facts in one transaction. A refusal changes
//! nothing and says which rule, where, and what was expected.

use super::directory::repository;
use super::{Error, Registry, now};
use crate::digest::{Algorithm, Digest};
use crate::index::{
    self, Blob, Directories, EDGES_AT_ONCE, Link, RepositoryId, TagDirectories, Transaction,
};
use crate::manifest::{self, Manifest, Need, Reference, Refusal, Role, Rule};
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
}

impl Registry {
    /// Stores a manifest in a repository that exists. The same again changes nothing.
    pub fn ingest(
        &self,
        name: &RepositoryName,
        bytes: &[u8],
        destination: &Destination,
    ) -> Result<Ingested, Error> {
        let refused = |refusal| Error::Refused {
            repository: name.clone(),
            refusal: Box::new(refusal),
        };
        let manifest = manifest::parse(bytes).map_err(refused)?;
        let algorithm = destination
            .digest
            .map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let digest = Digest::of(algorithm, bytes);
        if let Some(expected) = destination.digest.filter(|expected| *expected != digest) {
            let expected = format!("{expected}, as the path says");
            let refusal = Refusal::new(Rule::DigestMismatch, "", digest.to_string(), expected);
            return Err(refused(refusal));
        }
        let id = self
            .index
            .view()
            .repository(name.namespace())?
            .ok_or(Error::Missing)?
            .id;
        for reference in manifest.references() {
            self.check(id, reference)?.map_err(refused)?;
        }
        let staging = self.stage()?;
        staging.write_at(0, bytes)?;
        self.learn_edges(&digest, &manifest)?;
        self.publish_with(&staging, &digest, |facts| {
            link_manifest(facts, name, &digest, destination.tag.as_ref())?;
            know(facts, &digest, &manifest)
        })?;
        Ok(Ingested { digest, manifest })
    }

    /// Whether the repository holds what a manifest references, and of that size.
    fn check(&self, id: RepositoryId, reference: &Reference) -> Result<Result<(), Refusal>, Error> {
        let set = match reference.need {
            Need::Blob => LinkSet::Layers,
            Need::Manifest => LinkSet::Revisions,
            Need::Nothing => return Ok(Ok(())),
        };
        let held = match self.index.view().link(id, &set, &reference.digest)? {
            Some(Link::Linked { target, .. }) => self.index.view().blob(&target)?,
            Some(Link::Directory) | None => None,
        };
        let blob = held.filter(|blob| blob.present);
        Ok(judge(reference, &set, blob.as_ref()))
    }

    /// Records what a manifest names, in as many transactions as it takes. Edges of a manifest
    /// that nobody holds harm nobody, so that they may come first.
    pub(super) fn learn_edges(&self, digest: &Digest, manifest: &Manifest) -> Result<(), Error> {
        if self.index.view().manifest(digest)?.is_some() {
            return Ok(());
        }
        let edges: Vec<_> = manifest
            .references()
            .iter()
            .map(|reference| (role(reference.role), reference.digest))
            .collect();
        let mut first = 0;
        for edges in edges.chunks(EDGES_AT_ONCE) {
            self.index
                .transact(|facts| Ok::<_, Error>(facts.put_edges(digest, first, edges)?))?;
            first += u32::try_from(edges.len()).unwrap_or_default();
        }
        Ok(())
    }
}

/// Refuses a reference to what is not there, or is of another size.
fn judge(reference: &Reference, set: &LinkSet, blob: Option<&Blob>) -> Result<(), Refusal> {
    let pointer = &*reference.pointer;
    let Some(blob) = blob else {
        let what = if *set == LinkSet::Layers {
            "a layer"
        } else {
            "a manifest"
        };
        let value = reference.digest.to_string();
        let expected = format!("{what} that the repository has: store it first");
        return Err(Refusal::new(
            Rule::ReferenceMissing,
            pointer,
            value,
            expected,
        ));
    };
    if blob.size != reference.size {
        let value = format!("{} bytes of {}", reference.size, reference.digest);
        let expected = format!("{} bytes, which is what is stored", blob.size);
        return Err(Refusal::new(Rule::ReferenceSize, pointer, value, expected));
    }
    Ok(())
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
    manifest: &Manifest,
) -> Result<(), Error> {
    if facts.manifest(digest)?.is_none() {
        facts.put_manifest(digest, manifest.media_type())?;
    }
    Ok(())
}

/// Writes the links of a manifest, and makes the directories that lead to them.
fn link_manifest(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    digest: &Digest,
    tag: Option<&Tag>,
) -> Result<(), Error> {
    let repository = repository(facts, name)?;
    let mut directories = repository
        .directories
        .with(Directories::LAYERS)
        .with(Directories::MANIFESTS)
        .with(Directories::REVISIONS)
        .with(Directories::REVISIONS.of(digest.algorithm()));
    if tag.is_some() {
        directories = directories.with(Directories::TAGS);
    }
    facts.put_repository(name.namespace(), directories)?;
    link(facts, repository.id, &LinkSet::Revisions, digest)?;
    let Some(tag) = tag else { return Ok(()) };
    link(
        facts,
        repository.id,
        &LinkSet::TagIndex(tag.clone()),
        digest,
    )?;
    let mut record = facts.tag(repository.id, tag)?.unwrap_or_default();
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
        facts.put_tag(repository.id, tag, &record)?;
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
    let link = Link::Linked {
        target: *digest,
        pushed: now(),
    };
    Ok(facts.put_link(repository, set, digest, &link)?)
}
