//! Facts one by one: whether each is there, and how it is made.

use crate::digest::Digest;
use crate::index::{Link, TagRecord, Transaction, Upload};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag};
use crate::registry::directory::{ensure, link_came, made, repository, tag, upload};
use crate::registry::ownership::owned;
use crate::registry::{Error, Fact, Owner, Ownership, Value};

/// Whether a fact is there, or a newer one in its place.
pub(super) fn has(facts: &mut Transaction<'_>, fact: &Fact) -> Result<bool, Error> {
    match there(facts, fact) {
        Err(Error::Missing) => Ok(false),
        found => found,
    }
}

fn there(facts: &mut Transaction<'_>, (node, value): &Fact) -> Result<bool, Error> {
    Ok(match (node, value) {
        (directory, Value::Directory) => made(facts, directory)?,
        (directory, Value::Ownership(_)) => has_ownership(facts, &directory.clone().into())?,
        (Node::Link(name, set, digest), Value::Link { target, .. }) => {
            let id = repository(facts, name)?.id;
            let link = facts.link(id, set, digest)?;
            matches!(link, Some(Link::Linked { target: known, .. }) if known == *target)
        }
        (Node::CurrentLink(name, label), Value::Link { target, pushed }) => {
            let current = tag(facts, name, label)?.1.current;
            current.is_some_and(|(known, since)| known == *target || since > *pushed)
        }
        (Node::BlobData(digest), Value::Blob { .. }) => {
            facts.blob(digest)?.is_some_and(|blob| blob.present)
        }
        (Node::StartedAt(name, id), Value::File { bytes, .. }) => {
            upload(facts, name, id)?.1.started_at.as_ref() == Some(bytes)
        }
        (Node::UploadData(name, id), Value::UploadData) => upload(facts, name, id)?.1.has_data,
        (Node::HashState(name, id, algorithm, offset), Value::File { bytes, .. }) => {
            let repository = repository(facts, name)?.id;
            let known = facts.hash_state(repository, id, *algorithm, *offset)?;
            known.is_some_and(|(_, known)| known == *bytes)
        }
        (node, _) => return Err(misplaced(node)),
    })
}

/// Makes a fact, and the directories that lead to it.
pub(super) fn adopt(facts: &mut Transaction<'_>, (node, value): &Fact) -> Result<(), Error> {
    match value {
        Value::Directory => return ensure(facts, node),
        Value::Ownership(ownership) => {
            ensure(facts, node)?;
            return own(facts, &node.clone().into(), *ownership);
        }
        _ => {}
    }
    // A link's own directory comes with it, and all of a blob's.
    let above = match node {
        Node::BlobData(_) => None,
        Node::Link(..) => node.parent().and_then(|directory| directory.parent()),
        _ => node.parent(),
    };
    if let Some(above) = above {
        ensure(facts, &above)?;
    }
    match (node, value) {
        (Node::Link(name, set, digest), Value::Link { target, pushed }) => {
            link(facts, (name, set, digest), target, *pushed)
        }
        (Node::CurrentLink(name, label), Value::Link { target, pushed }) => {
            current(facts, (name, label), target, *pushed)
        }
        (Node::BlobData(digest), Value::Blob { size, created }) => {
            Ok(facts.put_blob(digest, *size, *created)?)
        }
        (Node::StartedAt(name, id), Value::File { bytes, .. }) => {
            let (repository, record) = upload(facts, name, id)?;
            let record = Upload {
                started_at: Some(bytes.clone()),
                ..record
            };
            Ok(facts.put_upload(repository.id, id, &record)?)
        }
        (Node::UploadData(..), Value::UploadData) => Ok(()),
        (Node::HashState(name, id, algorithm, offset), Value::File { bytes, written }) => {
            let repository = repository(facts, name)?.id;
            let state = (*written, bytes.as_slice());
            Ok(facts.put_hash_state(repository, id, *algorithm, *offset, state)?)
        }
        (node, _) => Err(misplaced(node)),
    }
}

fn link(
    facts: &mut Transaction<'_>,
    (name, set, digest): (&RepositoryName, &LinkSet, &Digest),
    target: &Digest,
    pushed: u32,
) -> Result<(), Error> {
    let id = repository(facts, name)?.id;
    if !matches!(set, LinkSet::TagIndex(_)) {
        link_came(facts, id, set, digest);
    }
    let target = *target;
    Ok(facts.put_link(id, set, digest, &Link::Linked { target, pushed })?)
}

fn current(
    facts: &mut Transaction<'_>,
    (name, label): (&RepositoryName, &Tag),
    target: &Digest,
    pushed: u32,
) -> Result<(), Error> {
    let (repository, record) = tag(facts, name, label)?;
    let record = TagRecord {
        current: Some((*target, pushed)),
        ..record
    };
    Ok(facts.put_tag(repository.id, label, &record)?)
}

/// Whether owner and mode of a directory were set.
pub(super) fn has_ownership(facts: &mut Transaction<'_>, of: &Owner) -> Result<bool, Error> {
    Ok(match owned(facts, of)? {
        Some(owned) => facts.ownership(owned)?.is_some(),
        None => false,
    })
}

/// Sets owner and mode of a directory that is there.
pub(super) fn own(
    facts: &mut Transaction<'_>,
    of: &Owner,
    ownership: Ownership,
) -> Result<(), Error> {
    let owned = owned(facts, of)?.ok_or(Error::Missing)?;
    facts.put_ownership(owned, ownership);
    Ok(())
}

/// A value of another kind than what the layout has at a path.
fn misplaced(node: &Node) -> Error {
    Error::Misplaced {
        path: node.to_string(),
    }
}
