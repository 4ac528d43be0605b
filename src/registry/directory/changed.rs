//! Changed: when the entries of a directory last changed.
//!
//! Where a directory holds just one thing that has a time (a link, a tag's manifest, a blob, an
//! upload) that is its time, and nothing is kept for it unless another one was set, or that thing
//! was removed. Others have a row, which is written with the change, once a second at most. The
//! start of an upload, which its record has no time for, has a row where a time was set.

use super::{Error, exists};
use crate::index::{DirectoryTime, RepositoryId, TimeKey, Transaction};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag};

/// Whether each change of a directory's entries is written down.
fn is_written(directory: &Node) -> bool {
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

/// Whether a directory is a tag's or one of its index. They hold nothing that has a time, and are
/// many: without a row the tag's own time stands for theirs.
fn is_of_tag(directory: &Node) -> bool {
    match directory {
        Node::Tag(..) => true,
        Node::Links(_, set) | Node::LinksAlgorithm(_, set, _) => {
            matches!(set, LinkSet::TagIndex(_))
        }
        _ => false,
    }
}

/// Where the time of a directory is kept; nothing if its repository has no record.
fn key(facts: &mut Transaction<'_>, directory: &Node) -> Result<Option<TimeKey>, Error> {
    if let Some(name) = directory.namespace() {
        let found = facts.repository(name)?;
        return Ok(found.map(|found| within(found.id, directory)));
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

/// Where the time of a directory is kept that is in a repository.
fn within(id: RepositoryId, directory: &Node) -> TimeKey {
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
        // The repository itself.
        _ => key,
    }
}

/// A directory has come: it changes the one that it is in.
pub(super) fn came(facts: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    if is_written(directory)
        && let Some(key) = key(facts, directory)?
    {
        facts.touch(key);
    }
    touch_above(facts, directory)
}

/// Takes note that the directory in which this one is changes.
pub(super) fn touch_above(facts: &mut Transaction<'_>, directory: &Node) -> Result<(), Error> {
    if let Some(above) = directory.parent() {
        let writes = is_written(&above) || is_of_tag(&above) && has_time(facts, &above)?;
        if writes && let Some(key) = key(facts, &above)? {
            facts.touch(key);
        }
    }
    Ok(())
}

/// Whether a directory has a time already: one that is being made with all that is in it gets
/// none of its own.
fn has_time(facts: &mut Transaction<'_>, directory: &Node) -> Result<bool, Error> {
    let told = exists(facts, directory)?.unwrap_or_default();
    Ok(told != 0
        || match (directory.parent(), key(facts, directory)?) {
            (_, Some(key)) if facts.directory_time(&key)?.is_some() => true,
            (Some(above), _) if is_of_tag(&above) => has_time(facts, &above)?,
            _ => false,
        })
}

/// A directory is about to go: it changes the one that it is in.
pub(in crate::registry) fn goes(
    facts: &mut Transaction<'_>,
    directory: &Node,
) -> Result<(), Error> {
    forget(facts, directory)?;
    match directory.parent() {
        Some(above) if is_of_tag(&above) => emptied(facts, &above),
        _ => touch_above(facts, directory),
    }
}

/// A link has come into a set that had none for it, which has a time of its own.
pub(in crate::registry) fn link_came(
    facts: &mut Transaction<'_>,
    id: RepositoryId,
    links: &LinkSet,
    digest: &crate::digest::Digest,
) {
    let key = match links {
        LinkSet::Layers => TimeKey::repository(id).part(b'L'),
        LinkSet::Revisions => TimeKey::repository(id).part(b'R'),
        LinkSet::TagIndex(tag) => TimeKey::repository(id).part(b'T').tag(tag).part(b'i'),
        LinkSet::Signatures(_) => return,
    };
    facts.touch(key.algorithm(digest.algorithm()));
}

/// A tag has come into a repository.
pub(in crate::registry) fn tag_came(facts: &mut Transaction<'_>, id: RepositoryId) {
    facts.touch(TimeKey::repository(id).part(b'T'));
}

/// A tag moves that was at a manifest since `pushed`: its own directory has not changed.
pub(in crate::registry) fn tag_moves(
    facts: &mut Transaction<'_>,
    id: RepositoryId,
    tag: &Tag,
    pushed: u32,
) -> Result<(), Error> {
    let key = TimeKey::repository(id).part(b'T').tag(tag);
    if facts.directory_time(&key)?.is_none() {
        let (changed, basis) = (pushed, 0);
        facts.put_directory_time(key, DirectoryTime { changed, basis });
    }
    Ok(())
}

/// Something that was in a directory is removed, and nothing else tells when.
pub(in crate::registry) fn emptied(
    facts: &mut Transaction<'_>,
    directory: &Node,
) -> Result<(), Error> {
    let (changed, basis) = (facts.now(), 0);
    set(facts, directory, DirectoryTime { changed, basis })
}

fn set(facts: &mut Transaction<'_>, directory: &Node, time: DirectoryTime) -> Result<(), Error> {
    if let Some(key) = key(facts, directory)? {
        facts.put_directory_time(key, time);
    }
    Ok(())
}

/// Sets the time of a directory that is there.
pub(super) fn set_time(
    facts: &mut Transaction<'_>,
    directory: &Node,
    changed: u32,
) -> Result<(), Error> {
    let basis = exists(facts, directory)?.ok_or(Error::Missing)?;
    if let Some(key) = key(facts, directory)?
        && !is_written(directory)
    {
        facts.remove_directory_time(key)?;
        if last_change(facts, directory, basis)? == changed {
            return Ok(());
        }
    }
    set(facts, directory, DirectoryTime { changed, basis })
}

/// When the entries of a directory last changed, 0 if that is not known; `told` is what is told by
/// what is in it. Of one of which nothing is known, when those of the one that it is in did.
pub(in crate::registry) fn last_change(
    facts: &mut Transaction<'_>,
    directory: &Node,
    told: u32,
) -> Result<u32, Error> {
    if let Some(key) = key(facts, directory)?
        && let Some(row) = facts.directory_time(&key)?
        && (row.basis == told || is_of_tag(directory))
    {
        return Ok(row.changed);
    }
    if told != 0 {
        return Ok(told);
    }
    match directory.parent() {
        Some(above) if !directory.is_fixed() => {
            let told = exists(facts, &above)?.unwrap_or_default();
            last_change(facts, &above, told)
        }
        _ => Ok(0),
    }
}

/// When the start of an upload was written, if that was set.
pub(in crate::registry) fn started(
    facts: &mut Transaction<'_>,
    start: &Node,
) -> Result<Option<u32>, Error> {
    let row = match key(facts, start)? {
        Some(key) => facts.directory_time(&key)?,
        None => None,
    };
    Ok(row.map(|row| row.changed))
}

/// Sets when the start of an upload was written.
pub(in crate::registry) fn set_started(
    facts: &mut Transaction<'_>,
    start: &Node,
    changed: u32,
) -> Result<(), Error> {
    set(facts, start, DirectoryTime { changed, basis: 0 })
}

/// Forgets the time of a directory, or of the start of an upload.
pub(in crate::registry) fn forget(facts: &mut Transaction<'_>, node: &Node) -> Result<(), Error> {
    if let Some(key) = key(facts, node)? {
        facts.remove_directory_time(key)?;
    }
    Ok(())
}

/// Whether any directory in this one has a time of its own.
pub(in crate::registry) fn any_below(
    facts: &mut Transaction<'_>,
    directory: &Node,
) -> Result<bool, Error> {
    match key(facts, directory)? {
        Some(key) => Ok(facts.has_times_below(&key)?),
        None => Ok(false),
    }
}

/// Directories of a repository by the flag that stands for each.
pub(super) fn of_flags(name: &RepositoryName) -> Vec<(crate::index::RepositoryDirectories, Node)> {
    use crate::index::RepositoryDirectories as Flags;
    let mut found = vec![
        (Flags::MANIFESTS, Node::Manifests(name.clone())),
        (Flags::TAGS, Node::Tags(name.clone())),
        (Flags::UPLOADS, Node::Uploads(name.clone())),
    ];
    for (flag, set) in [
        (Flags::LAYERS, LinkSet::Layers),
        (Flags::REVISIONS, LinkSet::Revisions),
    ] {
        found.push((flag, Node::Links(name.clone(), set.clone())));
        for algorithm in crate::digest::Algorithm::ALL {
            let directory = Node::LinksAlgorithm(name.clone(), set.clone(), algorithm);
            found.push((flag.of(algorithm), directory));
        }
    }
    found
}
