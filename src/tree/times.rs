//! Times: what utimes(2) does to files of the layout, and to those that are being written.

use std::time::SystemTime;

use super::{Change, Place, Tree, TreeError};
use crate::layout::Node;
use crate::registry::seconds;

impl Tree {
    /// Sets the time of a place that is no plain file, if a change has one, as far as it is kept.
    pub(super) fn set_time(&self, place: &Place, change: Change) -> Result<(), TreeError> {
        let Some(when) = change.modified else {
            return Ok(());
        };
        match place {
            Place::Node(node) => self.set_node_time(node, when),
            Place::Draft(id) => {
                // One that has become a fact meanwhile is asked for by its name.
                if let Ok(draft) = self.draft(*id) {
                    draft.hold().modified = Some(when);
                }
                Ok(())
            }
            Place::Plain(_) | Place::Hidden(_) | Place::Own(_) => Ok(()),
        }
    }

    /// Sets the time of a file or directory of the layout.
    pub(super) fn set_node_time(&self, node: &Node, when: SystemTime) -> Result<(), TreeError> {
        let (registry, kept) = (&self.registry, seconds(when));
        match node {
            Node::BlobData(digest) => registry.set_blob_time(digest, kept)?,
            Node::Link(repository, set, digest) => {
                registry.links().set_time(repository, set, digest, kept)?;
            }
            Node::CurrentLink(repository, tag) => {
                registry.links().set_current_time(repository, tag, kept)?;
            }
            Node::StartedAt(repository, id) => {
                registry.uploads().set_started_time(repository, id, kept)?;
            }
            Node::HashState(repository, id, algorithm, offset) => {
                registry
                    .uploads()
                    .set_hash_state_time(repository, id, *algorithm, *offset, kept)?;
            }
            Node::UploadData(repository, id) => {
                let data = registry.uploads().data(repository, id)?;
                data.set_modified(when).map_err(|error| TreeError::Plain {
                    path: node.to_string(),
                    error,
                })?;
            }
            directory => registry.directories().set_time(directory, kept)?,
        }
        Ok(())
    }
}

/// The directories whose time follows that of a place: they hold nothing else.
pub(super) fn dated_by(place: &Place) -> Vec<Place> {
    let nodes = match place {
        Place::Node(Node::BlobData(digest)) => vec![Node::BlobDirectory(*digest)],
        Place::Node(Node::Link(repository, set, digest)) => {
            let directory = Node::LinkDirectory(repository.clone(), set.clone(), *digest);
            vec![directory]
        }
        Place::Node(Node::CurrentLink(repository, tag)) => vec![
            Node::Current(repository.clone(), tag.clone()),
            Node::Tag(repository.clone(), tag.clone()),
        ],
        _ => Vec::new(),
    };
    nodes.into_iter().map(Place::Node).collect()
}
