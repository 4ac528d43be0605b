//! Owners and modes of an exported tree, applied once everything is written.
//!
//! Files that are hard links to the store's own are not changed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;

use rustix::fs::{FileType, Mode};

use crate::adoption::access::{ignore_forbidden, owner_to_set, set_permissions};
use crate::adoption::error::{AdoptionError, about, require_running};
use crate::dir::Dir;
use crate::layout::Node;
use crate::maintenance::Progress;
use crate::registry::{Ownership, OwnershipScope};
use crate::tree::Permissions;

/// Applies owners and modes to the top of the layout and everything below it. Owners are set only
/// by root, as tar and cp do; modes always.
pub(super) fn apply(
    ownerships: &HashMap<OwnershipScope, Ownership>,
    tree: &Dir,
    progress: &Progress,
) -> Result<(), AdoptionError> {
    let writer = OwnershipWriter {
        ownerships,
        progress,
    };
    writer.directory(tree, &Node::Root)
}

struct OwnershipWriter<'a> {
    ownerships: &'a HashMap<OwnershipScope, Ownership>,
    progress: &'a Progress,
}

impl OwnershipWriter<'_> {
    fn permissions(&self, owner: &OwnershipScope) -> Option<Permissions> {
        self.ownerships.get(owner).copied().map(Permissions::from)
    }

    /// Applies them to the content of a directory, then to the directory itself, which may not be
    /// accessible afterwards.
    fn directory(&self, dir: &Dir, node: &Node) -> Result<(), AdoptionError> {
        require_running(self.progress)?;
        let permissions = self.permissions(&OwnershipScope::governing(node));
        for row in dir.entries().map_err(about(dir.path()))? {
            let row = row.map_err(about(dir.path()))?;
            let child = row.name.to_str().and_then(|name| node.child(name));
            let Some(child) = child else {
                continue;
            };
            if child.is_directory() {
                let inner = dir.open_dir(&row.name);
                let inner = inner.map_err(about(&dir.shown(&row.name)))?;
                self.directory(&inner, &child)?;
            } else if let Some(permissions) = permissions {
                let set = set_file_permissions(dir, &row.name, permissions.of_files());
                set.map_err(about(&dir.shown(&row.name)))?;
            }
        }
        match permissions {
            Some(permissions) => set_permissions(dir, permissions).map_err(about(dir.path())),
            None => Ok(()),
        }
    }
}

/// Sets owner, group and mode of a regular file that has no other name.
fn set_file_permissions(dir: &Dir, name: &OsStr, permissions: Permissions) -> io::Result<()> {
    let pinned = dir.pin(name)?;
    let stat = pinned.metadata()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
        return Ok(());
    }
    if let Some((uid, gid)) = owner_to_set(permissions) {
        ignore_forbidden(pinned.set_owner(uid, gid))?;
    }
    pinned.set_mode(Mode::from_raw_mode(permissions.mode.into()))
}
