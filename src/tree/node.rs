//! Nodes: what stat shows of a path of the layout.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Attributes, Place, Tree, TreeError, number};
use crate::layout::Node;
use crate::name::LinkSet;
use crate::registry::Queries;

/// Refuses a directory that is always there.
pub(super) fn must_come_and_go(node: &Node) -> Result<(), TreeError> {
    if node.is_fixed() {
        let reason = "every registry's storage has this directory";
        return Err(TreeError::NotPermitted(reason));
    }
    Ok(())
}

impl Tree {
    /// A kept time, or that of the store where none is kept.
    pub(super) fn dated(&self, kept: SystemTime) -> SystemTime {
        if kept == UNIX_EPOCH { self.born } else { kept }
    }

    pub(super) fn node_attributes(&self, node: &Node) -> Result<Attributes, TreeError> {
        Ok(Attributes {
            permissions: self.node_permissions(node)?,
            ..self.bare_attributes(node)?
        })
    }

    /// Attributes but for who may do what.
    fn bare_attributes(&self, node: &Node) -> Result<Attributes, TreeError> {
        let queries = &mut self.registry.queries();
        if node.is_directory() {
            let changed = queries.directory(node)?.ok_or(TreeError::NotFound)?;
            let number = number::node(node, number::within(queries, node)?);
            return Ok(Attributes::directory(number, self.dated(changed)));
        }
        let (size, kept) = self.file(queries, node)?;
        let number = number::node(node, number::within(queries, node)?);
        Ok(Attributes::file(number, size, kept))
    }

    /// Whether a place stays until it is removed itself, unlike a file being written, and a
    /// layers' directory that is there for revisions alone.
    pub fn lasts(&self, place: &Place) -> Result<bool, TreeError> {
        Ok(match place {
            Place::Node(layers @ Node::Links(_, LinkSet::Layers)) => {
                self.registry.queries().was_made(layers)?
            }
            Place::Node(_) | Place::Plain(_) => true,
            Place::Draft(_) | Place::Hidden(_) | Place::Own(_) => false,
        })
    }

    /// The length of a file's content, and its time.
    fn file(&self, queries: &mut Queries<'_>, node: &Node) -> Result<(u64, SystemTime), TreeError> {
        let (target, pushed) = match node {
            Node::BlobData(digest) => return Ok(queries.blob(digest)?),
            Node::UploadData(repository, id) => {
                let data = self.registry.uploads().data(repository, id)?;
                return Ok((data.len(), data.modified().unwrap_or(self.born)));
            }
            Node::Link(repository, set, digest) => queries.link(repository, set, digest)?,
            Node::CurrentLink(repository, tag) => queries.current(repository, tag)?,
            _ => {
                let (content, kept) = content(queries, node)?;
                return Ok((content.len() as u64, kept));
            }
        };
        Ok((target.text_len() as u64, pushed))
    }
}

/// The content of a small file, and its time.
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
