//! The route: open directories from a rootdirectory down to the registry's tree.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use rustix::fs::FileType;

use crate::adoption::error::{AdoptionError, about};
use crate::dir::Dir;
use crate::layout::{self, Node};
use crate::printable::printable;

/// A rootdirectory, and the directories from there to the one with blobs and repositories.
#[derive(Debug)]
pub(super) struct Route {
    /// The rootdirectory.
    pub(super) plain: Dir,
    /// The directories below it, each with its name; the last one is the tree.
    pub(super) steps: Vec<(OsString, Dir)>,
    /// The directory that holds blobs and repositories.
    pub(super) tree: Dir,
}

/// Opens the directories that lead to a registry's tree; with `follow` also through symbolic links.
pub(super) fn open(plain: &Path, root: &str, follow: bool) -> Result<Route, AdoptionError> {
    let absent = |at: &Dir, name: &str| AdoptionError::NoTree {
        path: at.shown(name),
        root: root.into(),
    };
    let top = Dir::open(plain).map_err(about(plain))?;
    let (mut steps, mut tree) = (Vec::new(), top.clone());
    let names = root.split('/').filter(|name| !name.is_empty());
    for name in names.chain([layout::TOP]) {
        let next = match tree.open_dir(name) {
            Err(error) if is_link(&error) && follow => tree.open_through(name.as_ref()),
            Err(error) if is_link(&error) => {
                let link = shown(&tree, name.as_ref(), &tree.shown(name));
                return Err(AdoptionError::Links {
                    links: vec![link],
                    more: 0,
                });
            }
            opened => opened,
        };
        let next = match next {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(absent(&tree, name));
            }
            next => next.map_err(about(&tree.shown(name)))?,
        };
        steps.push((name.into(), next.clone()));
        tree = next;
    }
    let holds = |part: Node| {
        let kind = tree.metadata(part.name());
        let kind = kind.map(|stat| FileType::from_raw_mode(stat.st_mode));
        matches!(kind, Ok(FileType::Directory | FileType::Symlink))
    };
    if !holds(Node::Blobs) && !holds(Node::Repositories) {
        return Err(absent(&tree, ""));
    }
    Ok(Route {
        plain: top,
        steps,
        tree,
    })
}

fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Returns a symbolic link and its target, for messages.
pub(super) fn shown(at: &Dir, name: &OsStr, path: &Path) -> String {
    match at.read_link(name) {
        Ok(target) => format!("{} -> {}", printable(path), printable(target)),
        Err(_) => printable(path),
    }
}
