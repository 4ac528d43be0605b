//! Owner and mode of the files and directories of the layout: those of the nearest directory for
//! which they are stored.

use std::ffi::{OsStr, OsString};

use rustix::process::{getegid, geteuid};

use super::listing::DirectoryListings;
use super::pending_file::PendingFile;
use super::pending_name::PendingParent;
use super::stat::{Attributes, Change, FileKind, Permissions};
use super::{Place, Tree, TreeError, Writer};
use crate::layout::Node;
use crate::name::Namespace;
use crate::registry::{Ownership, OwnershipScope};

/// A name below a directory whose owner or mode has changed.
#[derive(Debug)]
pub struct Descendant<'a> {
    /// The directory that holds the name.
    pub parent: &'a Place,
    /// The name.
    pub name: &'a OsStr,
    /// The place that the name refers to.
    pub place: &'a Place,
    /// `true` if the place shows owner and mode of the directory that has changed.
    pub shows: bool,
}

/// The number of names that are listed at once.
const PAGE: usize = 512;

impl From<Ownership> for Permissions {
    fn from(stored: Ownership) -> Self {
        Self {
            uid: stored.uid,
            gid: stored.gid,
            mode: stored.mode,
        }
    }
}

impl From<Permissions> for Ownership {
    fn from(permissions: Permissions) -> Self {
        Self {
            uid: permissions.uid,
            gid: permissions.gid,
            mode: permissions.mode,
        }
    }
}

impl Tree {
    fn owner(&self, of: impl FnOnce() -> OwnershipScope) -> Result<Permissions, TreeError> {
        // Most stores have none stored, which is known without a query.
        if !self.registry.directories().has_ownership() {
            return Ok(Permissions::DIRECTORY);
        }
        let stored = self.registry.queries().ownership(&of())?;
        Ok(stored.map_or(Permissions::DIRECTORY, Permissions::from))
    }

    /// Returns owner and mode of the top of the mount.
    pub(super) fn top_permissions(&self) -> Result<Permissions, TreeError> {
        self.owner(|| OwnershipScope::Mountpoint)
    }

    /// Returns owner and mode of a node, without checking that it exists.
    pub(super) fn node_permissions(&self, node: &Node) -> Result<Permissions, TreeError> {
        let directory = self.owner(|| OwnershipScope::governing(node))?;
        Ok(if node.is_directory() {
            directory
        } else {
            directory.of_files()
        })
    }

    /// Returns owner and mode of a pending file: those of the files in the same directory.
    pub(super) fn pending_permissions(
        &self,
        pending: &PendingFile,
    ) -> Result<Permissions, TreeError> {
        match pending.created_as() {
            Some(((parent, _), _)) => Ok(self.pending_parent_permissions(&parent)?.of_files()),
            None => Ok(Permissions::DIRECTORY.of_files()),
        }
    }

    /// Returns owner and mode of a directory of pending files. A hidden directory shows those of
    /// the directory of the layout that holds it.
    pub(super) fn pending_parent_permissions(
        &self,
        parent: &PendingParent,
    ) -> Result<Permissions, TreeError> {
        match self.pending_files.layout_directory(parent) {
            Some(node) => self.node_permissions(&node),
            None => Ok(Permissions::DIRECTORY),
        }
    }

    /// Returns `true` if a directory may hold directories that can be renamed with their content.
    pub fn may_hold_movable(&self, directory: &Place) -> bool {
        matches!(
            directory,
            Place::Plain(_) | Place::Node(Node::Repositories | Node::Namespace(_))
        )
    }

    /// Creates a repository, or a directory above repositories, with owner and mode.
    pub(super) fn make_namespace(
        &self,
        namespace: &Namespace,
        new: Permissions,
    ) -> Result<(), TreeError> {
        Ok(self
            .registry
            .directories()
            .make_with_ownership(namespace, new.into())?)
    }

    /// chmod(2) and chown(2) of the top of the mount.
    pub(super) fn set_top_owner(&self, now: Permissions, change: Change) -> Result<(), TreeError> {
        self.store_owner(&OwnershipScope::Mountpoint, now, change)
    }

    /// chmod(2) and chown(2) of a node. They are stored for a repository and the directories above
    /// it. Below a repository root may make any change, which has no effect, since containers of
    /// registries run `chown -R` when they start; other users may only set the mode that is there.
    pub(super) fn set_node_owner(
        &self,
        node: &Node,
        now: &Attributes,
        change: Change,
        writer: Writer,
    ) -> Result<(), TreeError> {
        let now = now.permissions;
        if let Some(owner) = OwnershipScope::of(node) {
            return self.store_owner(&owner, now, change);
        }
        let same =
            change.uid.or(change.gid).is_none() && change.mode.is_none_or(|mode| mode == now.mode);
        if same || writer.uid == 0 {
            return Ok(());
        }
        Err(TreeError::NotPermitted(
            "owner and mode are stored per repository and for `blobs`: change those",
        ))
    }

    fn store_owner(
        &self,
        of: &OwnershipScope,
        now: Permissions,
        change: Change,
    ) -> Result<(), TreeError> {
        // As with plain files, the daemon's own user is stored as the mount's own.
        let given = |new: Option<u32>, old, own| match new {
            Some(new) => Some(new).filter(|new| *new != own),
            None => old,
        };
        let new = Permissions {
            uid: given(change.uid, now.uid, geteuid().as_raw()),
            gid: given(change.gid, now.gid, getegid().as_raw()),
            mode: change.mode.unwrap_or(now.mode),
        };
        if new == now {
            return Ok(());
        }
        Ok(self.registry.directories().set_ownership(of, new.into())?)
    }
}

impl DirectoryListings<'_> {
    /// Visits the names in a directory, and those in all directories below it that show its owner
    /// and mode. A directory that is removed meanwhile is left out.
    ///
    /// # Errors
    /// As [`DirectoryListings::list`].
    pub fn visit_descendants(
        self,
        directory: &Place,
        visit: &mut impl FnMut(Descendant<'_>),
    ) -> Result<(), TreeError> {
        let mut last: Option<OsString> = None;
        loop {
            let page = match self.list(directory, last.as_deref(), PAGE) {
                // It was removed meanwhile, with its content.
                Err(TreeError::NotFound) => return Ok(()),
                page => page?,
            };
            for row in &page {
                let place = &row.found.place;
                let shows =
                    matches!(place, Place::Node(node) if OwnershipScope::of(node).is_none());
                visit(Descendant {
                    parent: directory,
                    name: &row.name,
                    place,
                    shows,
                });
                if shows && row.found.attributes.kind == FileKind::Directory {
                    self.visit_descendants(place, visit)?;
                }
            }
            match page.last() {
                Some(row) if page.len() == PAGE => last = Some(row.name.clone()),
                _ => return Ok(()),
            }
        }
    }
}
