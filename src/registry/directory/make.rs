//! Making directories: sets the flag or writes the row that stands for each.
//!
//! It checks neither that the parent exists nor that the directory is new: the callers have.

use super::super::{Error, now};
use super::flags::{flagged_directories, link_set_flag, tag_index_flag};
use super::times::record_added;
use super::{put_tag_directories, repository, tag, upload};
use crate::digest::Algorithm;
use crate::index::{Link, RepositoryDirectories, TagDirectories, TagRecord, Transaction, Upload};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag, UploadId};

/// Makes a directory.
///
/// # Errors
/// [`Error::Missing`] if the record that the directory belongs to does not exist;
/// [`Error::Exists`] for directories that always exist, and for files.
pub(super) fn make(tx: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    match directory {
        Node::BlobAlgorithm(algorithm) => tx.blobs().put_algorithm(*algorithm)?,
        Node::BlobShard(algorithm, shard) => tx.blobs().put_shard(*algorithm, *shard)?,
        Node::BlobDirectory(digest) => tx.blobs().put_directory(digest, now())?,
        Node::Namespace(namespace) => {
            tx.repositories()
                .put(namespace, RepositoryDirectories::default())?;
        }
        Node::Manifests(name) => mark(tx, name, RepositoryDirectories::MANIFESTS)?,
        Node::Tags(name) => mark(tx, name, RepositoryDirectories::TAGS)?,
        Node::Uploads(name) => mark(tx, name, RepositoryDirectories::UPLOADS)?,
        Node::Tag(name, label) => {
            let repository = repository(tx, name)?;
            tx.tags().put(repository.id, label, &TagRecord::default())?;
        }
        Node::Current(name, label) => mark_tag(tx, name, label, TagDirectories::CURRENT)?,
        Node::Links(name, set) => mark_links(tx, name, set, None)?,
        Node::LinksAlgorithm(name, set, algorithm) => {
            mark_links(tx, name, set, Some(*algorithm))?;
        }
        Node::LinkDirectory(name, set, digest) => {
            let repository = repository(tx, name)?;
            tx.links()
                .put(repository.id, set, digest, &Link::Directory)?;
        }
        Node::Upload(name, id) => make_upload(tx, name, id)?,
        Node::HashStates(name, id) => mark_hash_states(tx, name, id, None)?,
        Node::HashStatesAlgorithm(name, id, algorithm) => {
            mark_hash_states(tx, name, id, Some(*algorithm))?;
        }
        // Directories that always exist, and files.
        _ => return Err(Error::Exists),
    }
    record_added(tx, directory)
}

/// Makes the directories that `flags` stand for, as far as the repository lacks them.
///
/// # Errors
/// [`Error::Missing`] if the repository does not exist.
pub(in crate::registry) fn mark(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    flags: RepositoryDirectories,
) -> Result<(), Error> {
    let directories = repository(tx, name)?.directories;
    if directories.contains(flags) {
        return Ok(());
    }
    tx.repositories()
        .put(name.namespace(), directories.with(flags))?;
    for (flag, directory) in flagged_directories(name) {
        if flags.contains(flag) && !directories.contains(flag) {
            record_added(tx, &directory)?;
        }
    }
    Ok(())
}

fn mark_tag(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    label: &Tag,
    flag: TagDirectories,
) -> Result<(), Error> {
    let (repository, record) = tag(tx, name, label)?;
    let directories = record.directories.with(flag);
    put_tag_directories(tx, repository.id, label, record, directories)
}

/// Makes the directory of a link set, or the directory of `algorithm` in it.
fn mark_links(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    set: &LinkSet,
    algorithm: Option<Algorithm>,
) -> Result<(), Error> {
    match set {
        LinkSet::Layers | LinkSet::Revisions => mark(tx, name, link_set_flag(set, algorithm)),
        LinkSet::TagIndex(label) => mark_tag(tx, name, label, tag_index_flag(algorithm)),
        LinkSet::Signatures(revision) => {
            let repository = repository(tx, name)?;
            Ok(tx
                .signature_directories()
                .put_directory(repository.id, revision, algorithm)?)
        }
    }
}

fn make_upload(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    id: &UploadId,
) -> Result<(), Error> {
    let repository = repository(tx, name)?;
    let record = Upload {
        updated: now(),
        ..Upload::default()
    };
    Ok(tx.uploads().put(repository.id, id, &record)?)
}

/// Makes the directory of an upload's hash states, or the directory of `algorithm` in it.
fn mark_hash_states(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    id: &UploadId,
    algorithm: Option<Algorithm>,
) -> Result<(), Error> {
    let (repository, record) = upload(tx, name, id)?;
    let record = match algorithm {
        Some(algorithm) => record.with_hash_states_directory(algorithm),
        None => Upload {
            hash_states: true,
            ..record
        },
    };
    Ok(tx.uploads().put(repository.id, id, &record)?)
}
