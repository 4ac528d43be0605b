//! Before anything is taken: symbolic links that lead out of the tree, and blobs that cannot come
//! without a copy or without sharing files that others can write.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FileType;

use super::sharing::Sharing;
use super::{Importing, route};
use crate::adoption::read::Open;
use crate::adoption::walk::{Walk, on_threads};
use crate::adoption::{AdoptionError, Choice, go_on};
use crate::digest::Digest;
use crate::layout::Node;
use crate::name::LinkSet;
use crate::printable::printable;
use crate::registry::{Found, INLINE_BYTES_MAX, Registry};

/// Links that are named.
const NAMED: usize = 20;

struct Check<'a> {
    importing: &'a Importing<'a>,
    registry: &'a Registry,
    sharing: &'a Sharing<'a>,
    links: Mutex<Vec<String>>,
    choice: Mutex<Choice>,
}

/// Fails if a link that leads to a directory is not to be followed, or if there is a choice to
/// make about blobs.
pub(super) fn check(
    importing: &Importing<'_>,
    registry: &Registry,
    sharing: &Sharing<'_>,
    top: &Arc<Open>,
    share: f64,
) -> Result<(), AdoptionError> {
    let check = Check {
        importing,
        registry,
        sharing,
        links: Mutex::default(),
        choice: Mutex::default(),
    };
    let walk = Walk::new(
        vec![(Arc::clone(top), Node::Root)],
        share,
        importing.progress,
    );
    on_threads(importing.jobs, || {
        walk.work(|(at, node)| check.directory(&at, &node))
    })?;
    go_on(importing.progress)?;
    let mut links = check.links.into_inner();
    if !links.is_empty() {
        links.sort();
        let more = links.len().saturating_sub(NAMED);
        links.truncate(NAMED);
        return Err(AdoptionError::Links { links, more });
    }
    let choice = check.choice.into_inner();
    if choice.blobs > 0 {
        return Err(AdoptionError::Choose(Box::new(Choice {
            owner: sharing.owner(),
            room: registry.room().space()?.available,
            ..choice
        })));
    }
    Ok(())
}

type Tasks = Vec<(Arc<Open>, Node)>;

impl Check<'_> {
    /// Looks at a directory; those in it that are to be looked at, and how many names it has.
    fn directory(&self, at: &Arc<Open>, node: &Node) -> Result<(Tasks, u64), AdoptionError> {
        let mut tasks = Vec::new();
        // What cannot be read now the import itself names.
        let names = at.list().unwrap_or_default();
        let count = names.len() as u64;
        for (name, kind) in names {
            let Some(child) = name.to_str().and_then(|name| node.child(name)) else {
                continue;
            };
            match (kind, &child) {
                (FileType::Directory, _) if self.matters(&child) => {
                    tasks.extend(at.directory(&name).ok().map(|at| (Arc::new(at), child)));
                }
                (FileType::Symlink, _) if child.is_directory() => {
                    tasks.extend(self.link(at, &name, child));
                }
                (FileType::RegularFile, Node::BlobData(digest)) => self.blob(at, &name, digest)?,
                _ => {}
            }
        }
        Ok((tasks, count))
    }

    /// Returns `true` if people have symbolic links in such a directory, or if it leads to blobs
    /// that are to be looked at.
    fn matters(&self, node: &Node) -> bool {
        match node {
            Node::BlobShard(..) | Node::BlobDirectory(_) => !self.sharing.always_works(),
            Node::Blobs
            | Node::BlobAlgorithm(_)
            | Node::Repositories
            | Node::Namespace(_)
            | Node::Manifests(_)
            | Node::Links(_, LinkSet::Layers | LinkSet::Revisions) => true,
            _ => false,
        }
    }

    /// A symbolic link where a directory belongs.
    fn link(&self, at: &Arc<Open>, name: &OsString, child: Node) -> Option<(Arc<Open>, Node)> {
        // One that leads nowhere, or back, the import sets aside.
        let below = at.through(name).ok().flatten()?;
        if self.importing.follow_links {
            return self.matters(&child).then(|| (Arc::new(below), child));
        }
        let link = route::shown(&at.dir, name, &at.dir.shown(name));
        self.links.lock().push(link);
        None
    }

    /// A blob: can it come as was asked for?
    fn blob(&self, at: &Arc<Open>, name: &OsStr, digest: &Digest) -> Result<(), AdoptionError> {
        let Ok(found) = Found::open(&at.dir, name) else {
            return Ok(());
        };
        if found.len() <= INLINE_BYTES_MAX as u64 || self.registry.queries().has_blob(digest)? {
            return Ok(());
        }
        if let Err(why) = self.sharing.way(found.file())? {
            let mut choice = self.choice.lock();
            if choice.blobs == 0 {
                choice.first = printable(at.path.join(name));
                choice.why = why;
            }
            choice.blobs += 1;
            choice.bytes += found.len();
        }
        Ok(())
    }
}
