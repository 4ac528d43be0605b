//! Renaming a repository or a directory above repositories, with the pending and open files below.

use std::ffi::OsStr;
use std::sync::Arc;

use super::handle::HandleTarget;
use super::{Handle, Place, Relocation, Tree, TreeError};
use crate::layout::Node;
use crate::name::{Namespace, REPOSITORY_BYTES_MAX};
use crate::registry::Error;

impl Tree {
    /// Renames a repository or a directory above repositories to a name in `parent`.
    pub(super) fn relocate(
        &self,
        from: &Namespace,
        parent: &Node,
        name: &OsStr,
    ) -> Result<Place, TreeError> {
        let to = renamed(parent, name)?;
        if to.moved(from, from).is_some() && to != *from {
            return Err(TreeError::IntoItself);
        }
        if from.moved(&to, &to).is_some() && to != *from {
            return Err(TreeError::NotEmpty);
        }
        let relocation = Relocation {
            from: from.clone(),
            to,
        };
        if relocation.to != *from {
            let _exclusive = self.relocating.write();
            self.registry.directories().rename(from, &relocation.to)?;
            self.pending_files.follow(&relocation);
            self.recently_dropped.follow(&relocation);
            self.rejections.lock().follow(&relocation);
        }
        Ok(Place::Node(Node::Namespace(relocation.to)))
    }

    /// Returns an open file as it is after a rename; `None` if the rename does not concern it.
    pub fn relocated(&self, handle: &Handle, relocation: &Relocation) -> Option<Arc<Handle>> {
        let open = match &handle.open {
            HandleTarget::Rendered(node, content, attributes) => {
                let node = relocation.node(node)?;
                HandleTarget::Rendered(node, content.clone(), attributes.clone())
            }
            HandleTarget::Pending(pending, Some(place)) => {
                HandleTarget::Pending(Arc::clone(pending), Some(relocation.place(place)?))
            }
            HandleTarget::Pending(_, None)
            | HandleTarget::Control(..)
            | HandleTarget::Blob(..)
            | HandleTarget::Upload(..)
            | HandleTarget::Plain(..) => return None,
        };
        Some(Handle::new(open, handle.access()))
    }
}

/// Returns the namespace that a name in a directory of namespaces stands for.
fn renamed(parent: &Node, name: &OsStr) -> Result<Namespace, TreeError> {
    let invalid = || TreeError::InvalidName {
        parent: parent.to_string(),
        name: name.to_string_lossy().into_owned(),
    };
    let text = name.to_str().ok_or_else(invalid)?;
    let whole = match parent {
        Node::Namespace(above) => format!("{above}/{text}"),
        _ => text.to_owned(),
    };
    if whole.len() > REPOSITORY_BYTES_MAX {
        return Err(TreeError::Registry(Error::NameTooLong {
            name: whole,
            max: REPOSITORY_BYTES_MAX,
        }));
    }
    match parent.child(text) {
        Some(Node::Namespace(new)) => Ok(new),
        _ => Err(invalid()),
    }
}
