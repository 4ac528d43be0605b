//! Renames: how what was written under one name gets its own.
//!
//! Registries rename just two things: an upload's bytes to a blob, and since 3.1 a temporary
//! file to the file it is for. People's programs rename temporary files too, plain files, and
//! repositories. Everything else can be copied, which is what mv does when told that it crosses
//! devices.

use std::ffi::OsStr;

use rustix::fs::RenameFlags;

use super::drafts::{Name, Parent};
use super::target::Target;
use super::{ChangeKind, FileKind, Place, Tree, TreeChange, TreeError, Writer, node};
use crate::layout::Node;

impl Tree {
    /// Makes two plain files change their places.
    pub fn exchange(
        &self,
        one: (&Place, &OsStr),
        other: (&Place, &OsStr),
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.writable()?;
        let writer = Writer::default();
        let first = self.lookup(one.0, one.1, writer)?.place;
        let second = self.lookup(other.0, other.1, writer)?.place;
        let (Place::Plain(old), Place::Plain(new)) = (&first, &second) else {
            return Err(TreeError::CrossDevice);
        };
        self.plain.rename(old, new, RenameFlags::EXCHANGE)?;
        Ok(vec![TreeChange::exchanged(first, second).requested()])
    }

    /// Moves a name to another. The place that had the name is removed if the file was a drop,
    /// which has no name of its own any more.
    pub fn rename(
        &self,
        from: (&Place, &OsStr),
        to: (&Place, &OsStr),
        replace: bool,
        writer: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.writable()?;
        let moved = self.lookup(from.0, from.1, writer)?;
        if !replace && self.lookup(to.0, to.1, writer).is_ok() {
            return Err(TreeError::Exists);
        }
        let new = match (&moved.place, to.0) {
            (Place::Plain(path), Place::Plain(directory)) => {
                if self.mounted_at(directory, to.1).is_some() {
                    return Err(TreeError::NotPermitted("something of ours stands there"));
                }
                let new = directory.join(to.1);
                let flags = if replace {
                    RenameFlags::empty()
                } else {
                    RenameFlags::NOREPLACE
                };
                self.plain.rename(path, &new, flags)?;
                Place::Plain(new)
            }
            (Place::Draft(id), Place::Node(parent)) => {
                return self.rename_draft(*id, parent, to.1);
            }
            (Place::Draft(id), Place::Hidden(parent)) => {
                self.wait_as(*id, (Parent::Hidden(*parent), to.1.to_owned()))?
            }
            (
                Place::Node(Node::Namespace(from)),
                Place::Node(parent @ (Node::Repositories | Node::Namespace(_))),
            ) => self.relocate(from, parent, to.1)?,
            (Place::Node(node), Place::Node(parent)) => {
                let name = to.1.to_str().and_then(|name| parent.child(name));
                let new = name.ok_or(TreeError::CrossDevice)?;
                let renamed = self.rename_node(node, &new, moved.attributes.kind);
                renamed.inspect_err(|error| {
                    if matches!(error, TreeError::Registry(_)) {
                        self.reject(writer, node.repository(), &new.to_string(), error);
                    }
                })?;
                Place::Node(new)
            }
            _ => return Err(TreeError::CrossDevice),
        };
        Ok(vec![TreeChange::renamed(moved.place, new).requested()])
    }

    /// A file that was being written gets its name, and with it becomes what the name says.
    fn rename_draft(
        &self,
        id: u64,
        parent: &Node,
        name: &OsStr,
    ) -> Result<Vec<TreeChange>, TreeError> {
        let draft = self.draft(id)?;
        let target = Target::of(parent, name)?;
        self.node_attributes(parent)?;
        if target == Target::Later {
            let new = self.wait_as(id, (Parent::Node(parent.clone()), name.to_owned()))?;
            return Ok(vec![TreeChange::renamed(Place::Draft(id), new).requested()]);
        }
        if self.drafts.get(id).is_none() {
            // Dropped a moment ago: it can become something else too.
            self.go_on(&draft)?;
            self.lingering.forget(id);
        }
        let old = std::mem::replace(&mut draft.hold().target, target);
        draft.hold().path = format!("{parent}/{}", name.display());
        draft.hold().version += 1;
        match self.commit(&draft) {
            Ok(changes) => {
                self.drafts.remove(&draft);
                Ok(named(Place::Draft(id), changes))
            }
            Err(error) => {
                draft.hold().target = old;
                Err(error)
            }
        }
    }

    /// A file that waits goes on waiting under another name. One that was dropped a moment ago
    /// cannot wait again.
    fn wait_as(&self, id: u64, name: Name) -> Result<Place, TreeError> {
        let draft = self.drafts.get(id).ok_or(TreeError::CrossDevice)?;
        self.drafts.rename(&draft, name)?;
        Ok(Place::Draft(id))
    }

    fn rename_node(&self, from: &Node, to: &Node, kind: FileKind) -> Result<(), TreeError> {
        if from == to {
            return Ok(());
        }
        if let (Node::UploadData(repository, id), Node::BlobData(digest)) = (from, to) {
            self.node_attributes(&Node::BlobDirectory(*digest))?;
            self.registry.publish_upload(repository, id, digest)?;
            return Ok(());
        }
        if let (Node::UploadData(from, one), Node::UploadData(to, other)) = (from, to) {
            self.registry
                .uploads()
                .move_data((from, one), (to, other))?;
            return Ok(());
        }
        if kind != FileKind::Directory || !to.is_directory() {
            return Err(TreeError::CrossDevice);
        }
        self.rename_directory(from, to)
    }

    /// An empty directory is moved by making the new one; one that holds facts is copied.
    fn rename_directory(&self, from: &Node, to: &Node) -> Result<(), TreeError> {
        node::must_come_and_go(from)?;
        node::must_come_and_go(to)?;
        if !self.list(&Place::Node(from.clone()), None, 1)?.is_empty() {
            return Err(TreeError::CrossDevice);
        }
        if self.registry.queries().directory(to)?.is_some() {
            if !self.list(&Place::Node(to.clone()), None, 1)?.is_empty() {
                return Err(TreeError::NotEmpty);
            }
        } else {
            self.registry.directories().make(to)?;
        }
        Ok(self.registry.directories().remove(from)?)
    }
}

/// What a rename has changed that made a draft a fact: its own name is gone, if it has no other.
fn named(draft: Place, mut changes: Vec<TreeChange>) -> Vec<TreeChange> {
    let renamed = changes
        .iter_mut()
        .find(|change| change.place == draft && matches!(change.kind, ChangeKind::RenamedTo(_)));
    match renamed {
        Some(change) => change.requested = true,
        None => changes.push(TreeChange::removed(draft).requested()),
    }
    changes
}
