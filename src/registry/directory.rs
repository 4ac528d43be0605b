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
use crate::digest::{Algorithm, Digest};
use crate::index::{Directories, DirectoryTime, Repository, TagRecord, Transaction, Upload};
use crate::name::{LinkSet, Namespace, RepositoryName, Tag, UploadId};

mod change;
mod changed;
mod existence;
mod recent;
mod rename;

pub(super) use change::mark;
use change::{make, remove};
pub use changed::Top;
use changed::{any_below, last_change, set_time, top_time};
pub(super) use changed::{emptied, goes, link_came, tag_came, tag_moves};
use existence::exists;
pub(super) use existence::made;
pub(super) use recent::Recent;

/// A directory of a registry's storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directory {
    /// Of the blobs of one algorithm.
    BlobAlgorithm(Algorithm),
    /// Of the blobs whose digest begins with this byte.
    BlobShard(Algorithm, u8),
    /// Of one blob.
    Blob(Digest),
    /// A repository, or on the way to one.
    Namespace(Namespace),
    /// Of a repository's revisions and tags.
    Manifests(RepositoryName),
    /// Of a repository's tags.
    Tags(RepositoryName),
    /// Of one tag.
    Tag(RepositoryName, Tag),
    /// Of a tag's current link.
    Current(RepositoryName, Tag),
    /// Of a set of links.
    Links(RepositoryName, LinkSet),
    /// Of the links of one algorithm.
    LinksAlgorithm(RepositoryName, LinkSet, Algorithm),
    /// Of one link.
    Link(RepositoryName, LinkSet, Digest),
    /// Of a repository's uploads.
    Uploads(RepositoryName),
    /// Of one upload.
    Upload(RepositoryName, UploadId),
    /// Of an upload's hash states.
    HashStates(RepositoryName, UploadId),
    /// Of an upload's hash states of one algorithm.
    HashStatesAlgorithm(RepositoryName, UploadId, Algorithm),
}

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
    pub fn directory(&self, directory: &Directory) -> Result<Option<DirectoryStat>, Error> {
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

    /// When a directory that is always there last changed; 1970 if that is not known.
    pub fn top(&self, top: Top) -> Result<SystemTime, Error> {
        top_time(&mut self.index.view(), top).map(time)
    }

    /// Sets the time of a directory.
    pub fn set_directory_time(&self, directory: &Directory, when: u32) -> Result<(), Error> {
        self.index
            .transact(|facts| set_time(facts, directory, when))
    }

    /// Sets the time of a directory that is always there.
    pub fn set_top_time(&self, top: Top, changed: u32) -> Result<(), Error> {
        let time = DirectoryTime { changed, basis: 0 };
        self.index.transact(|facts| {
            facts.put_directory_time(top.key(), time);
            Ok(())
        })
    }

    /// Gives directories in one their times, where what is in each tells this one (0 if nothing).
    pub(super) fn times_in<T>(
        &self,
        directory: &Directory,
        rows: Vec<(T, u32)>,
        place: impl Fn(&T) -> Directory,
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
    fn withholds(&self, facts: &mut Transaction<'_>, directory: &Directory) -> Result<bool, Error> {
        let Directory::Links(name, set @ LinkSet::Layers) = directory else {
            return Ok(false);
        };
        if !self.recent.is(name) || made(facts, directory)? {
            return Ok(false);
        }
        let id = repository(facts, name)?.id;
        Ok(!facts.has_links(id, set, None)?)
    }

    /// Whether a directory may come to list one that nobody makes.
    pub fn may_come_to_list(&self, directory: &Directory) -> Result<bool, Error> {
        let Directory::Namespace(namespace) = directory else {
            return Ok(false);
        };
        match namespace.repository() {
            Some(name) => {
                let layers = Directory::Links(name, LinkSet::Layers);
                self.withholds(&mut self.index.view(), &layers)
            }
            None => Ok(false),
        }
    }

    /// Whether a directory was made and not removed; others are there as long as what is in them.
    pub fn was_made(&self, directory: &Directory) -> Result<bool, Error> {
        made(&mut self.index.view(), directory)
    }

    /// Makes a directory in one that exists.
    pub fn make_directory(&self, directory: &Directory) -> Result<(), Error> {
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
    pub fn remove_directory(&self, directory: &Directory) -> Result<(), Error> {
        self.index.transact(|facts| {
            if exists(facts, directory)?.is_none() {
                return Err(Error::Missing);
            }
            remove(facts, directory)
        })
    }
}

/// Makes a directory in one that exists.
pub(super) fn make_in(facts: &mut Transaction<'_>, directory: &Directory) -> Result<(), Error> {
    if exists(facts, directory)?.is_some() {
        return Err(Error::Exists);
    }
    if let Some(parent) = parent(directory)
        && exists(facts, &parent)?.is_none()
    {
        return Err(Error::Missing);
    }
    make(facts, directory)
}

/// Whether a directory is that of the first revision in a repository without one for layers.
fn begins_to_imply(facts: &mut Transaction<'_>, directory: &Directory) -> Result<bool, Error> {
    let Directory::Link(name, set @ LinkSet::Revisions, _) = directory else {
        return Ok(false);
    };
    let found = repository(facts, name)?;
    Ok(
        !found.directories.contains(Directories::LAYERS)
            && !facts.has_links(found.id, set, None)?,
    )
}

impl Directory {
    /// The repository that it is or is in, or that it is on the way to.
    fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Namespace(namespace) => Some(namespace),
            within => within.repository().map(RepositoryName::namespace),
        }
    }

    /// The repository that it is in.
    fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::BlobAlgorithm(_) | Self::BlobShard(..) | Self::Blob(_) | Self::Namespace(_) => {
                None
            }
            Self::Manifests(name)
            | Self::Tags(name)
            | Self::Tag(name, _)
            | Self::Current(name, _)
            | Self::Links(name, _)
            | Self::LinksAlgorithm(name, ..)
            | Self::Link(name, ..)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::HashStates(name, _)
            | Self::HashStatesAlgorithm(name, ..) => Some(name),
        }
    }
}

