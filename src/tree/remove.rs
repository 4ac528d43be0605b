//! Removal of files and of empty directories.

use std::ffi::OsStr;

use super::{Place, Tree, TreeChange, TreeError, Writer, node};
use crate::layout::Node;
use crate::registry::Error;

impl Tree {
    /// Removes a file. Returns the change.
    ///
    /// # Errors
    /// [`TreeError::NotFound`]; [`TreeError::IsDirectory`]; [`TreeError::ReadOnly`];
    /// [`TreeError::NotPermitted`] for a control file; [`TreeError::Registry`] if a manifest
    /// references the blob and the mount guards against that, which is recorded in
    /// `.regfs/rejected`; otherwise the error of the index, of the blob store or of the host.
    pub fn remove_file(
        &self,
        parent: &Place,
        name: &OsStr,
        caller: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.require_writable()?;
        let place = self.lookup(parent, name, caller)?.place;
        match &place {
            Place::Plain(path) => self.plain.remove_file(path)?,
            Place::Node(node) => self.remove_node(node).inspect_err(|error| {
                if let TreeError::Registry(Error::Referenced { .. }) = error {
                    self.reject(caller, None, &node.to_string(), error);
                }
            })?,
            Place::Pending(id) => {
                if let Some(pending) = self.pending_files.get(*id) {
                    self.pending_files.remove(&pending);
                }
                self.recently_dropped.forget(*id);
            }
            Place::Hidden(_) => return Err(TreeError::IsDirectory),
            Place::Control(_) => {
                return Err(TreeError::NotPermitted("control files cannot be removed"));
            }
        }
        Ok(vec![TreeChange::removed(place).requested()])
    }

    fn remove_node(&self, node: &Node) -> Result<(), TreeError> {
        let registry = &self.registry;
        match node {
            Node::BlobData(digest) => registry.remove_blob(digest)?,
            Node::Link(repository, set, digest) => {
                registry.links().remove(repository, set, digest)?;
            }
            Node::CurrentLink(repository, tag) => {
                registry.links().remove_current(repository, tag)?;
            }
            Node::StartedAt(repository, id) => {
                registry.uploads().remove_started_at(repository, id)?;
            }
            Node::UploadData(repository, id) => registry.uploads().remove_data(repository, id)?,
            Node::HashState(repository, id, algorithm, offset) => {
                registry
                    .uploads()
                    .remove_hash_state(repository, id, *algorithm, *offset)?;
            }
            _ => return Err(TreeError::IsDirectory),
        }
        Ok(())
    }

    /// Removes an empty directory. Returns the change.
    ///
    /// # Errors
    /// [`TreeError::NotFound`]; [`TreeError::NotDirectory`]; [`TreeError::NotEmpty`];
    /// [`TreeError::ReadOnly`]; [`TreeError::NotPermitted`] if every registry's storage has the
    /// directory; otherwise the error of the index or of the host.
    pub fn remove_directory(
        &self,
        parent: &Place,
        name: &OsStr,
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.require_writable()?;
        let place = self.lookup(parent, name, Writer::default())?.place;
        match &place {
            Place::Plain(path) => self.plain.remove_directory(path)?,
            Place::Node(node) if node.is_directory() => {
                node::must_come_and_go(node)?;
                self.registry.directories().remove(node)?;
                self.pending_files.remove_below(node);
            }
            Place::Hidden(id) => self.pending_files.remove_directory(*id)?,
            Place::Node(_) | Place::Pending(_) => return Err(TreeError::NotDirectory),
            Place::Control(_) => {
                return Err(TreeError::NotPermitted("control files cannot be removed"));
            }
        }
        Ok(vec![TreeChange::removed(place).requested()])
    }
}
