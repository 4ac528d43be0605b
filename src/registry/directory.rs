//! Directories: those that registries make, look for and remove.
//!
//! A directory exists if it was made and not removed, or if a fact lies below it. Registries
//! tell repositories by them (distribution up to 2.8 by the layers', 3.x by the manifests'
//! directory), and collection destroys the content of a repository that lacks one; therefore a
//! repository that holds a revision has both, made or not, but for the time in which it is
//! [recent](Recent).
//!
//! It is not a tree of its own: each directory is a flag or a row of the record it belongs to.

use std::time::SystemTime;

use super::{Error, Registry, time};
use crate::index::{Directories, Repository, TagRecord, Transaction, Upload};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag, UploadId};

mod change;
mod changed;
mod existence;
mod recent;
mod rename;

pub(super) use change::mark;
use change::{make, remove};
use changed::{any_below, last_change, set_time};
pub(super) use changed::{emptied, goes, link_came, tag_came, tag_moves};
use existence::exists;
pub(super) use existence::made;
pub(super) use recent::Recent;

/// What stat shows of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryStat {
    /// When its entries last changed; 1970 if that is not known.
    pub changed: SystemTime,
    /// The number of the repository that it is or is in, as [`Registry::repository_number`] has it.
    pub within: Option<u32>,
}

impl Registry {
    /// What stat shows of this directory, or nothing if it does not exist.
    pub fn directory(&self, directory: &Node) -> Result<Option<DirectoryStat>, Error> {
        let view = &mut self.index.view();
        let Some(told) = exists(view, directory)? else {
            return Ok(None);
        };
        if self.withholds(view, directory)? {
            return Ok(None);
        }
        let changed = time(last_change(view, directory, told)?);
        let within = match directory.namespace() {
            Some(name) => view.repository(name)?.map(|found| found.id.number()),
            None => None,
        };
        Ok(Some(DirectoryStat { changed, within }))
    }

    /// Sets the time of a directory.
    pub fn set_directory_time(&self, directory: &Node, when: u32) -> Result<(), Error> {
        self.index
            .transact(|facts| set_time(facts, directory, when))
    }

    /// Gives directories in one their times, where what is in each tells this one (0 if nothing).
    pub(super) fn times_in<T>(
        &self,
        directory: &Node,
        rows: Vec<(T, u32)>,
        place: impl Fn(&T) -> Node,
    ) -> Result<Vec<(T, SystemTime)>, Error> {
        let view = &mut self.index.view();
        let (each, mut own) = (any_below(view, directory)?, None);
        let mut dated = Vec::with_capacity(rows.len());
        for (row, told) in rows {
            let when = match (each, told, own) {
                (false, 0, Some(own)) => own,
                (false, 0, None) => {
                    let told = exists(view, directory)?.unwrap_or_default();
                    let found = last_change(view, directory, told)?;
                    own = Some(found);
                    found
                }
                (false, told, _) => told,
                (true, told, _) => last_change(view, &place(&row), told)?,
            };
            dated.push((row, time(when)));
        }
        Ok(dated)
    }

    /// Whether a directory that nobody has made is not shown yet, although it is to be there:
    /// its repository is [recent](Recent).
    fn withholds(&self, facts: &mut Transaction<'_>, directory: &Node) -> Result<bool, Error> {
        let Node::Links(name, set @ LinkSet::Layers) = directory else {
            return Ok(false);
        };
        if !self.recent.is(name) || made(facts, directory)? {
            return Ok(false);
        }
        let id = repository(facts, name)?.id;
        Ok(!facts.has_links(id, set, None)?)
    }

    /// Whether a directory may come to list one that nobody makes.
    pub fn may_come_to_list(&self, directory: &Node) -> Result<bool, Error> {
        let Node::Namespace(namespace) = directory else {
            return Ok(false);
        };
        match namespace.repository() {
            Some(name) => {
                let layers = Node::Links(name, LinkSet::Layers);
                self.withholds(&mut self.index.view(), &layers)
            }
            None => Ok(false),
        }
    }

    /// Whether a directory was made and not removed; others are there as long as what is in them.
    pub fn was_made(&self, directory: &Node) -> Result<bool, Error> {
        made(&mut self.index.view(), directory)
    }

    /// Makes a directory in one that exists.
    pub fn make_directory(&self, directory: &Node) -> Result<(), Error> {
        let implies = self.index.transact(|facts| {
            let implies = begins_to_imply(facts, directory)?;
            if self.withholds(facts, directory)? {
                make(facts, directory)?;
            } else {
                make_in(facts, directory)?;
            }
            Ok::<_, Error>(implies)
        })?;
        if let Some(name) = directory.repository() {
            if implies {
                self.recent.begin(name);
            } else {
                self.recent.go_on(name);
            }
        }
        Ok(())
    }

    /// Removes a directory that is empty.
    pub fn remove_directory(&self, directory: &Node) -> Result<(), Error> {
        self.index.transact(|facts| {
            if exists(facts, directory)?.is_none() {
                return Err(Error::Missing);
            }
            remove(facts, directory)
        })
    }
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
    Ok(
        !found.directories.contains(Directories::LAYERS)
            && !facts.has_links(found.id, set, None)?,
    )
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
pub(super) fn flag(set: &LinkSet) -> Option<Directories> {
    match set {
        LinkSet::Layers => Some(Directories::LAYERS),
        LinkSet::Revisions => Some(Directories::REVISIONS),
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
