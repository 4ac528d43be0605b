//! Removing empty directories: clears the flag or deletes the row that stands for each.
//!
//! It does not check that the directory exists as far as no record is needed for its removal:
//! the callers have.

use super::super::Error;
use super::flags::{link_set_flag, tag_index_flag};
use super::times::record_removed;
use super::{put_tag_directories, repository, tag, upload};
use crate::digest::{Algorithm, Digest};
use crate::index::{
    Link, RepositoryDirectories, RepositoryId, TagDirectories, TagRecord, Transaction, Upload,
};
use crate::layout::Node;
use crate::name::{LinkSet, Namespace, RepositoryName, Tag, UploadId};

/// Removes a directory.
///
/// # Errors
/// [`Error::NotEmpty`] if something is in it, for directories that always exist, and for files;
/// [`Error::Missing`] if the record that it belongs to does not exist.
pub(super) fn remove(tx: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    record_removed(tx, directory)?;
    match directory {
        Node::BlobAlgorithm(algorithm) => {
            require_empty(tx.blobs().require_no_shards(*algorithm)?)?;
            Ok(tx.blobs().remove_algorithm(*algorithm)?)
        }
        Node::BlobShard(algorithm, shard) => {
            require_empty(tx.blobs().require_none(*algorithm, *shard)?)?;
            Ok(tx.blobs().remove_shard(*algorithm, *shard)?)
        }
        Node::BlobDirectory(digest) => {
            require_empty(tx.blobs().stored(digest)?.is_none())?;
            Ok(tx.blobs().remove(digest)?)
        }
        Node::Namespace(namespace) => remove_namespace(tx, namespace),
        Node::Manifests(name) => remove_manifests(tx, name),
        Node::Tags(name) => {
            let repository = repository(tx, name)?;
            require_empty(tx.tags().require_none(repository.id)?)?;
            unmark(tx, name, RepositoryDirectories::TAGS)
        }
        Node::Uploads(name) => {
            let repository = repository(tx, name)?;
            require_empty(tx.uploads().require_none(repository.id)?)?;
            unmark(tx, name, RepositoryDirectories::UPLOADS)
        }
        Node::Tag(name, label) => remove_tag(tx, name, label),
        Node::Current(name, label) => {
            let (repository, record) = tag(tx, name, label)?;
            require_empty(record.current.is_none())?;
            let directories = record.directories.without(TagDirectories::CURRENT);
            put_tag_directories(tx, repository.id, label, record, directories)
        }
        Node::Links(name, set) => remove_links(tx, name, set, None),
        Node::LinksAlgorithm(name, set, algorithm) => remove_links(tx, name, set, Some(*algorithm)),
        Node::LinkDirectory(name, set, digest) => remove_link(tx, name, set, digest),
        Node::Upload(name, id) => remove_upload(tx, name, id),
        Node::HashStates(name, id) => remove_hash_states(tx, name, id),
        Node::HashStatesAlgorithm(name, id, algorithm) => {
            let (repository, record) = upload(tx, name, id)?;
            require_empty(tx.uploads().require_no_hash_states(
                repository.id,
                id,
                Some(*algorithm),
            )?)?;
            Ok(tx.uploads().put(
                repository.id,
                id,
                &record.without_hash_states_directory(*algorithm),
            )?)
        }
        // Directories that always exist, and files.
        _ => Err(Error::NotEmpty),
    }
}

fn remove_namespace(tx: &mut Transaction<'_>, namespace: &Namespace) -> Result<(), Error> {
    let record = tx.repositories().get(namespace)?;
    let bare = record.is_none_or(|record| record.directories == RepositoryDirectories::default());
    require_empty(bare && tx.repositories().require_none_below(namespace)?)?;
    Ok(tx.repositories().remove(namespace)?)
}

fn remove_manifests(tx: &mut Transaction<'_>, name: &RepositoryName) -> Result<(), Error> {
    let repository = repository(tx, name)?;
    let below = RepositoryDirectories::TAGS.with(RepositoryDirectories::REVISIONS);
    require_empty(!repository.directories.intersects(below))?;
    require_empty(
        tx.links()
            .require_none(repository.id, &LinkSet::Revisions, None)?,
    )?;
    require_empty(tx.tags().require_none(repository.id)?)?;
    unmark(tx, name, RepositoryDirectories::MANIFESTS)
}

