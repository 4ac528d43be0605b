//! Change: directories made and removed, each as the flag or row that stands for it.
//!
//! The callers have seen that the parent exists and that the directory does, or does not.

use super::super::{Error, now};
use super::changed::{came, goes, of_flags};
use super::{flag, repository, tag, upload};
use crate::digest::{Algorithm, Digest};
use crate::index::{
    Link, RepositoryDirectories, RepositoryId, TagDirectories, TagRecord, Transaction, Upload,
};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag};

/// Makes the directory.
pub(super) fn make(facts: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    match directory {
        Node::BlobAlgorithm(algorithm) => facts.put_blob_algorithm(*algorithm)?,
        Node::BlobShard(algorithm, shard) => facts.put_blob_shard(*algorithm, *shard)?,
        Node::BlobDirectory(digest) => facts.put_blob_directory(digest, now())?,
        Node::Namespace(namespace) => {
            facts.put_repository(namespace, RepositoryDirectories::default())?;
        }
        Node::Manifests(name) => mark(facts, name, RepositoryDirectories::MANIFESTS)?,
        Node::Tags(name) => mark(facts, name, RepositoryDirectories::TAGS)?,
        Node::Uploads(name) => mark(facts, name, RepositoryDirectories::UPLOADS)?,
        Node::Tag(name, label) => {
            let repository = repository(facts, name)?;
            facts.put_tag(repository.id, label, &TagRecord::default())?;
        }
        Node::Current(name, label) => {
            let (repository, record) = tag(facts, name, label)?;
            let directories = record.directories.with(TagDirectories::CURRENT);
            set_directories(facts, repository.id, label, record, directories)?;
        }
        Node::Links(name, set) => mark_links(facts, name, set, None)?,
        Node::LinksAlgorithm(name, set, algorithm) => {
            mark_links(facts, name, set, Some(*algorithm))?;
        }
        Node::LinkDirectory(name, set, digest) => {
            let repository = repository(facts, name)?;
            facts.put_link(repository.id, set, digest, &Link::Directory)?;
        }
        Node::Upload(name, id) => {
            let repository = repository(facts, name)?;
            facts.put_upload(
                repository.id,
                id,
                &Upload {
                    updated: now(),
                    ..Upload::default()
                },
            )?;
        }
        Node::HashStates(name, id) => {
            let (repository, record) = upload(facts, name, id)?;
            facts.put_upload(
                repository.id,
                id,
                &Upload {
                    hash_states: true,
                    ..record
                },
            )?;
        }
        Node::HashStatesAlgorithm(name, id, algorithm) => {
            let (repository, record) = upload(facts, name, id)?;
            facts.put_upload(
                repository.id,
                id,
                &record.with_hash_states_directory(*algorithm),
            )?;
        }
        // Directories that are always there, and files.
        _ => return Err(Error::Exists),
    }
    came(facts, directory)
}

/// Sets flags of a repository's record: directories come.
pub(in crate::registry) fn mark(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    flags: RepositoryDirectories,
) -> Result<(), Error> {
    let directories = repository(facts, name)?.directories;
    if directories.contains(flags) {
        return Ok(());
    }
    facts.put_repository(name.namespace(), directories.with(flags))?;
    for (flag, directory) in of_flags(name) {
        if flags.contains(flag) && !directories.contains(flag) {
            came(facts, &directory)?;
        }
    }
    Ok(())
}

/// Clears flags of a repository's record.
fn unmark(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    flags: RepositoryDirectories,
) -> Result<(), Error> {
    let repository = repository(facts, name)?;
    Ok(facts.put_repository(name.namespace(), repository.directories.without(flags))?)
}

/// Sets which directories of a tag were made.
fn set_directories(
    facts: &mut Transaction<'_>,
    repository: RepositoryId,
    label: &Tag,
    record: TagRecord,
    directories: TagDirectories,
) -> Result<(), Error> {
    let record = TagRecord {
        directories,
        ..record
    };
    Ok(facts.put_tag(repository, label, &record)?)
}

/// The flag of a tag's record that stands for its index, or for an algorithm in it.
fn index_flag(algorithm: Option<Algorithm>) -> TagDirectories {
    algorithm.map_or(TagDirectories::INDEX, TagDirectories::index_of)
}

/// Makes the directory of a set of links, or the one of an algorithm in it.
fn mark_links(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    set: &LinkSet,
    algorithm: Option<Algorithm>,
) -> Result<(), Error> {
    match set {
        LinkSet::Layers | LinkSet::Revisions => {
            let directory = flag(set).unwrap_or_default();
            mark(
                facts,
                name,
                algorithm.map_or(directory, |algorithm| directory.of(algorithm)),
            )
        }
        LinkSet::TagIndex(label) => {
            let (repository, record) = tag(facts, name, label)?;
            let directories = record.directories.with(index_flag(algorithm));
            set_directories(facts, repository.id, label, record, directories)
        }
        LinkSet::Signatures(revision) => {
            let repository = repository(facts, name)?;
            Ok(facts.put_signatures_directory(repository.id, revision, algorithm)?)
        }
    }
}

