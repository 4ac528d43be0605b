//! The check before an import stores anything: symbolic links that lead out of the tree, and blobs
//! that can only be copied, or shared with files that others can write.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FileType;

use super::options::ImportOptions;
use super::route;
use super::transfer_planner::TransferPlanner;
use crate::adoption::error::{AdoptionError, TransferChoice, require_running};
use crate::adoption::read::OpenDirectory;
use crate::adoption::walk::{Walk, on_threads};
use crate::digest::Digest;
use crate::layout::Node;
use crate::name::LinkSet;
use crate::printable::printable;
use crate::registry::{FoundFile, INLINE_BYTES_MAX, Registry};

/// The number of links that an error names.
const LINKS_SHOWN: usize = 20;

struct Precheck<'a> {
    options: &'a ImportOptions<'a>,
    registry: &'a Registry,
    planner: &'a TransferPlanner<'a>,
    links: Mutex<Vec<String>>,
    choice: Mutex<TransferChoice>,
}

/// Fails if there is a link to a directory that is not to be followed, or if the caller has to
/// choose how blobs are transferred. `share` is the part of the whole progress.
pub(super) fn check(
    options: &ImportOptions<'_>,
    registry: &Registry,
    planner: &TransferPlanner<'_>,
    top: &Arc<OpenDirectory>,
    share: f64,
) -> Result<(), AdoptionError> {
    let check = Precheck {
        options,
        registry,
        planner,
        links: Mutex::default(),
        choice: Mutex::default(),
    };
    let walk = Walk::new(vec![(Arc::clone(top), Node::Root)], share, options.progress);
    on_threads(options.jobs, || {
        walk.work(|(at, node)| check.directory(&at, &node))
    })?;
    require_running(options.progress)?;
    let mut links = check.links.into_inner();
    if !links.is_empty() {
        links.sort();
        let more = links.len().saturating_sub(LINKS_SHOWN);
        links.truncate(LINKS_SHOWN);
        return Err(AdoptionError::Links { links, more });
    }
    let choice = check.choice.into_inner();
    if choice.blobs > 0 {
        return Err(AdoptionError::Choose(Box::new(TransferChoice {
            owner: planner.owner(),
            room: registry.room().space()?.available,
            ..choice
        })));
    }
    Ok(())
}

/// A directory to check.
type CheckTask = (Arc<OpenDirectory>, Node);

impl Precheck<'_> {
    /// Checks a directory. Returns the directories in it to check, and the number of its names.
    fn directory(
        &self,
        at: &Arc<OpenDirectory>,
        node: &Node,
    ) -> Result<(Vec<CheckTask>, u64), AdoptionError> {
        let mut tasks = Vec::new();
        // The import records a directory that cannot be read.
        let names = at.list().unwrap_or_default();
        let count = names.len() as u64;
        for (name, kind) in names {
            let Some(child) = name.to_str().and_then(|name| node.child(name)) else {
                continue;
            };
            match (kind, &child) {
                (FileType::Directory, _) if self.is_relevant(&child) => {
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

    /// Returns `true` if a directory is to be checked: if administrators put symbolic links into
    /// such directories, or if it leads to blobs to check.
    fn is_relevant(&self, node: &Node) -> bool {
        match node {
            Node::BlobShard(..) | Node::BlobDirectory(_) => !self.planner.always_works(),
            Node::Blobs
            | Node::BlobAlgorithm(_)
            | Node::Repositories
            | Node::Namespace(_)
            | Node::Manifests(_)
            | Node::Links(_, LinkSet::Layers | LinkSet::Revisions) => true,
            _ => false,
        }
    }

    /// Checks a symbolic link in place of a directory.
    fn link(
        &self,
        at: &Arc<OpenDirectory>,
        name: &OsString,
        child: Node,
    ) -> Option<(Arc<OpenDirectory>, Node)> {
        // The import quarantines a link that leads to no directory, or upwards.
        let below = at.follow(name).ok().flatten()?;
        if self.options.follow_links {
            return self.is_relevant(&child).then(|| (Arc::new(below), child));
        }
        let link = route::shown(&at.dir, name, &at.dir.shown(name));
        self.links.lock().push(link);
        None
    }

    /// Checks that a blob can be transferred as asked for.
    fn blob(
        &self,
        at: &Arc<OpenDirectory>,
        name: &OsStr,
        digest: &Digest,
    ) -> Result<(), AdoptionError> {
        let Ok(file) = FoundFile::open(&at.dir, name) else {
            return Ok(());
        };
        if file.len() <= INLINE_BYTES_MAX as u64 || self.registry.queries().has_blob(digest)? {
            return Ok(());
        }
        if let Err(why) = self.planner.mode(file.file())? {
            let mut choice = self.choice.lock();
            if choice.blobs == 0 {
                choice.first = printable(at.path.join(name));
                choice.why = why;
            }
            choice.blobs += 1;
            choice.bytes += file.len();
        }
        Ok(())
    }
}
