//! Directory times: when the entries of each directory last changed.
//!
//! A directory that holds just one dated record (a link, a tag's manifest, a blob, an upload) has
//! the time of that record. It has a row of its own only if another time was set, or if that record
//! was removed. Other directories have a row, which is written with the change, at most once a
//! second. The start time of an upload has a row only if its time was set, since the upload's
//! record has no time for it.

use super::content_time;
use crate::digest::Digest;
use crate::index::{DirectoryTime, RepositoryId, TimeKey, Transaction};
use crate::layout::Node;
use crate::name::{LinkSet, Tag};
use crate::registry::Error;

/// Returns `true` if each change of a directory's entries is written to its row.
fn is_recorded(directory: &Node) -> bool {
    match directory {
        Node::Root
        | Node::Blobs
        | Node::BlobAlgorithm(_)
        | Node::BlobShard(..)
        | Node::Repositories
        | Node::Namespace(_)
        | Node::Manifests(_)
        | Node::Tags(_)
        | Node::Uploads(_) => true,
        Node::Links(_, set) | Node::LinksAlgorithm(_, set, _) => {
            matches!(set, LinkSet::Layers | LinkSet::Revisions)
        }
        _ => false,
    }
}

/// Returns `true` if a directory is a tag's, or one of the tag's index. These contain no dated
/// record and are many: without a row they have the tag's own time.
fn is_tag_directory(directory: &Node) -> bool {
    match directory {
        Node::Tag(..) => true,
        Node::Links(_, set) | Node::LinksAlgorithm(_, set, _) => {
            matches!(set, LinkSet::TagIndex(_))
        }
        _ => false,
    }
}

/// Returns the key of a directory's row; `None` if its repository has no record.
fn time_key(tx: &mut Transaction<'_>, directory: &Node) -> Result<Option<TimeKey>, Error> {
    if let Some(name) = directory.namespace() {
        let found = tx.repositories().get(name)?;
        return Ok(found.map(|found| repository_time_key(found.id, directory)));
    }
    Ok(match directory {
        Node::Root => Some(TimeKey::top(0)),
        Node::Blobs => Some(TimeKey::top(1)),
        Node::Repositories => Some(TimeKey::top(2)),
        Node::BlobAlgorithm(algorithm) => Some(TimeKey::blobs(*algorithm)),
        Node::BlobShard(algorithm, shard) => Some(TimeKey::shard(*algorithm, *shard)),
        Node::BlobDirectory(digest) => Some(TimeKey::blob(digest)),
        _ => None,
    })
}

/// Returns the key of the row of a directory in a repository.
fn repository_time_key(id: RepositoryId, directory: &Node) -> TimeKey {
    let key = TimeKey::repository(id);
    let tags = || TimeKey::repository(id).part(b'T');
    let set = |set: &LinkSet| {
        let key = TimeKey::repository(id);
        match set {
            LinkSet::Layers => key.part(b'L'),
            LinkSet::Revisions => key.part(b'R'),
            LinkSet::TagIndex(tag) => tags().tag(tag).part(b'i'),
            LinkSet::Signatures(revision) => key.part(b'S').digest(revision),
        }
    };
    match directory {
        Node::Manifests(_) => key.part(b'm'),
        Node::Tags(_) => tags(),
        Node::Tag(_, tag) => tags().tag(tag),
        Node::Current(_, tag) => tags().tag(tag).part(b'c'),
        Node::Links(_, links) => set(links),
        Node::LinksAlgorithm(_, links, algorithm) => set(links).algorithm(*algorithm),
        Node::LinkDirectory(_, links, digest) => set(links).digest(digest),
        Node::Uploads(_) => key.part(b'U'),
        Node::Upload(_, upload) => key.part(b'U').upload(upload),
        Node::StartedAt(_, upload) => key.part(b'U').upload(upload).part(b's'),
        Node::HashStates(_, upload) => key.part(b'U').upload(upload).part(b'h'),
        Node::HashStatesAlgorithm(_, upload, algorithm) => {
            let states = key.part(b'U').upload(upload).part(b'h');
            states.algorithm(*algorithm)
        }
        // The repository's own directory.
        _ => key,
    }
}

/// Records that a directory was made, which also changes its parent.
pub(super) fn record_added(tx: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    if is_recorded(directory)
        && let Some(key) = time_key(tx, directory)?
    {
        tx.times().touch(key);
    }
    touch_parent(tx, directory)
}

/// Records that the entries of a directory's parent change now.
pub(super) fn touch_parent(tx: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    if let Some(above) = directory.parent() {
        let recorded = is_recorded(&above) || is_tag_directory(&above) && has_time(tx, &above)?;
        if recorded && let Some(key) = time_key(tx, &above)? {
            tx.times().touch(key);
        }
    }
    Ok(())
}

/// Returns `true` if a directory has a time already. A directory that is being made together with
/// its content gets no row of its own.
fn has_time(tx: &mut Transaction<'_>, directory: &Node) -> Result<bool, Error> {
    let time = content_time(tx, directory)?.unwrap_or_default();
    Ok(time != 0
        || match (directory.parent(), time_key(tx, directory)?) {
            (_, Some(key)) if tx.times().get(&key)?.is_some() => true,
            (Some(above), _) if is_tag_directory(&above) => has_time(tx, &above)?,
            _ => false,
        })
}