/// Removes the directory, if nothing is in it.
pub(super) fn remove(facts: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    goes(facts, directory)?;
    match directory {
        Node::BlobAlgorithm(algorithm) => {
            empty(facts.require_no_blob_shards(*algorithm)?)?;
            facts.remove_blob_algorithm(*algorithm)?;
        }
        Node::BlobShard(algorithm, shard) => {
            empty(facts.require_no_blobs(*algorithm, *shard)?)?;
            facts.remove_blob_shard(*algorithm, *shard)?;
        }
        Node::BlobDirectory(digest) => {
            empty(facts.blob(digest)?.is_none_or(|blob| !blob.present))?;
            facts.remove_blob(digest)?;
        }
        Node::Namespace(namespace) => {
            let record = facts.repository(namespace)?;
            let bare =
                record.is_none_or(|record| record.directories == RepositoryDirectories::default());
            empty(bare && facts.require_no_namespaces(namespace)?)?;
            facts.remove_repository(namespace)?;
        }
        Node::Manifests(name) => {
            let repository = repository(facts, name)?;
            let held = RepositoryDirectories::TAGS.with(RepositoryDirectories::REVISIONS);
            empty(!repository.directories.intersects(held))?;
            empty(facts.require_no_links(repository.id, &LinkSet::Revisions, None)?)?;
            empty(facts.require_no_tags(repository.id)?)?;
            unmark(facts, name, RepositoryDirectories::MANIFESTS)?;
        }
        Node::Tags(name) => {
            let repository = repository(facts, name)?;
            empty(facts.require_no_tags(repository.id)?)?;
            unmark(facts, name, RepositoryDirectories::TAGS)?;
        }
        Node::Uploads(name) => {
            let repository = repository(facts, name)?;
            empty(facts.require_no_uploads(repository.id)?)?;
            unmark(facts, name, RepositoryDirectories::UPLOADS)?;
        }
        Node::Tag(name, label) => {
            let (repository, record) = tag(facts, name, label)?;
            empty(record == TagRecord::default())?;
            let index = LinkSet::TagIndex(label.clone());
            empty(facts.require_no_links(repository.id, &index, None)?)?;
            facts.remove_tag(repository.id, label)?;
        }
        Node::Current(name, label) => {
            let (repository, record) = tag(facts, name, label)?;
            empty(record.current.is_none())?;
            let directories = record.directories.without(TagDirectories::CURRENT);
            set_directories(facts, repository.id, label, record, directories)?;
        }
        Node::Links(name, set) => unmark_links(facts, name, set, None)?,
        Node::LinksAlgorithm(name, set, algorithm) => {
            unmark_links(facts, name, set, Some(*algorithm))?;
        }
        Node::LinkDirectory(name, set, digest) => {
            let repository = repository(facts, name)?;
            let link = facts.link(repository.id, set, digest)?;
            empty(matches!(link, None | Some(Link::Directory)))?;
            empty(*set != LinkSet::Revisions || unsigned(facts, repository.id, digest)?)?;
            facts.remove_link(repository.id, set, digest)?;
        }
        Node::Upload(name, id) => {
            let (repository, record) = upload(facts, name, id)?;
            empty(!record.has_data && record.started_at.is_none() && !record.hash_states)?;
            empty(facts.require_no_hash_states(repository.id, id, None)?)?;
            facts.remove_upload(repository.id, id)?;
        }
        Node::HashStates(name, id) => {
            let (repository, record) = upload(facts, name, id)?;
            empty(
                !Algorithm::ALL
                    .iter()
                    .any(|one| record.has_hash_states_directory(*one)),
            )?;
            empty(facts.require_no_hash_states(repository.id, id, None)?)?;
            facts.put_upload(
                repository.id,
                id,
                &Upload {
                    hash_states: false,
                    ..record
                },
            )?;
        }
        Node::HashStatesAlgorithm(name, id, algorithm) => {
            let (repository, record) = upload(facts, name, id)?;
            empty(facts.require_no_hash_states(repository.id, id, Some(*algorithm))?)?;
            facts.put_upload(
                repository.id,
                id,
                &record.without_hash_states_directory(*algorithm),
            )?;
        }
        // Directories that are always there, and files.
        _ => return Err(Error::NotEmpty),
    }
    Ok(())
}

/// Removes the directory of a set of links, or the one of an algorithm in it.
fn unmark_links(
    facts: &mut Transaction<'_>,
    name: &RepositoryName,
    set: &LinkSet,
    algorithm: Option<Algorithm>,
) -> Result<(), Error> {
    let repository = repository(facts, name)?;
    empty(facts.require_no_links(repository.id, set, algorithm)?)?;
    match set {
        LinkSet::Layers | LinkSet::Revisions => {
            let directory = flag(set).unwrap_or_default();
            let below = |one: &Algorithm| repository.directories.contains(directory.of(*one));
            empty(algorithm.is_some() || !Algorithm::ALL.iter().any(below))?;
            unmark(
                facts,
                name,
                algorithm.map_or(directory, |algorithm| directory.of(algorithm)),
            )
        }
        LinkSet::TagIndex(label) => {
            let (repository, record) = tag(facts, name, label)?;
            let below =
                |one: &Algorithm| record.directories.contains(TagDirectories::index_of(*one));
            empty(algorithm.is_some() || !Algorithm::ALL.iter().any(below))?;
            let directories = record.directories.without(index_flag(algorithm));
            set_directories(facts, repository.id, label, record, directories)
        }
        LinkSet::Signatures(revision) => {
            for below in Algorithm::ALL {
                let kept = facts.has_signatures_directory(repository.id, revision, Some(below))?;
                empty(algorithm.is_some() || !kept)?;
            }
            Ok(facts.remove_signatures_directory(repository.id, revision, algorithm)?)
        }
    }
}

/// Whether a revision has neither signatures nor a directory for them.
fn unsigned(
    facts: &mut Transaction<'_>,
    repository: RepositoryId,
    revision: &Digest,
) -> Result<bool, Error> {
    let signatures = LinkSet::Signatures(*revision);
    Ok(!facts.has_signatures_directory(repository, revision, None)?
        && facts.require_no_links(repository, &signatures, None)?)
}

/// Refuses to go on where something is left.
fn empty(is: bool) -> Result<(), Error> {
    if is { Ok(()) } else { Err(Error::NotEmpty) }
}