/// Makes a directory and all that lead to it, as far as they were not made.
pub(super) fn ensure(facts: &mut Transaction<'_>, directory: &Directory) -> Result<(), Error> {
    if made(facts, directory)? {
        return Ok(());
    }
    if let Some(parent) = parent(directory) {
        ensure(facts, &parent)?;
    }
    make(facts, directory)
}

/// The directory that must hold this one; nothing where it always exists.
fn parent(directory: &Directory) -> Option<Directory> {
    Some(match directory {
        Directory::BlobAlgorithm(_) => return None,
        Directory::BlobShard(algorithm, _) => Directory::BlobAlgorithm(*algorithm),
        Directory::Blob(digest) => Directory::BlobShard(digest.algorithm(), digest.shard()),
        Directory::Namespace(namespace) => Directory::Namespace(namespace.parent()?),
        Directory::Manifests(repository)
        | Directory::Links(repository, LinkSet::Layers)
        | Directory::Uploads(repository) => Directory::Namespace(repository.namespace().clone()),
        Directory::Tags(repository) | Directory::Links(repository, LinkSet::Revisions) => {
            Directory::Manifests(repository.clone())
        }
        Directory::Tag(repository, _) => Directory::Tags(repository.clone()),
        Directory::Current(repository, tag)
        | Directory::Links(repository, LinkSet::TagIndex(tag)) => {
            Directory::Tag(repository.clone(), tag.clone())
        }
        Directory::Links(repository, LinkSet::Signatures(revision)) => {
            Directory::Link(repository.clone(), LinkSet::Revisions, *revision)
        }
        Directory::LinksAlgorithm(repository, set, _) => {
            Directory::Links(repository.clone(), set.clone())
        }
        Directory::Link(repository, set, digest) => {
            Directory::LinksAlgorithm(repository.clone(), set.clone(), digest.algorithm())
        }
        Directory::Upload(repository, _) => Directory::Uploads(repository.clone()),
        Directory::HashStates(repository, id) => Directory::Upload(repository.clone(), *id),
        Directory::HashStatesAlgorithm(repository, id, _) => {
            Directory::HashStates(repository.clone(), *id)
        }
    })
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