/// Records that a directory is about to be removed, which also changes its parent.
pub(in crate::registry) fn record_removed(
    tx: &mut Transaction<'_>,
    directory: &Node,
) -> Result<(), Error> {
    forget_time(tx, directory)?;
    match directory.parent() {
        Some(above) if is_tag_directory(&above) => record_entry_removed(tx, &above),
        _ => touch_parent(tx, directory),
    }
}

/// Records a new link in a set whose directories have rows of their own.
pub(in crate::registry) fn record_link_added(
    tx: &mut Transaction<'_>,
    id: RepositoryId,
    links: &LinkSet,
    digest: &Digest,
) {
    let key = match links {
        LinkSet::Layers => TimeKey::repository(id).part(b'L'),
        LinkSet::Revisions => TimeKey::repository(id).part(b'R'),
        LinkSet::TagIndex(tag) => TimeKey::repository(id).part(b'T').tag(tag).part(b'i'),
        LinkSet::Signatures(_) => return,
    };
    tx.times().touch(key.algorithm(digest.algorithm()));
}

/// Records a new tag of a repository.
pub(in crate::registry) fn record_tag_added(tx: &mut Transaction<'_>, id: RepositoryId) {
    tx.times().touch(TimeKey::repository(id).part(b'T'));
}

/// Records that a tag moves away from the manifest that it had since `pushed`, in seconds since
/// 1970. The entries of the tag's own directory do not change by that, so it keeps that time.
pub(in crate::registry) fn record_tag_moved(
    tx: &mut Transaction<'_>,
    id: RepositoryId,
    tag: &Tag,
    pushed: u32,
) -> Result<(), Error> {
    let key = TimeKey::repository(id).part(b'T').tag(tag);
    if tx.times().get(&key)?.is_none() {
        let (changed, basis) = (pushed, 0);
        tx.times().put(key, DirectoryTime { changed, basis });
    }
    Ok(())
}

/// Records that an entry of a directory was removed now, where no other record gives that time.
pub(in crate::registry) fn record_entry_removed(
    tx: &mut Transaction<'_>,
    directory: &Node,
) -> Result<(), Error> {
    let (changed, basis) = (tx.now(), 0);
    set(tx, directory, DirectoryTime { changed, basis })
}

fn set(tx: &mut Transaction<'_>, directory: &Node, time: DirectoryTime) -> Result<(), Error> {
    if let Some(key) = time_key(tx, directory)? {
        tx.times().put(key, time);
    }
    Ok(())
}

/// Sets the time of a directory, in seconds since 1970.
///
/// # Errors
/// [`Error::Missing`] if the directory does not exist.
pub(super) fn set_time(
    tx: &mut Transaction<'_>,
    directory: &Node,
    changed: u32,
) -> Result<(), Error> {
    let basis = content_time(tx, directory)?.ok_or(Error::Missing)?;
    if let Some(key) = time_key(tx, directory)?
        && !is_recorded(directory)
    {
        tx.times().remove(key)?;
        if last_change(tx, directory, basis)? == changed {
            return Ok(());
        }
    }
    set(tx, directory, DirectoryTime { changed, basis })
}

/// Returns when the entries of a directory last changed, in seconds since 1970; 0 if that is not
/// known. `content_time` is what [`content_time`] returns for the directory. A directory without
/// any time of its own has its parent's.
pub(in crate::registry) fn last_change(
    tx: &mut Transaction<'_>,
    directory: &Node,
    content_time: u32,
) -> Result<u32, Error> {
    if let Some(key) = time_key(tx, directory)?
        && let Some(row) = tx.times().get(&key)?
        && (row.basis == content_time || is_tag_directory(directory))
    {
        return Ok(row.changed);
    }
    if content_time != 0 {
        return Ok(content_time);
    }
    match directory.parent() {
        Some(above) if !directory.is_fixed() => {
            let time = super::content_time(tx, &above)?.unwrap_or_default();
            last_change(tx, &above, time)
        }
        _ => Ok(0),
    }
}

/// Returns when the start time of an upload was written, in seconds since 1970; `None` if that was
/// not set.
pub(in crate::registry) fn started_time(
    tx: &mut Transaction<'_>,
    start: &Node,
) -> Result<Option<u32>, Error> {
    let row = match time_key(tx, start)? {
        Some(key) => tx.times().get(&key)?,
        None => None,
    };
    Ok(row.map(|row| row.changed))
}

/// Sets when the start time of an upload was written, in seconds since 1970.
pub(in crate::registry) fn put_started_time(
    tx: &mut Transaction<'_>,
    start: &Node,
    changed: u32,
) -> Result<(), Error> {
    set(tx, start, DirectoryTime { changed, basis: 0 })
}

/// Removes the row of a directory, or of the start time of an upload.
pub(in crate::registry) fn forget_time(tx: &mut Transaction<'_>, node: &Node) -> Result<(), Error> {
    if let Some(key) = time_key(tx, node)? {
        tx.times().remove(key)?;
    }
    Ok(())
}

/// Returns `true` if any directory in this one has a row of its own.
pub(in crate::registry) fn has_times_below(
    tx: &mut Transaction<'_>,
    directory: &Node,
) -> Result<bool, Error> {
    match time_key(tx, directory)? {
        Some(key) => Ok(tx.times().any_below(&key)?),
        None => Ok(false),
    }
}
