//! Links: layers, revisions, tag indexes and current tags, written and removed.
//!
//! A link that a registry writes is taken as it is, even if what it names is not there (yet):
//! pull-through caches write tags before manifests, and collection leaves layer links without
//! bytes. Only manifests that people drop are judged, by `ingest`.

use super::directory::{repository, tag};
use super::ingest::know;
use super::{Error, Registry, now};
use crate::digest::Digest;
use crate::index::{Link, TagDirectories, TagRecord};
use crate::name::{LinkSet, RepositoryName, Tag};

impl Registry {
    /// Makes the link of `digest` name `target`. Its directory must exist; the same again
    /// changes nothing.
    pub fn set_link(
        &self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
        target: &Digest,
    ) -> Result<(), Error> {
        let learned = match set {
            LinkSet::Revisions => self.learn(target)?,
            LinkSet::Layers | LinkSet::TagIndex(_) | LinkSet::Signatures(_) => None,
        };
        if let Some(manifest) = &learned {
            self.learn_edges(target, manifest)?;
        }
        self.index.transact(|facts| {
            let repository = repository(facts, name)?;
            let link = facts
                .link(repository.id, set, digest)?
                .ok_or(Error::Missing)?;
            if matches!(link, Link::Linked { target: old, .. } if old == *target) {
                return Ok(());
            }
            if let Some(manifest) = &learned {
                know(facts, target, manifest)?;
            }
            let link = Link::Linked {
                target: *target,
                pushed: now(),
            };
            Ok(facts.put_link(repository.id, set, digest, &link)?)
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
                    Ok(facts.put_link(repository.id, set, digest, &Link::Directory)?)
                }
            }
        })
    }

    /// Points a tag at a manifest. Its directory must exist; the same again changes nothing.
    pub fn set_current(
        &self,
        name: &RepositoryName,
        label: &Tag,
        target: &Digest,
    ) -> Result<(), Error> {
        self.index.transact(|facts| {
            let (repository, record) = tag(facts, name, label)?;
            if record.current.is_some_and(|(old, _)| old == *target) {
                return Ok(());
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
            Ok(facts.put_tag(repository.id, label, &record)?)
        })
    }
}
