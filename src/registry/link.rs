//! Links: layers, revisions, tag indexes and current tags, written and removed.
//!
//! A link that a registry writes is accepted even if its target is not stored (yet): pull-through
//! caches write tags before manifests, and collection leaves layer links without bytes. `ingest`
//! validates the manifests that people copy into the tree; those that registries link are audited.

use super::directory::{
    record_entry_removed, record_link_added, record_removed, record_tag_moved, repository, tag,
};
use super::references::{record_manifest, record_references};
use super::{Error, Registry, now};
use crate::digest::Digest;
use crate::index::{Link, RepositoryId, TagDirectories, TagRecord, Transaction};
use crate::layout::Node;
use crate::manifest::{ManifestSummary, Refusal};
use crate::name::{LinkSet, RepositoryName, Tag};

/// The links of repositories: writing and removing them, and setting their times.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a>(&'a Registry);

impl Registry {
    /// Returns the links of this registry's repositories.
    pub fn links(&self) -> Links<'_> {
        Links(self)
    }
}

impl Links<'_> {
    /// Makes the link of `digest` name `target`. The link's directory must exist. Writing the same
    /// link again changes nothing. Returns the finding of the audit if a revision's manifest breaks
    /// a rule.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository or the directory does not exist; [`Error::Refused`] if
    /// the policy enforces the audit and the manifest breaks a rule.
    pub fn set(
        self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
        target: &Digest,
    ) -> Result<Option<Refusal>, Error> {
        let known = self.0.queries().link(name, set, digest);
        let same = known.is_ok_and(|(known, _)| known == *target);
        let recorded = *set != LinkSet::Revisions || self.0.queries().media_type(target)?.is_some();
        if same && recorded {
            return Ok(None);
        }
        self.0.recent.touch(name);
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
        let _no_removal = self.0.reference_lock.read();
        self.0.index.transact(|tx| {
            let id = repository(tx, name)?.id;
            tx.links().get(id, set, digest)?.ok_or(Error::Missing)?;
            if let Some(manifest) = manifest {
                record_manifest(tx, target, manifest)?;
            }
            let link = Link::Linked {
                target: *target,
                pushed: now(),
            };
            Ok(tx.links().put(id, set, digest, &link)?)
        })
    }

    /// Removes a link; its directory stays, as on a plain disk.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such link.
    pub fn remove(
        self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            let repository = repository(tx, name)?;
            match tx.links().get(repository.id, set, digest)? {
                None | Some(Link::Directory) => Err(Error::Missing),
                Some(Link::Linked { .. }) => {
                    tx.links()
                        .put(repository.id, set, digest, &Link::Directory)?;
                    let directory = Node::LinkDirectory(name.clone(), set.clone(), *digest);
                    record_entry_removed(tx, &directory)
                }
            }
        })
    }

    /// Makes a tag name a manifest. The tag's directory must exist. Writing the same again changes
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository or the tag's directory does not exist.
    pub fn set_current(
        self,
        name: &RepositoryName,
        label: &Tag,
        target: &Digest,
    ) -> Result<(), Error> {
        self.0.recent.touch(name);
        self.0.index.transact(|tx| {
            let (repository, record) = tag(tx, name, label)?;
            if record.current.is_some_and(|(old, _)| old == *target) {
                return Ok(());
            }
            if let Some((_, pushed)) = record.current {
                record_tag_moved(tx, repository.id, label, pushed)?;
            }
            let record = TagRecord {
                current: Some((*target, now())),
                ..record
            };
            Ok(tx.tags().put(repository.id, label, &record)?)
        })
    }

    /// Removes a tag's current link; its directory stays, as on a plain disk.
    ///
    /// # Errors
    /// [`Error::Missing`] if the tag has no current link.
    pub fn remove_current(self, name: &RepositoryName, label: &Tag) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            let (repository, record) = tag(tx, name, label)?;
            if record.current.is_none() {
                return Err(Error::Missing);
            }
            let directories = record.directories.with(TagDirectories::CURRENT);
            let record = TagRecord {
                current: None,
                directories,
            };
            tx.tags().put(repository.id, label, &record)?;
            record_entry_removed(tx, &Node::Current(name.clone(), label.clone()))
        })
    }

    /// Removes a layer's link and its directory, as if the layer had never been stored in the
    /// repository. The blob stays until it is collected.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist.
    pub fn unlink_layer(self, name: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            let id = repository(tx, name)?.id;
            let directory = Node::LinkDirectory(name.clone(), LinkSet::Layers, *digest);
            record_removed(tx, &directory)?;
            Ok(tx.links().remove(id, &LinkSet::Layers, digest)?)
        })
    }

    /// Sets when a link was written, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such link.
    pub fn set_time(
        self,
        name: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
        when: u32,
    ) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            let id = repository(tx, name)?.id;
            match tx.links().get(id, set, digest)? {
                None | Some(Link::Directory) => Err(Error::Missing),
                Some(Link::Linked { pushed, .. }) if pushed == when => Ok(()),
                Some(Link::Linked { target, .. }) => {
                    let link = Link::Linked {
                        target,
                        pushed: when,
                    };
                    Ok(tx.links().put(id, set, digest, &link)?)
                }
            }
        })
    }

    /// Sets when a tag got its manifest, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Missing`] if the tag has no current link.
    pub fn set_current_time(
        self,
        name: &RepositoryName,
        label: &Tag,
        when: u32,
    ) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            let (repository, record) = tag(tx, name, label)?;
            let (target, pushed) = record.current.ok_or(Error::Missing)?;
            if pushed == when {
                return Ok(());
            }
            let record = TagRecord {
                current: Some((target, when)),
                ..record
            };
            Ok(tx.tags().put(repository.id, label, &record)?)
        })
    }
}

/// Links a digest to itself, unless it is linked so already.
pub(super) fn link(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    set: &LinkSet,
    digest: &Digest,
) -> Result<(), Error> {
    let known = tx.links().get(repository, set, digest)?;
    if matches!(known, Some(Link::Linked { target, .. }) if target == *digest) {
        return Ok(());
    }
    // The index directory of a new tag has the tag's time.
    let has_time = match set {
        LinkSet::TagIndex(tag) => tx.tags().get(repository, tag)?.is_some(),
        LinkSet::Layers | LinkSet::Revisions | LinkSet::Signatures(_) => true,
    };
    if known.is_none() && has_time {
        record_link_added(tx, repository, set, digest);
    }
    let link = Link::Linked {
        target: *digest,
        pushed: now(),
    };
    Ok(tx.links().put(repository, set, digest, &link)?)
}
