//! Times: utimes(2) of files of the layout and of pending files.

use std::time::SystemTime;

use super::{Change, Place, Tree, TreeError};
use crate::layout::Node;
use crate::registry::seconds;

impl Tree {
    /// Sets the time of modification of a place that is not a plain file, if the change has one and
    /// the place stores it.
    pub(super) fn set_time(&self, place: &Place, change: Change) -> Result<(), TreeError> {
        let Some(when) = change.modified else {
            return Ok(());
        };
        match place {
            Place::Node(node) => self.set_node_time(node, when),
            Place::Pending(id) => {
                // A file whose content is a fact by now is found by its name instead.
                if let Ok(pending) = self.pending(*id) {
                    pending.lock().modified = Some(when);
                }
                Ok(())
            }
            Place::Plain(_) | Place::Hidden(_) | Place::Control(_) => Ok(()),
        }
    }

    /// Sets the time of modification of a file or directory of the layout.
    pub(super) fn set_node_time(&self, node: &Node, when: SystemTime) -> Result<(), TreeError> {
        let (registry, stored) = (&self.registry, seconds(when));
        match node {
            Node::BlobData(digest) => registry.set_blob_time(digest, stored)?,
            Node::Link(repository, set, digest) => {
                registry.links().set_time(repository, set, digest, stored)?;
            }
            Node::CurrentLink(repository, tag) => {
                registry.links().set_current_time(repository, tag, stored)?;
            }
            Node::StartedAt(repository, id) => registry
                .uploads()
                .set_started_time(repository, id, stored)?,
            Node::HashState(repository, id, algorithm, offset) => {
                registry
                    .uploads()
                    .set_hash_state_time(repository, id, *algorithm, *offset, stored)?;
            }
            Node::UploadData(repository, id) => {
                let data = registry.uploads().data(repository, id)?;
                data.set_modified(when).map_err(|error| TreeError::Plain {
                    path: node.to_string(),
                    error,
                })?;
            }
            directory => registry.directories().set_time(directory, stored)?,
        }
        Ok(())
    }
}

/// Returns the directories that show the time of a place, since they hold nothing else.
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