/// Clears flags of a repository's record.
fn unmark(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    flags: RepositoryDirectories,
) -> Result<(), Error> {
    let repository = repository(tx, name)?;
    tx.repositories()
        .put(name.namespace(), repository.directories.without(flags))?;
    Ok(())
}

fn remove_tag(tx: &mut Transaction<'_>, name: &RepositoryName, label: &Tag) -> Result<(), Error> {
    let (repository, record) = tag(tx, name, label)?;
    require_empty(record == TagRecord::default())?;
    let index = LinkSet::TagIndex(label.clone());
    require_empty(tx.links().require_none(repository.id, &index, None)?)?;
    Ok(tx.tags().remove(repository.id, label)?)
}

/// Removes the directory of a link set, or the directory of `algorithm` in it.
fn remove_links(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    set: &LinkSet,
    algorithm: Option<Algorithm>,
) -> Result<(), Error> {
    let repository = repository(tx, name)?;
    require_empty(tx.links().require_none(repository.id, set, algorithm)?)?;
    match set {
        LinkSet::Layers | LinkSet::Revisions => {
            let below = |one: &Algorithm| {
                let flag = link_set_flag(set, Some(*one));
                repository.directories.contains(flag)
            };
            require_empty(algorithm.is_some() || !Algorithm::ALL.iter().any(below))?;
            unmark(tx, name, link_set_flag(set, algorithm))
        }
        LinkSet::TagIndex(label) => {
            let (repository, record) = tag(tx, name, label)?;
            let below = |one: &Algorithm| record.directories.contains(tag_index_flag(Some(*one)));
            require_empty(algorithm.is_some() || !Algorithm::ALL.iter().any(below))?;
            let directories = record.directories.without(tag_index_flag(algorithm));
            put_tag_directories(tx, repository.id, label, record, directories)
        }
        LinkSet::Signatures(revision) => {
            for below in Algorithm::ALL {
                let exists = tx.signature_directories().has_directory(
                    repository.id,
                    revision,
                    Some(below),
                )?;
                require_empty(algorithm.is_some() || !exists)?;
            }
            Ok(tx
                .signature_directories()
                .remove_directory(repository.id, revision, algorithm)?)
        }
    }
}

fn remove_link(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    set: &LinkSet,
    digest: &Digest,
) -> Result<(), Error> {
    let repository = repository(tx, name)?;
    let link = tx.links().get(repository.id, set, digest)?;
    require_empty(matches!(link, None | Some(Link::Directory)))?;
    require_empty(*set != LinkSet::Revisions || is_unsigned(tx, repository.id, digest)?)?;
    Ok(tx.links().remove(repository.id, set, digest)?)
}

/// Returns `true` if a revision has neither signatures nor a directory for them.
fn is_unsigned(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    revision: &Digest,
) -> Result<bool, Error> {
    let signatures = LinkSet::Signatures(*revision);
    Ok(!tx
        .signature_directories()
        .has_directory(repository, revision, None)?
        && tx.links().require_none(repository, &signatures, None)?)
}

fn remove_upload(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    id: &UploadId,
) -> Result<(), Error> {
    let (repository, record) = upload(tx, name, id)?;
    require_empty(!record.has_data && record.started_at.is_none() && !record.hash_states)?;
    require_empty(
        tx.uploads()
            .require_no_hash_states(repository.id, id, None)?,
    )?;
    Ok(tx.uploads().remove(repository.id, id)?)
}

fn remove_hash_states(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    id: &UploadId,
) -> Result<(), Error> {
    let (repository, record) = upload(tx, name, id)?;
    let below = |one: &Algorithm| record.has_hash_states_directory(*one);
    require_empty(!Algorithm::ALL.iter().any(below))?;
    require_empty(
        tx.uploads()
            .require_no_hash_states(repository.id, id, None)?,
    )?;
    let record = Upload {
        hash_states: false,
        ..record
    };
    Ok(tx.uploads().put(repository.id, id, &record)?)
}

/// Returns [`Error::NotEmpty`] unless `empty` is `true`.
fn require_empty(empty: bool) -> Result<(), Error> {
    if empty { Ok(()) } else { Err(Error::NotEmpty) }
}
