//! Existence: whether a directory of a registry's storage is there, and since when.
//!
//! It changes nothing.

use super::super::Error;
use super::{flag, repository, tag, upload};
use crate::digest::Algorithm;
use crate::index::{Link, Repository, RepositoryDirectories, TagDirectories, Transaction};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName};

/// When the directory changed (0 where nothing is kept of that), or nothing.
pub(in crate::registry) fn exists(
    facts: &mut Transaction<'_>,
    directory: &Node,
) -> Result<Option<u32>, Error> {
    match existing(facts, directory) {
        Err(Error::Missing) => Ok(None),
        found => found,
    }
}

/// Whether a directory was made, rather than being there because of what is in it.
pub(in crate::registry) fn made(
    facts: &mut Transaction<'_>,
    directory: &Node,
) -> Result<bool, Error> {
    let found = match directory {
        Node::Namespace(namespace) => Ok(facts.repository(namespace)?.is_some()),
        Node::Manifests(name) => flagged(facts, name, RepositoryDirectories::MANIFESTS),
        Node::Links(name, set) => {
            repository(facts, name).and_then(|repository| links_made(facts, repository, set, None))
        }
        Node::LinksAlgorithm(name, set, algorithm) => repository(facts, name)
            .and_then(|repository| links_made(facts, repository, set, Some(*algorithm))),
        Node::Current(name, label) => tag(facts, name, label)
            .map(|(_, record)| record.directories.contains(TagDirectories::CURRENT)),
        _ => return Ok(exists(facts, directory)?.is_some()),
    };
    match found {
        Err(Error::Missing) => Ok(false),
        found => found,
    }
}

fn flagged(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    flag: RepositoryDirectories,
) -> Result<bool, Error> {
    Ok(repository(facts, name)?.directories.contains(flag))
}

/// [`exists`], where a record that is missing on the way is an error.
fn existing(facts: &mut Transaction<'_>, directory: &Node) -> Result<Option<u32>, Error> {
    let when = |exists: bool| exists.then_some(0);
    Ok(match directory {
        Node::Root | Node::Blobs | Node::Repositories => Some(0),
        Node::BlobAlgorithm(algorithm) => when(facts.has_blob_algorithm(*algorithm)?),
        Node::BlobShard(algorithm, shard) => when(facts.has_blob_shard(*algorithm, *shard)?),
        Node::BlobDirectory(digest) => facts
            .blob(digest)?
            .filter(|blob| blob.present || blob.has_directory)
            .map(|blob| blob.created),
        Node::Namespace(namespace) => {
            when(facts.repository(namespace)?.is_some() || facts.has_namespaces(Some(namespace))?)
        }
        Node::Manifests(name) => {
            let repository = repository(facts, name)?;
            when(
                repository
                    .directories
                    .contains(RepositoryDirectories::MANIFESTS)
                    || facts.has_links(repository.id, &LinkSet::Revisions, None)?,
            )
        }
        Node::Tags(name) => when(flagged(facts, name, RepositoryDirectories::TAGS)?),
        Node::Uploads(name) => when(flagged(facts, name, RepositoryDirectories::UPLOADS)?),
        Node::Tag(name, label) => {
            let (_, record) = tag(facts, name, label)?;
            Some(record.current.map_or(0, |(_, pushed)| pushed))
        }
        Node::Current(name, label) => {
            let (_, record) = tag(facts, name, label)?;
            let kept = record.directories.contains(TagDirectories::CURRENT);
            record.current.map(|(_, pushed)| pushed).or(when(kept))
        }
        Node::Links(name, set) => when(links_exist(facts, name, set, None)?),
        Node::LinksAlgorithm(name, set, algorithm) => {
            when(links_exist(facts, name, set, Some(*algorithm))?)
        }
        Node::LinkDirectory(name, set, digest) => {
            let repository = repository(facts, name)?;
            facts
                .link(repository.id, set, digest)?
                .map(|link| match link {
                    Link::Directory => 0,
                    Link::Linked { pushed, .. } => pushed,
                })
        }
        Node::Upload(name, id) => Some(upload(facts, name, id)?.1.updated),
        Node::HashStates(name, id) => {
            let (_, upload) = upload(facts, name, id)?;
            upload.hash_states.then_some(upload.updated)
        }
        Node::HashStatesAlgorithm(name, id, algorithm) => {
            let (_, upload) = upload(facts, name, id)?;
            upload
                .has_hash_states_directory(*algorithm)
                .then_some(upload.updated)
        }
        Node::BlobData(_)
        | Node::CurrentLink(..)
        | Node::Link(..)
        | Node::StartedAt(..)
        | Node::UploadData(..)
        | Node::HashState(..) => None,
    })
}

/// Whether the directory of a set of links exists, or the one of an algorithm in it.
fn links_exist(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    set: &LinkSet,
    algorithm: Option<Algorithm>,
) -> Result<bool, Error> {
    let repository = repository(facts, name)?;
    if matches!(set, LinkSet::Signatures(_)) && facts.known_without_signatures(repository.id)? {
        return Ok(false);
    }
    if links_made(facts, repository, set, algorithm)? {
        return Ok(true);
    }
    // A repository with revisions always shows its layers' directory (see the module's text).
    let implied = match (set, algorithm) {
        (LinkSet::Layers, None) => facts.has_links(repository.id, &LinkSet::Revisions, None)?,
        _ => false,
    };
    Ok(implied || facts.has_links(repository.id, set, algorithm)?)
}

/// Whether the directory of a set of links was made, or the one of an algorithm in it.
fn links_made(
    facts: &mut Transaction<'_>,
    repository: Repository,
    set: &LinkSet,
    algorithm: Option<Algorithm>,
) -> Result<bool, Error> {
    Ok(match set {
        LinkSet::Layers | LinkSet::Revisions => {
            let directory = flag(set).unwrap_or_default();
            repository.directories.contains(match algorithm {
                None => directory,
                Some(algorithm) => directory.of(algorithm),
            })
        }
        LinkSet::TagIndex(label) => {
            let Some(record) = facts.tag(repository.id, label)? else {
                return Ok(false);
            };
            record
                .directories
                .contains(algorithm.map_or(TagDirectories::INDEX, TagDirectories::index_of))
        }
        LinkSet::Signatures(revision) => {
            facts.has_signatures_directory(repository.id, revision, algorithm)?
        }
    })
}
