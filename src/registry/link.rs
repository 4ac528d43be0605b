//! Links: layers, revisions, tag indexes and current tags, written and removed.
//!
//! A link that a registry writes is taken as it is, even if what it names is not there (yet):
//! pull-through caches write tags before manifests, and collection leaves layer links without
//! bytes. Manifests that people drop are judged by `ingest`; those that a registry links are
//! audited.

use super::directory::{emptied, repository, tag, tag_moves};
use super::ingest::know;
use super::{Error, Registry, now};
use crate::digest::Digest;
use crate::index::{Link, TagDirectories, TagRecord};
use crate::layout::Node;
use crate::manifest::{Refusal, Understood};
use crate::name::{LinkSet, RepositoryName, Tag};

impl Registry {
    /// Makes the link of `digest` name `target`. Its directory must exist; the same again
    /// changes nothing. Of a manifest that is linked though a rule would refuse it, the audit
    /// gives its finding, or refuses it.
    pub fn set_link(
        &self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
        target: &Digest,
    ) -> Result<Option<Refusal>, Error> {
        let known = self.queries().link(name, set, digest);
        let same = known.is_ok_and(|(known, _)| known == *target);
        let learned = *set != LinkSet::Revisions || self.queries().media_type(target)?.is_some();
        if same && learned {
            return Ok(None);
        }
        self.recent.go_on(name);
        if *set != LinkSet::Revisions {
            self.put_link(name, set, digest, target, None)?;
            return Ok(None);
        }
        let held = self.hold(target);
        let audited = self.audit(name, target)?;
        if let Some(manifest) = &audited.understood {
            self.learn_edges(target, manifest)?;
        }
        self.put_link(name, set, digest, target, audited.understood.as_ref())?;
        drop(held);
        Ok(audited.finding)
    }

    fn put_link(
        &self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
        target: &Digest,
        manifest: Option<&Understood>,
    ) -> Result<(), Error> {
        let _nothing_goes = self.needs.read();
        self.index.transact(|facts| {
            let id = repository(facts, name)?.id;
            facts.link(id, set, digest)?.ok_or(Error::Missing)?;
            if let Some(manifest) = manifest {
                know(facts, target, manifest)?;
            }
            let link = Link::Linked {
                target: *target,
                pushed: now(),
            };
            Ok(facts.put_link(id, set, digest, &link)?)
        })
    }

    /// Removes a link; its directory stays, as on a plain disk.
    pub fn remove_link(
        &self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<(), Error> {
        self.index.transact(|facts| {
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
        &self,
        name: &RepositoryName,
        label: &Tag,
        target: &Digest,
    ) -> Result<(), Error> {
        self.recent.go_on(name);
        self.index.transact(|facts| {
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
    pub fn remove_current(&self, name: &RepositoryName, label: &Tag) -> Result<(), Error> {
        self.index.transact(|facts| {
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
}
