//! Links: layers, revisions, tag indexes and current tags, written and removed.
//!
//! A link that a registry writes is taken as it is, even if what it names is not there (yet):
//! pull-through caches write tags before manifests, and collection leaves layer links without
//! bytes. Manifests that people drop are judged by `ingest`; those that a registry links are
//! audited.

use super::directory::{emptied, goes, link_came, repository, tag, tag_moves};
use super::references::{record_manifest, record_references};
use super::{Error, Registry, now};
use crate::digest::Digest;
use crate::index::{Link, RepositoryId, TagDirectories, TagRecord, Transaction};
use crate::layout::Node;
use crate::manifest::{ManifestSummary, Refusal};
use crate::name::{LinkSet, RepositoryName, Tag};

/// The links of repositories, for those who change them.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a>(&'a Registry);

impl Registry {
    /// Returns the links of this registry's repositories.
    pub fn links(&self) -> Links<'_> {
        Links(self)
    }
}

impl Links<'_> {
    /// Makes the link of `digest` name `target`. Its directory must exist; the same again
    /// changes nothing. Of a manifest that is linked though a rule would refuse it, the audit
    /// gives its finding, or refuses it.
    pub fn set(
        self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
        target: &Digest,
    ) -> Result<Option<Refusal>, Error> {
        let known = self.0.queries().link(name, set, digest);
        let same = known.is_ok_and(|(known, _)| known == *target);
        let learned = *set != LinkSet::Revisions || self.0.queries().media_type(target)?.is_some();
        if same && learned {
            return Ok(None);
        }
        self.0.recent.go_on(name);
        if *set != LinkSet::Revisions {
            self.put_link(name, set, digest, target, None)?;
            return Ok(None);
        }
        let held = self.0.lock_blob(target);
        let audited = self.0.admission().audit(name, target)?;
        if let Some(manifest) = &audited.understood {
            record_references(&self.0.index, target, manifest)?;
        }
        self.put_link(name, set, digest, target, audited.understood.as_ref())?;
        drop(held);
        Ok(audited.finding)
    }

    fn put_link(
        self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
        target: &Digest,
        manifest: Option<&ManifestSummary>,
    ) -> Result<(), Error> {
        let _nothing_goes = self.0.reference_lock.read();
        self.0.index.transact(|facts| {
            let id = repository(facts, name)?.id;
            facts.link(id, set, digest)?.ok_or(Error::Missing)?;
            if let Some(manifest) = manifest {
                record_manifest(facts, target, manifest)?;
            }
            let link = Link::Linked {
                target: *target,
                pushed: now(),
            };
            Ok(facts.put_link(id, set, digest, &link)?)
        })
    }

    /// Removes a link; its directory stays, as on a plain disk.
    pub fn remove(
        self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<(), Error> {
        self.0.index.transact(|facts| {
            let repository = repository(facts, name)?;
            match facts.link(repository.id, set, digest)? {
                None | Some(Link::Directory) => Err(Error::Missing),
                Some(Link::Linked { .. }) => {
                    facts.put_link(repository.id, set, digest, &Link::Directory)?;
                    let directory = Node::LinkDirectory(name.clone(), set.clone(), *digest);
                    emptied(facts, &directory)
                }
            }
        })
    }

    /// Points a tag at a manifest. The tag's directory must exist; the same again changes nothing.
    pub fn set_current(
        self,
        name: &RepositoryName,
        label: &Tag,
        target: &Digest,
    ) -> Result<(), Error> {
        self.0.recent.go_on(name);
        self.0.index.transact(|facts| {
            let (repository, record) = tag(facts, name, label)?;
            if record.current.is_some_and(|(old, _)| old == *target) {
                return Ok(());
            }
            if let Some((_, pushed)) = record.current {
                tag_moves(facts, repository.id, label, pushed)?;
            }
            let record = TagRecord {
                current: Some((*target, now())),
                ..record
            };
            Ok(facts.put_tag(repository.id, label, &record)?)
        })
    }

    /// Removes a tag's current link; its directory stays, as on a plain disk.
    pub fn remove_current(self, name: &RepositoryName, label: &Tag) -> Result<(), Error> {
        self.0.index.transact(|facts| {
            let (repository, record) = tag(facts, name, label)?;
            if record.current.is_none() {
                return Err(Error::Missing);
            }
            let directories = record.directories.with(TagDirectories::CURRENT);
            let record = TagRecord {
                current: None,
                directories,
            };
            facts.put_tag(repository.id, label, &record)?;
            emptied(facts, &Node::Current(name.clone(), label.clone()))
        })
    }

    /// Takes a layer out of a repository as if it had never been stored there. Its bytes stay
    /// until they are collected.
    pub fn withdraw_layer(self, name: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        self.0.index.transact(|facts| {
            let id = repository(facts, name)?.id;
            let directory = Node::LinkDirectory(name.clone(), LinkSet::Layers, *digest);
            goes(facts, &directory)?;
            Ok(facts.remove_link(id, &LinkSet::Layers, digest)?)
        })
    }

    /// Sets since when a link is there.
    pub fn set_time(
        self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
        when: u32,
    ) -> Result<(), Error> {
        self.0.index.transact(|facts| {
            let id = repository(facts, name)?.id;
            match facts.link(id, set, digest)? {
                None | Some(Link::Directory) => Err(Error::Missing),
                Some(Link::Linked { pushed, .. }) if pushed == when => Ok(()),
                Some(Link::Linked { target, .. }) => {
                    let link = Link::Linked {
                        target,
                        pushed: when,
                    };
                    Ok(facts.put_link(id, set, digest, &link)?)
                }
            }
        })
    }

    /// Sets since when a tag is at its manifest.
    pub fn set_current_time(
        self,
        name: &RepositoryName,
        label: &Tag,
        when: u32,
    ) -> Result<(), Error> {
        self.0.index.transact(|facts| {
            let (repository, record) = tag(facts, name, label)?;
            let (target, pushed) = record.current.ok_or(Error::Missing)?;
            if pushed == when {
                return Ok(());
            }
            let record = TagRecord {
                current: Some((target, when)),
                ..record
            };
            Ok(facts.put_tag(repository.id, label, &record)?)
        })
    }
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
