//! Removal: of files, and of directories that are empty.

use std::ffi::OsStr;

use super::{Place, Tree, TreeChange, TreeError, Writer, node};
use crate::layout::Node;
use crate::registry::Error;

impl Tree {
    /// Removes a file.
    pub fn remove_file(
        &self,
        parent: &Place,
        name: &OsStr,
        asker: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.writable()?;
        let place = self.lookup(parent, name, asker)?.place;
        match &place {
            Place::Plain(path) => self.plain.remove_file(path)?,
            Place::Node(node) => self.remove_node(node).inspect_err(|error| {
                if let TreeError::Registry(Error::Referenced { .. }) = error {
                    self.reject(asker, None, &node.to_string(), error);
                }
            })?,
            Place::Draft(id) => {
                if let Some(draft) = self.drafts.get(*id) {
                    self.drafts.remove(&draft);
                }
                self.lingering.forget(*id);
            }
            Place::Hidden(_) => return Err(TreeError::IsDirectory),
            Place::Own(_) => return Err(TreeError::NotPermitted("only we write these files")),
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

    /// Removes an empty directory.
    pub fn remove_directory(
        &self,
        parent: &Place,
        name: &OsStr,
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.writable()?;
        let place = self.lookup(parent, name, Writer::default())?.place;
        match &place {
            Place::Plain(path) => self.plain.remove_directory(path)?,
            Place::Node(node) if node.is_directory() => {
                node::must_come_and_go(node)?;
                self.registry.directories().remove(node)?;
                self.drafts.remove_below(node);
            }
            Place::Hidden(id) => self.drafts.remove_directory(*id)?,
            Place::Node(_) | Place::Draft(_) => return Err(TreeError::NotDirectory),
            Place::Own(_) => return Err(TreeError::NotPermitted("only we write these files")),
        }
        Ok(vec![TreeChange::removed(place).requested()])
    }
}
