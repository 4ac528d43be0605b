//! Directories: those that registries make, look up and remove.
//!
//! A directory exists if it was made and not removed, or if a fact is below it. Registries
//! recognize a repository by one of its directories (distribution up to 2.8 by that for layers,
//! 3.x by that for manifests), and collection destroys the content of a repository that lacks it.
//! A repository that holds a revision therefore has both, made or not, except while it is
//! [recent](RecentRepositories).
//!
//! There is no table of directories: each is a flag or a row of the record that it belongs to.

use super::{Error, Registry};
use crate::index::{
    Repository, RepositoryDirectories, RepositoryId, TagDirectories, TagRecord, Transaction, Upload,
};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag, UploadId};

mod existence;
mod flags;
mod make;
mod recent;
mod remove;
mod rename;
mod times;

pub(super) use existence::{content_time, exists, was_made};
pub(super) use flags::flagged_directories;
use make::make;
pub(super) use make::mark;
pub(super) use recent::RecentRepositories;
use remove::remove;
use times::set_time;
pub(super) use times::{
    forget_time, has_times_below, last_change, put_started_time, record_entry_removed,
    record_link_added, record_removed, record_tag_added, record_tag_moved, started_time,
};

/// The directories of the layout: making, renaming, removing them, and setting their time, owner
/// and mode.
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
    /// [`Error::Exists`] if it exists; [`Error::Missing`] if the parent does not exist.
    pub fn make(self, directory: &Node) -> Result<(), Error> {
        let registry = self.0;
        let implies_layers = registry.index.transact(|tx| {
            let implies_layers = starts_to_imply_layers(tx, directory)?;
            if is_hidden(registry, tx, directory)? {
                make(tx, directory)?;
            } else {
                make_in(tx, directory)?;
            }
            Ok::<_, Error>(implies_layers)
        })?;
        if let Some(name) = directory.repository() {
            if implies_layers {
                registry.recent.add(name);
            } else {
                registry.recent.touch(name);
            }
        }
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Error::Missing`] if it does not exist; [`Error::NotEmpty`] if something is in it.
    pub fn remove(self, directory: &Node) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            if !exists(tx, directory)? {
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

/// Returns `true` if a directory for layers exists without having been made, but is not shown yet
/// because its repository is [recent](RecentRepositories).
pub(super) fn is_hidden(
    registry: &Registry,
    tx: &mut Transaction<'_>,
    directory: &Node,
) -> Result<bool, Error> {
    let Node::Links(name, set @ LinkSet::Layers) = directory else {
        return Ok(false);
    };
    if !registry.recent.contains(name) || was_made(tx, directory)? {
        return Ok(false);
    }
    let id = repository(tx, name)?.id;
    Ok(!tx.links().any(id, set, None)?)
}

/// Makes a directory that does not exist, in one that exists.
///
/// # Errors
/// [`Error::Exists`] if it exists; [`Error::Missing`] if the parent does not exist.
pub(super) fn make_in(tx: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    if exists(tx, directory)? {
        return Err(Error::Exists);
    }
    if let Some(parent) = directory.parent()
        && !exists(tx, &parent)?
    {
        return Err(Error::Missing);
    }
    make(tx, directory)
}

/// Returns `true` if a directory is that of the first revision of a repository in which nobody has
/// made a directory for layers.
fn starts_to_imply_layers(tx: &mut Transaction<'_>, directory: &Node) -> Result<bool, Error> {
    let Node::LinkDirectory(name, set @ LinkSet::Revisions, _) = directory else {
        return Ok(false);
    };
    let found = repository(tx, name)?;
    Ok(!found.directories.contains(RepositoryDirectories::LAYERS)
        && !tx.links().any(found.id, set, None)?)
}

/// Makes a directory and its parents, as far as they were not made.
pub(super) fn ensure(tx: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    if was_made(tx, directory)? {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        ensure(tx, &parent)?;
    }
    make(tx, directory)
}

/// Returns a repository's record.
///
/// # Errors
/// [`Error::Missing`] if there is none: the repository does not exist, or only because another
/// repository is below it.
pub(super) fn repository(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
) -> Result<Repository, Error> {
    tx.repositories()
        .get(name.namespace())?
        .ok_or(Error::Missing)
}

/// Returns the records of a repository and of an upload in it.
///
/// # Errors
/// [`Error::Missing`] if one of them does not exist.
pub(super) fn upload(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    id: &UploadId,
) -> Result<(Repository, Upload), Error> {
    let repository = repository(tx, name)?;
    let upload = tx.uploads().get(repository.id, id)?.ok_or(Error::Missing)?;
    Ok((repository, upload))
}

/// Returns the records of a repository and of a tag in it.
///
/// # Errors
/// [`Error::Missing`] if one of them does not exist.
pub(super) fn tag(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    tag: &Tag,
) -> Result<(Repository, TagRecord), Error> {
    let repository = repository(tx, name)?;
    let record = tx.tags().get(repository.id, tag)?.ok_or(Error::Missing)?;
    Ok((repository, record))
}

/// Writes which directories of a tag were made.
fn put_tag_directories(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    label: &Tag,
    record: TagRecord,
    directories: TagDirectories,
) -> Result<(), Error> {
    let record = TagRecord {
        directories,
        ..record
    };
    Ok(tx.tags().put(repository, label, &record)?)
}
