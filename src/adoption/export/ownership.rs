//! Ownership: an exported tree given to whom its directories belong in the store.
//!
//! Files that are shared with the store are left alone: they are the store's.

use std::collections::HashMap;
use std::io;

use rustix::fs::{FileType, Mode};

use crate::adoption::access::{ids, set, unless_forbidden};
use crate::adoption::{AdoptionError, about, go_on};
use crate::dir::Dir;
use crate::layout::Node;
use crate::maintenance::Progress;
use crate::registry::{Owner, Ownership};
use crate::tree::Permissions;

/// Gives what is below the top of the layout, and that, to whom it belongs. Owners are given by
/// root alone, as with tar and cp; modes always.
pub(super) fn give(
    owned: &HashMap<Owner, Ownership>,
    tree: &Dir,
    progress: &Progress,
) -> Result<(), AdoptionError> {
    Giving { owned, progress }.below(tree, &Node::Root)
}

struct Giving<'a> {
    owned: &'a HashMap<Owner, Ownership>,
    progress: &'a Progress,
}

impl Giving<'_> {
    /// What was set of a directory.
    fn of(&self, owner: &Owner) -> Option<Permissions> {
        self.owned.get(owner).copied().map(Permissions::from)
    }

    /// Gives what is in a directory, and then itself: afterwards it may let nobody in.
    fn below(&self, dir: &Dir, node: &Node) -> Result<(), AdoptionError> {
        go_on(self.progress)?;
        let kept = self.of(&Owner::shown_by(node));
        for row in dir.entries().map_err(about(dir.path()))? {
            let row = row.map_err(about(dir.path()))?;
            let child = row.name.to_str().and_then(|name| node.child(name));
            let Some(child) = child else {
                continue;
            };
            if child.is_directory() {
                let inner = dir.open_dir(&row.name);
                let inner = inner.map_err(about(&dir.shown(&row.name)))?;
                self.below(&inner, &child)?;
            } else if let Some(permissions) = kept {
                let given = set_file(dir, &row.name, permissions.of_files());
                given.map_err(about(&dir.shown(&row.name)))?;
            }
        }
        match kept {
            Some(permissions) => set(dir, permissions).map_err(about(dir.path())),
            None => Ok(()),
        }
    }
}

/// Sets owner, group and mode of a file that is the tree's own.
fn set_file(dir: &Dir, name: &std::ffi::OsStr, permissions: Permissions) -> io::Result<()> {
    let pinned = dir.pin(name)?;
    let stat = pinned.metadata()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
        return Ok(());
    }
    if let Some((uid, gid)) = ids(permissions) {
        unless_forbidden(pinned.set_owner(uid, gid))?;
    }
    pinned.set_mode(Mode::from_raw_mode(permissions.mode.into()))
}
