//! Attributes, inode numbers and content of the files and directories of the layout.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Attributes, Place, Tree, TreeError, inode_number};
use crate::layout::Node;
use crate::name::LinkSet;
use crate::registry::Queries;

/// Refuses to create or remove a directory that every registry's storage has.
pub(super) fn must_come_and_go(node: &Node) -> Result<(), TreeError> {
    if node.is_fixed() {
        let reason = "every registry's storage has this directory";
        return Err(TreeError::NotPermitted(reason));
    }
    Ok(())
}

impl Tree {
    fn node_number(&self, node: &Node) -> Result<u64, TreeError> {
        let queries = &mut self.registry.queries();
        Ok(inode_number::node(
            node,
            inode_number::within(queries, node)?,
        ))
    }

    /// Returns the inode numbers of a place and of the directory that holds it.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] if a plain file does not exist; otherwise the error of the index or
    /// of the host.
    pub fn inode_numbers(&self, place: &Place) -> Result<(u64, u64), TreeError> {
        let plain = |path| Ok::<_, TreeError>(self.plain.attributes(path)?.number);
        Ok(match place {
            Place::Plain(path) => (plain(path)?, plain(path.parent().unwrap_or(path))?),
            Place::Node(node) => match node.parent() {
                Some(parent) => (self.node_number(node)?, self.node_number(&parent)?),
                None => (self.node_number(node)?, plain(self.plain.root())?),
            },
            Place::Pending(id) => (inode_number::pending(*id), inode_number::TOP),
            Place::Hidden(id) => (inode_number::hidden(*id), inode_number::hidden(*id)),
            Place::Control(file) => (inode_number::control(*file), inode_number::TOP),
        })
    }

    /// Returns a stored time, or the time of the store if none is stored (1970).
    pub(super) fn time_or_default(&self, stored: SystemTime) -> SystemTime {
        if stored == UNIX_EPOCH {
            self.store_created
        } else {
            stored
        }
    }

    pub(super) fn node_attributes(&self, node: &Node) -> Result<Attributes, TreeError> {
        Ok(Attributes {
            permissions: self.node_permissions(node)?,
            ..self.bare_attributes(node)?
        })
    }

    /// Returns the attributes with default permissions.
    fn bare_attributes(&self, node: &Node) -> Result<Attributes, TreeError> {
        let queries = &mut self.registry.queries();
        if node.is_directory() {
            let changed = queries.directory(node)?.ok_or(TreeError::NotFound)?;
            let number = inode_number::node(node, inode_number::within(queries, node)?);
            return Ok(Attributes::directory(number, self.time_or_default(changed)));
        }
        let (size, modified) = self.file(queries, node)?;
        let number = inode_number::node(node, inode_number::within(queries, node)?);
        Ok(Attributes::file(number, size, modified))
    }

    /// Returns `true` if a place stays until somebody removes it by name. A pending file does not,
    /// nor does the `_layers` directory of a repository that only revisions make visible.
    ///
    /// # Errors
    /// The error of the index.
    pub fn is_cacheable(&self, place: &Place) -> Result<bool, TreeError> {
        Ok(match place {
            Place::Node(layers @ Node::Links(_, LinkSet::Layers)) => {
                self.registry.queries().was_made(layers)?
            }
            Place::Node(_) | Place::Plain(_) => true,
            Place::Pending(_) | Place::Hidden(_) | Place::Control(_) => false,
        })
    }

    /// Returns the length of a file in bytes, and its time of modification.
    fn file(&self, queries: &mut Queries<'_>, node: &Node) -> Result<(u64, SystemTime), TreeError> {
        let (target, pushed) = match node {
            Node::BlobData(digest) => return Ok(queries.blob(digest)?),
            Node::UploadData(repository, id) => {
                let data = self.registry.uploads().data(repository, id)?;
                return Ok((data.len(), data.modified().unwrap_or(self.store_created)));
            }
            Node::Link(repository, set, digest) => queries.link(repository, set, digest)?,
            Node::CurrentLink(repository, tag) => queries.current(repository, tag)?,
            _ => {
                let (content, modified) = content(queries, node)?;
                return Ok((content.len() as u64, modified));
            }
        };
        Ok((target.text_len() as u64, pushed))
    }
}

/// Returns the content of a small file, and its time of modification.
pub(super) fn content(
    queries: &mut Queries<'_>,
    node: &Node,
) -> Result<(Vec<u8>, SystemTime), TreeError> {
    let (target, pushed) = match node {
        Node::Link(repository, set, digest) => queries.link(repository, set, digest)?,
        Node::CurrentLink(repository, tag) => queries.current(repository, tag)?,
        Node::StartedAt(repository, id) => {
            return Ok(queries.started_at(repository, id)?);
        }
        Node::HashState(repository, id, algorithm, offset) => {
            return Ok(queries.hash_state(repository, id, *algorithm, *offset)?);
        }
        _ => return Err(TreeError::IsDirectory),
    };
    Ok((target.to_string().into_bytes(), pushed))
}
