//! Adopting one fact: checks that it is present, and adds it with the directories above it.

use crate::digest::Digest;
use crate::index::{Link, TagRecord, Transaction, Upload};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag};
use crate::registry::directory::{ensure, record_link_added, repository, tag, upload, was_made};
use crate::registry::ownership::ownership_key;
use crate::registry::{Error, Fact, Ownership, OwnershipScope, Value};

/// Returns `true` if a fact is present, or a newer one at the same path.
///
/// # Errors
/// [`Error::Misplaced`] if the layout has no such value at the path.
pub(super) fn is_present(tx: &mut Transaction<'_>, fact: &Fact) -> Result<bool, Error> {
    match matches_index(tx, fact) {
        Err(Error::Missing) => Ok(false),
        found => found,
    }
}

/// Returns the same as [`is_present`], but [`Error::Missing`] if a record above the fact is
/// missing.
fn matches_index(tx: &mut Transaction<'_>, (node, value): &Fact) -> Result<bool, Error> {
    Ok(match (node, value) {
        (directory, Value::Directory) => was_made(tx, directory)?,
        (directory, Value::Ownership(_)) => has_ownership(tx, &directory.clone().into())?,
        (Node::Link(name, set, digest), Value::Link { target, .. }) => {
            let id = repository(tx, name)?.id;
            let link = tx.links().get(id, set, digest)?;
            matches!(link, Some(Link::Linked { target: known, .. }) if known == *target)
        }
        (Node::CurrentLink(name, label), Value::Link { target, pushed }) => {
            let current = tag(tx, name, label)?.1.current;
            current.is_some_and(|(known, since)| known == *target || since > *pushed)
        }
        (Node::BlobData(digest), Value::Blob { .. }) => tx.blobs().stored(digest)?.is_some(),
        (Node::StartedAt(name, id), Value::File { bytes, .. }) => {
            upload(tx, name, id)?.1.started_at.as_ref() == Some(bytes)
        }
        (Node::UploadData(name, id), Value::UploadData) => upload(tx, name, id)?.1.has_data,
        (Node::HashState(name, id, algorithm, offset), Value::File { bytes, .. }) => {
            let repository = repository(tx, name)?.id;
            let known = tx
                .uploads()
                .hash_state(repository, id, *algorithm, *offset)?;
            known.is_some_and(|(_, known)| known == *bytes)
        }
        (node, _) => return Err(misplaced(node)),
    })
}

/// Adds a fact, and makes the directories above it.
pub(super) fn put(tx: &mut Transaction<'_>, (node, value): &Fact) -> Result<(), Error> {
    match value {
        Value::Directory => return ensure(tx, node),
        Value::Ownership(ownership) => {
            ensure(tx, node)?;
            return set_ownership(tx, &node.clone().into(), *ownership);
        }
        _ => {}
    }
    // A link's row also stands for its directory, and a blob's row for all of its directories.
    let above = match node {
        Node::BlobData(_) => None,
        Node::Link(..) => node.parent().and_then(|directory| directory.parent()),
        _ => node.parent(),
    };
    if let Some(above) = above {
        ensure(tx, &above)?;
    }
    match (node, value) {
        (Node::Link(name, set, digest), Value::Link { target, pushed }) => {
            put_link(tx, (name, set, digest), target, *pushed)
        }
        (Node::CurrentLink(name, label), Value::Link { target, pushed }) => {
            put_current(tx, (name, label), target, *pushed)
        }
        (Node::BlobData(digest), Value::Blob { size, created }) => {
            Ok(tx.blobs().put(digest, *size, *created)?)
        }
        (Node::StartedAt(name, id), Value::File { bytes, .. }) => {
            let (repository, record) = upload(tx, name, id)?;
            let record = Upload {
                started_at: Some(bytes.clone()),
                ..record
            };
            Ok(tx.uploads().put(repository.id, id, &record)?)
        }
        (Node::UploadData(..), Value::UploadData) => Ok(()),
        (Node::HashState(name, id, algorithm, offset), Value::File { bytes, written }) => {
            let repository = repository(tx, name)?.id;
            let state = (*written, bytes.as_slice());
            Ok(tx
                .uploads()
                .put_hash_state(repository, id, *algorithm, *offset, state)?)
        }
        (node, _) => Err(misplaced(node)),
    }
}

fn put_link(
    tx: &mut Transaction<'_>,
    (name, set, digest): (&RepositoryName, &LinkSet, &Digest),
    target: &Digest,
    pushed: u32,
) -> Result<(), Error> {
    let id = repository(tx, name)?.id;
    if !matches!(set, LinkSet::TagIndex(_)) {
        record_link_added(tx, id, set, digest);
    }
    let target = *target;
    Ok(tx
        .links()
        .put(id, set, digest, &Link::Linked { target, pushed })?)
}

fn put_current(
    tx: &mut Transaction<'_>,
    (name, label): (&RepositoryName, &Tag),
    target: &Digest,
    pushed: u32,
) -> Result<(), Error> {
    let (repository, record) = tag(tx, name, label)?;
    let record = TagRecord {
        current: Some((*target, pushed)),
        ..record
    };
    Ok(tx.tags().put(repository.id, label, &record)?)
}

/// Returns `true` if the owner and mode of a directory were set.
pub(super) fn has_ownership(tx: &mut Transaction<'_>, of: &OwnershipScope) -> Result<bool, Error> {
    Ok(match ownership_key(tx, of)? {
        Some(key) => tx.owners().get(key)?.is_some(),
        None => false,
    })
}

/// Sets the owner and mode of a directory.
///
/// # Errors
/// [`Error::Missing`] if the directory does not exist.
pub(super) fn set_ownership(
    tx: &mut Transaction<'_>,
    of: &OwnershipScope,
    ownership: Ownership,
) -> Result<(), Error> {
    let key = ownership_key(tx, of)?.ok_or(Error::Missing)?;
    tx.owners().put(key, ownership);
    Ok(())
}

fn misplaced(node: &Node) -> Error {
    Error::Misplaced {
        path: node.to_string(),
    }
}
