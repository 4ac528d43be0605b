//! Renames.
//!
//! Registries rename two things only: the data of an upload to a blob, and since distribution 3.1 a
//! temporary file to its final name. Other programs also rename temporary files, plain files and
//! repositories. Every other rename fails as one between devices, so that mv copies.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::RenameFlags;

use super::pending_name::{PendingName, PendingParent};
use super::write_intent::WriteIntent;
use super::{ChangeKind, FileKind, Place, Tree, TreeChange, TreeError, Writer, node};
use crate::layout::Node;

impl Tree {
    /// Exchanges two plain files. Returns the change.
    ///
    /// # Errors
    /// [`TreeError::NotFound`]; [`TreeError::ReadOnly`]; [`TreeError::CrossDevice`] for files that
    /// are not plain; otherwise the error of the host.
    pub fn exchange(
        &self,
        one: (&Place, &OsStr),
        other: (&Place, &OsStr),
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.require_writable()?;
        let writer = Writer::default();
        let first = self.lookup(one.0, one.1, writer)?.place;
        let second = self.lookup(other.0, other.1, writer)?.place;
        let (Place::Plain(old), Place::Plain(new)) = (&first, &second) else {
            return Err(TreeError::CrossDevice);
        };
        self.plain.rename(old, new, RenameFlags::EXCHANGE)?;
        Ok(vec![TreeChange::exchanged(first, second).requested()])
    }

    /// Renames a file or directory. Returns the place that was renamed; `became` of the outcome is
    /// its new place, or `None` if it was dropped into a directory of manifests or layers, so that
    /// it has no name any more. Without `replace` the new name must not exist.
    ///
    /// # Errors
    /// [`TreeError::NotFound`]; [`TreeError::Exists`]; [`TreeError::NotEmpty`];
    /// [`TreeError::IntoItself`]; [`TreeError::ReadOnly`]; [`TreeError::InvalidName`];
    /// [`TreeError::CrossDevice`] if the file has to be copied; [`TreeError::Registry`] if the
    /// content is refused, which is recorded in `.regfs/rejected`; otherwise the error of the
    /// index, of the blob store or of the host.
    pub fn rename(
        &self,
        from: (&Place, &OsStr),
        to: (&Place, &OsStr),
        replace: bool,
        writer: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.require_writable()?;
        let moved = self.lookup(from.0, from.1, writer)?;
        if !replace && self.lookup(to.0, to.1, writer).is_ok() {
            return Err(TreeError::Exists);
        }
        let new = match (&moved.place, to.0) {
            (Place::Plain(path), Place::Plain(directory)) => {
                self.rename_plain(path, (directory, to.1), replace)?
            }
            (Place::Pending(id), Place::Node(parent)) => {
                return self.rename_pending(*id, parent, to.1);
            }
            (Place::Pending(id), Place::Hidden(parent)) => {
                self.rename_pending_to(*id, (PendingParent::Hidden(*parent), to.1.to_owned()))?
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

    fn rename_plain(
        &self,
        path: &Path,
        (directory, name): (&Path, &OsStr),
        replace: bool,
    ) -> Result<Place, TreeError> {
        if self.mounted_at(directory, name).is_some() {
            return Err(TreeError::NotPermitted(
                "a directory of the mount has this name",
            ));
        }
        let new = directory.join(name);
        let flags = if replace {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        self.plain.rename(path, &new, flags)?;
        Ok(Place::Plain(new))
    }

    /// Renames a pending file to a name that decides what it becomes, and commits it.
    fn rename_pending(
        &self,
        id: u64,
        parent: &Node,
        name: &OsStr,
    ) -> Result<Vec<TreeChange>, TreeError> {
        let pending = self.pending(id)?;
        let intent = WriteIntent::of(parent, name)?;
        self.node_attributes(parent)?;
        if intent == WriteIntent::AwaitRename {
            let name = (PendingParent::Node(parent.clone()), name.to_owned());
            let new = self.rename_pending_to(id, name)?;
            return Ok(vec![
                TreeChange::renamed(Place::Pending(id), new).requested(),
            ]);
        }
        if self.pending_files.get(id).is_none() {
            // Its content is a fact already and can become another one too.
            self.restage(&pending)?;
            self.recently_dropped.forget(id);
        }
        let old = std::mem::replace(&mut pending.lock().intent, intent);
        pending.lock().path = format!("{parent}/{}", name.display());
        pending.lock().version += 1;
        match self.commit(&pending) {
            Ok(changes) => {
                self.pending_files.remove(&pending);
                Ok(named(Place::Pending(id), changes))
            }
            Err(error) => {
                pending.lock().intent = old;
                Err(error)
            }
        }
    }

    /// Renames a pending file to a name under which it awaits the next rename. A recently dropped
    /// file cannot be renamed so.
    fn rename_pending_to(&self, id: u64, name: PendingName) -> Result<Place, TreeError> {
        let pending = self.pending_files.get(id).ok_or(TreeError::CrossDevice)?;
        self.pending_files.rename(&pending, name)?;
        Ok(Place::Pending(id))
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

    /// Moves an empty directory by creating the new one and removing the old one. A directory that
    /// holds facts has to be copied.
    fn rename_directory(&self, from: &Node, to: &Node) -> Result<(), TreeError> {
        node::must_come_and_go(from)?;
        node::must_come_and_go(to)?;
        if !self
            .listings()
            .list(&Place::Node(from.clone()), None, 1)?
            .is_empty()
        {
            return Err(TreeError::CrossDevice);
        }
        if self.registry.queries().directory(to)?.is_some() {
            if !self
                .listings()
                .list(&Place::Node(to.clone()), None, 1)?
                .is_empty()
            {
                return Err(TreeError::NotEmpty);
            }
        } else {
            self.registry.directories().make(to)?;
        }
        Ok(self.registry.directories().remove(from)?)
    }
}

/// Returns the changes of a rename that committed a pending file: its own name is gone if it has
/// become a file without a name of its own.
fn named(pending: Place, mut changes: Vec<TreeChange>) -> Vec<TreeChange> {
    let renamed = changes
        .iter_mut()
        .find(|change| change.place == pending && matches!(change.kind, ChangeKind::RenamedTo(_)));
    match renamed {
        Some(change) => change.requested = true,
        None => changes.push(TreeChange::removed(pending).requested()),
    }
    changes
}
