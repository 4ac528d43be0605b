//! Directories: those that registries make, look for and remove.
//!
//! A directory exists if it was made and not removed, or if a fact lies below it. Registries
//! tell repositories by them (distribution up to 2.8 by the layers', 3.x by the manifests'
//! directory), and collection destroys the content of a repository that lacks one; therefore a
//! repository that holds a revision has both, made or not, but for the time in which it is
//! [recent](Recent).
//!
//! It is not a tree of its own: each directory is a flag or a row of the record it belongs to.

use super::{Error, Registry};
use crate::index::{Repository, RepositoryDirectories, TagRecord, Transaction, Upload};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag, UploadId};

mod change;
mod changed;
mod existence;
mod recent;
mod rename;

pub(super) use change::mark;
use change::{make, remove};
use changed::set_time;
pub(super) use changed::{any_below, forget, last_change, set_started, started};
pub(super) use changed::{emptied, goes, link_came, tag_came, tag_moves};
pub(super) use existence::{exists, made};
pub(super) use recent::Recent;

/// The directories of the layout, for those who make, change and remove them.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryTree<'a>(pub(super) &'a Registry);

impl Registry {
    /// Returns the directories of the layout.
    pub fn directories(&self) -> DirectoryTree<'_> {
        DirectoryTree(self)
    }
}

impl DirectoryTree<'_> {
    /// Makes a directory; its parent must exist.
    ///
    /// # Errors
    /// [`Error::Exists`], or [`Error::Missing`] if the parent does not exist.
    pub fn make(self, directory: &Node) -> Result<(), Error> {
        let registry = self.0;
        let implies = registry.index.transact(|tx| {
            let implies = begins_to_imply(tx, directory)?;
            if withholds(registry, tx, directory)? {
                make(tx, directory)?;
            } else {
                make_in(tx, directory)?;
            }
            Ok::<_, Error>(implies)
        })?;
        if let Some(name) = directory.repository() {
            if implies {
                registry.recent.begin(name);
            } else {
                registry.recent.go_on(name);
            }
        }
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::NotEmpty`].
    pub fn remove(self, directory: &Node) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            if exists(tx, directory)?.is_none() {
                return Err(Error::Missing);
            }
            remove(tx, directory)
        })
    }

    /// Sets when a directory last changed, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Missing`] if the directory does not exist.
    pub fn set_time(self, directory: &Node, when: u32) -> Result<(), Error> {
        self.0.index.transact(|tx| set_time(tx, directory, when))
    }
}

/// Returns `true` if a directory that exists without having been made is not shown yet, because
/// its repository is [recent](Recent).
pub(super) fn withholds(
    registry: &Registry,
    tx: &mut Transaction<'_>,
    directory: &Node,
) -> Result<bool, Error> {
    let Node::Links(name, set @ LinkSet::Layers) = directory else {
        return Ok(false);
    };
    if !registry.recent.is(name) || made(tx, directory)? {
        return Ok(false);
    }
    let id = repository(tx, name)?.id;
    Ok(!tx.has_links(id, set, None)?)
}

/// Makes a directory in one that exists.
pub(super) fn make_in(facts: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    if exists(facts, directory)?.is_some() {
        return Err(Error::Exists);
    }
    if let Some(parent) = directory.parent()
        && exists(facts, &parent)?.is_none()
    {
        return Err(Error::Missing);
    }
    make(facts, directory)
}

/// Whether a directory is that of the first revision in a repository without one for layers.
fn begins_to_imply(facts: &mut Transaction<'_>, directory: &Node) -> Result<bool, Error> {
    let Node::LinkDirectory(name, set @ LinkSet::Revisions, _) = directory else {
        return Ok(false);
    };
    let found = repository(facts, name)?;
    Ok(!found.directories.contains(RepositoryDirectories::LAYERS)
        && !facts.has_links(found.id, set, None)?)
}

/// Makes a directory and all that lead to it, as far as they were not made.
pub(super) fn ensure(facts: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    if made(facts, directory)? {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        ensure(facts, &parent)?;
    }
    make(facts, directory)
}

/// The flag of a repository's record that stands for a directory.
pub(super) fn flag(set: &LinkSet) -> Option<RepositoryDirectories> {
    match set {
        LinkSet::Layers => Some(RepositoryDirectories::LAYERS),
        LinkSet::Revisions => Some(RepositoryDirectories::REVISIONS),
        LinkSet::TagIndex(_) | LinkSet::Signatures(_) => None,
    }
}

/// The repository's record, if its directory exists as more than the way to another.
pub(super) fn repository(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
) -> Result<Repository, Error> {
    facts.repository(name.namespace())?.ok_or(Error::Missing)
}

/// The record of an upload.
pub(super) fn upload(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    id: &UploadId,
) -> Result<(Repository, Upload), Error> {
    let repository = repository(facts, name)?;
    let upload = facts.upload(repository.id, id)?.ok_or(Error::Missing)?;
    Ok((repository, upload))
}

/// The record of a tag.
pub(super) fn tag(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    tag: &Tag,
) -> Result<(Repository, TagRecord), Error> {
    let repository = repository(facts, name)?;
    let record = facts.tag(repository.id, tag)?.ok_or(Error::Missing)?;
    Ok((repository, record))
}
