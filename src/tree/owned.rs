//! Owned places: whose owner and mode the directories and files of the layout show.

use std::ffi::{OsStr, OsString};

use rustix::process::{getegid, geteuid};

use super::draft::Draft;
use super::drafts::Parent;
use super::stat::{Attributes, Change, FileKind, Permissions};
use super::{Place, Tree, TreeError, Writer};
use crate::layout::Node;
use crate::name::Namespace;
use crate::registry::{Owner, Ownership};

/// A name below a directory whose owner or mode has changed.
#[derive(Debug)]
pub struct Below<'a> {
    /// The directory in which it stands.
    pub parent: &'a Place,
    /// The name.
    pub name: &'a OsStr,
    /// What it names.
    pub place: &'a Place,
    /// Whether that shows owner and mode of the directory that has changed.
    pub shows: bool,
}

/// Names that are listed at once.
const PAGE: usize = 512;

impl From<Ownership> for Permissions {
    fn from(kept: Ownership) -> Self {
        Self {
            uid: kept.uid,
            gid: kept.gid,
            mode: kept.mode,
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
    fn owner(&self, of: impl FnOnce() -> Owner) -> Result<Permissions, TreeError> {
        // Most stores have nothing to look for.
        if !self.registry.directories().has_ownership() {
            return Ok(Permissions::DIRECTORY);
        }
        let kept = self.registry.queries().ownership(&of())?;
        Ok(kept.map_or(Permissions::DIRECTORY, Permissions::from))
    }

    /// Who may do what at the top of the mount.
    pub(super) fn top_permissions(&self) -> Result<Permissions, TreeError> {
        self.owner(|| Owner::Mountpoint)
    }

    /// Who may do what with a node, whether it is there or not.
    pub(super) fn node_permissions(&self, node: &Node) -> Result<Permissions, TreeError> {
        let directory = self.owner(|| Owner::shown_by(node))?;
        Ok(if node.is_directory() {
            directory
        } else {
            directory.of_files()
        })
    }

    /// Who may do what with a file being written: it is as what stands beside it.
    pub(super) fn draft_permissions(&self, draft: &Draft) -> Result<Permissions, TreeError> {
        match draft.stood() {
            Some(((parent, _), _)) => Ok(self.waiting_permissions(&parent)?.of_files()),
            None => Ok(Permissions::DIRECTORY.of_files()),
        }
    }

    /// Who may do what with a directory in which files wait: a hidden one is as what it stands in.
    pub(super) fn waiting_permissions(&self, parent: &Parent) -> Result<Permissions, TreeError> {
        match self.drafts.home(parent) {
            Some(node) => self.node_permissions(&node),
            None => Ok(Permissions::DIRECTORY),
        }
    }

    /// Visits the names in a directory, and below those that show its owner and mode.
    pub fn visit_below(
        &self,
        directory: &Place,
        visit: &mut impl FnMut(Below<'_>),
    ) -> Result<(), TreeError> {
        let mut last: Option<OsString> = None;
        loop {
            let page = match self.list(directory, last.as_deref(), PAGE) {
                // Gone meanwhile, with what was in it.
                Err(TreeError::NotFound) => return Ok(()),
                page => page?,
            };
            for row in &page {
                let place = &row.found.place;
                let shows = matches!(place, Place::Node(node) if Owner::kept_by(node).is_none());
                visit(Below {
                    parent: directory,
                    name: &row.name,
                    place,
                    shows,
                });
                if shows && row.found.attributes.kind == FileKind::Directory {
                    self.visit_below(place, visit)?;
                }
            }
            match page.last() {
                Some(row) if page.len() == PAGE => last = Some(row.name.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Returns `true` if directories stand in this one that can be moved with what is in them.
    pub fn holds_movable(&self, directory: &Place) -> bool {
        matches!(
            directory,
            Place::Plain(_) | Place::Node(Node::Repositories | Node::Namespace(_))
        )
    }

    /// Makes a repository, or a directory on the way to one, that belongs to somebody.
    pub(super) fn make_namespace(
        &self,
        namespace: &Namespace,
        new: Permissions,
    ) -> Result<(), TreeError> {
        Ok(self
            .registry
            .directories()
            .make_owned(namespace, new.into())?)
    }

    /// chmod and chown of the top of the mount, which keeps them.
    pub(super) fn change_top(&self, now: Permissions, change: Change) -> Result<(), TreeError> {
        self.keep(&Owner::Mountpoint, now, change)
    }

    /// chmod and chown of a node: kept by a repository and by what is above; below them
    /// accepted from root, since containers of registries change everything when they start,
    /// and from others if it is as it was.
    pub(super) fn change_node(
        &self,
        node: &Node,
        now: &Attributes,
        change: Change,
        writer: Writer,
    ) -> Result<(), TreeError> {
        let now = now.permissions;
        if let Some(owner) = Owner::kept_by(node) {
            return self.keep(&owner, now, change);
        }
        let same =
            change.uid.or(change.gid).is_none() && change.mode.is_none_or(|mode| mode == now.mode);
        if same || writer.uid == 0 {
            return Ok(());
        }
        Err(TreeError::NotPermitted(
            "owner and mode are kept for each repository and for the blobs: change those",
        ))
    }

    fn keep(&self, of: &Owner, now: Permissions, change: Change) -> Result<(), TreeError> {
        // What the daemon itself owns is the mount's own, as of plain files.
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
