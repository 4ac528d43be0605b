//! Existence: whether a directory exists, whether it was made, and the time of its content.
//!
//! It changes nothing.

use super::super::Error;
use super::flags::{link_set_flag, tag_index_flag};
use super::{repository, tag, upload};
use crate::digest::{Algorithm, Digest};
use crate::index::{Link, Repository, RepositoryDirectories, TagDirectories, Transaction};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName};

/// Returns `true` if a directory exists: it was made, or something is in it.
pub(in crate::registry) fn exists(
    tx: &mut Transaction<'_>,
    directory: &Node,
) -> Result<bool, Error> {
    Ok(content_time(tx, directory)?.is_some())
}

/// Returns the time, in seconds since 1970, that the record of a directory's content gives it:
/// when its link, tag or blob was written, or when its upload changed. Returns 0 if no such record
/// has a time, and `None` if the directory does not exist.
pub(in crate::registry) fn content_time(
    tx: &mut Transaction<'_>,
    directory: &Node,
) -> Result<Option<u32>, Error> {
    match find(tx, directory) {
        Err(Error::Missing) => Ok(None),
        found => found,
    }
}

/// Returns `true` if a directory was made and not removed; a directory can also exist only because
/// something is in it.
pub(in crate::registry) fn was_made(
    tx: &mut Transaction<'_>,
    directory: &Node,
) -> Result<bool, Error> {
    let made = match directory {
        Node::Namespace(namespace) => Ok(tx.repositories().get(namespace)?.is_some()),
        Node::Manifests(name) => has_flag(tx, name, RepositoryDirectories::MANIFESTS),
        Node::Links(name, set) => {
            repository(tx, name).and_then(|repository| links_made(tx, repository, set, None))
        }
        Node::LinksAlgorithm(name, set, algorithm) => repository(tx, name)
            .and_then(|repository| links_made(tx, repository, set, Some(*algorithm))),
        Node::Current(name, label) => tag(tx, name, label)
            .map(|(_, record)| record.directories.contains(TagDirectories::CURRENT)),
        _ => return exists(tx, directory),
    };
    match made {
        Err(Error::Missing) => Ok(false),
        made => made,
    }
}

fn has_flag(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    flag: RepositoryDirectories,
) -> Result<bool, Error> {
    Ok(repository(tx, name)?.directories.contains(flag))
}

/// Returns the same as [`content_time`], but an error if a record above the directory is missing.
fn find(tx: &mut Transaction<'_>, directory: &Node) -> Result<Option<u32>, Error> {
    let undated = |exists: bool| exists.then_some(0);
    Ok(match directory {
        Node::Root | Node::Blobs | Node::Repositories => Some(0),
        Node::BlobAlgorithm(algorithm) => undated(tx.blobs().has_algorithm(*algorithm)?),
        Node::BlobShard(algorithm, shard) => undated(tx.blobs().has_shard(*algorithm, *shard)?),
        Node::BlobDirectory(digest) => {
            let blob = tx.blobs().get(digest)?;
            let exists = blob.filter(|blob| blob.present || blob.has_directory);
            exists.map(|blob| blob.created)
        }
        Node::Namespace(namespace) => undated(
            tx.repositories().get(namespace)?.is_some()
                || tx.repositories().any_below(Some(namespace))?,
        ),
        Node::Manifests(name) => undated(manifests_exist(tx, name)?),
        Node::Tags(name) => undated(has_flag(tx, name, RepositoryDirectories::TAGS)?),
        Node::Uploads(name) => undated(has_flag(tx, name, RepositoryDirectories::UPLOADS)?),
        Node::Tag(name, label) => {
            let (_, record) = tag(tx, name, label)?;
            Some(record.current.map_or(0, |(_, pushed)| pushed))
        }
        Node::Current(name, label) => {
            let (_, record) = tag(tx, name, label)?;
            let made = record.directories.contains(TagDirectories::CURRENT);
            record.current.map(|(_, pushed)| pushed).or(undated(made))
        }
        Node::Links(name, set) => undated(links_exist(tx, name, set, None)?),
        Node::LinksAlgorithm(name, set, algorithm) => {
            undated(links_exist(tx, name, set, Some(*algorithm))?)
        }
        Node::LinkDirectory(name, set, digest) => link_time(tx, name, set, digest)?,
        Node::Upload(name, id) => Some(upload(tx, name, id)?.1.updated),
        Node::HashStates(name, id) => {
            let (_, upload) = upload(tx, name, id)?;
            upload.hash_states.then_some(upload.updated)
        }
        Node::HashStatesAlgorithm(name, id, algorithm) => {
            let (_, upload) = upload(tx, name, id)?;
            let exists = upload.has_hash_states_directory(*algorithm);
            exists.then_some(upload.updated)
        }
        Node::BlobData(_)
        | Node::CurrentLink(..)
        | Node::Link(..)
        | Node::StartedAt(..)
        | Node::UploadData(..)
        | Node::HashState(..) => None,
    })
}

fn manifests_exist(tx: &mut Transaction<'_>, name: &RepositoryName) -> Result<bool, Error> {
    let repository = repository(tx, name)?;
    Ok(repository
        .directories
        .contains(RepositoryDirectories::MANIFESTS)
        || tx.links().any(repository.id, &LinkSet::Revisions, None)?)
}

fn link_time(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    set: &LinkSet,
    digest: &Digest,
) -> Result<Option<u32>, Error> {
    let repository = repository(tx, name)?;
    Ok(match tx.links().get(repository.id, set, digest)? {
        Some(Link::Linked { pushed, .. }) => Some(pushed),
        Some(Link::Directory) => Some(0),
        None => None,
    })
}

/// Returns `true` if the directory of a link set exists, or the directory of `algorithm` in it.
fn links_exist(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    set: &LinkSet,
    algorithm: Option<Algorithm>,
) -> Result<bool, Error> {
    let repository = repository(tx, name)?;
    if matches!(set, LinkSet::Signatures(_))
        && tx
            .signature_directories()
            .known_without_signatures(repository.id)?
    {
        return Ok(false);
    }
    if links_made(tx, repository, set, algorithm)? {
        return Ok(true);
    }
    // A repository that holds a revision always has a directory for layers: see the module's text.
    let implied = match (set, algorithm) {
        (LinkSet::Layers, None) => tx.links().any(repository.id, &LinkSet::Revisions, None)?,
        _ => false,
    };
    Ok(implied || tx.links().any(repository.id, set, algorithm)?)
}

/// Returns `true` if the directory of a link set was made, or the directory of `algorithm` in it.
fn links_made(
    tx: &mut Transaction<'_>,
    repository: Repository,
    set: &LinkSet,
    algorithm: Option<Algorithm>,
) -> Result<bool, Error> {
    Ok(match set {
        LinkSet::Layers | LinkSet::Revisions => {
            let flag = link_set_flag(set, algorithm);
            repository.directories.contains(flag)
        }
        LinkSet::TagIndex(label) => {
            let record = tx.tags().get(repository.id, label)?;
            record.is_some_and(|record| record.directories.contains(tag_index_flag(algorithm)))
        }
        LinkSet::Signatures(revision) => {
            tx.signature_directories()
                .has_directory(repository.id, revision, algorithm)?
        }
    })
}
