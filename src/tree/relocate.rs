//! Relocation: a repository, or a directory on the way to some, gets another name, and what is
//! being written or open below goes with it.

use std::ffi::OsStr;
use std::sync::Arc;

use super::handle::Open;
use super::{Handle, Place, Tree, TreeError};
use crate::layout::Node;
use crate::name::{Namespace, REPOSITORY_BYTES_MAX};
use crate::registry::Error;

/// From which name to which.
#[derive(Clone, Debug)]
pub struct Relocation {
    from: Namespace,
    to: Namespace,
}

impl Relocation {
    /// The move of one place to another, if it took a part of the layout along.
    pub fn of(old: &Place, new: &Place) -> Option<Self> {
        match (old, new) {
            (Place::Node(Node::Namespace(from)), Place::Node(Node::Namespace(to))) => Some(Self {
                from: from.clone(),
                to: to.clone(),
            }),
            _ => None,
        }
    }

    /// Where a node is now, if it was moved.
    pub(super) fn node(&self, node: &Node) -> Option<Node> {
        node.moved(&self.from, &self.to)
    }

    /// Where a place is now, if it was moved.
    pub fn place(&self, place: &Place) -> Option<Place> {
        match place {
            Place::Node(node) => self.node(node).map(Place::Node),
            Place::Plain(_) | Place::Draft(_) | Place::Hidden(_) | Place::Own(_) => None,
        }
    }

    /// What a repository is called now, if it was moved.
    pub(super) fn repository(
        &self,
        name: &crate::name::RepositoryName,
    ) -> Option<crate::name::RepositoryName> {
        crate::layout::moved(name, &self.from, &self.to)
    }
}

impl Tree {
    /// Gives a repository, or a directory on the way to some, this name in a directory. Returns
    /// its new place.
    pub(super) fn relocate(
        &self,
        from: &Namespace,
        parent: &Node,
        name: &OsStr,
    ) -> Result<Place, TreeError> {
        let to = new_name(parent, name)?;
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
            let _alone = self.relocating.write();
            self.registry.directories().rename(from, &relocation.to)?;
            self.drafts.follow(&relocation);
            self.lingering.follow(&relocation);
            self.rejected.lock().follow(&relocation);
        }
        Ok(Place::Node(Node::Namespace(relocation.to)))
    }

    /// An open file as it is to be from now on, if what it shows has moved.
    pub fn relocated(&self, handle: &Handle, relocation: &Relocation) -> Option<Arc<Handle>> {
        let open = match &handle.open {
            Open::Shown(node, content, attributes) => {
                let node = relocation.node(node)?;
                Open::Shown(node, content.clone(), attributes.clone())
            }
            Open::Draft(draft, Some(place)) => {
                Open::Draft(Arc::clone(draft), Some(relocation.place(place)?))
            }
            Open::Draft(_, None)
            | Open::Own(..)
            | Open::Blob(..)
            | Open::Upload(..)
            | Open::Plain(..) => return None,
        };
        Some(Handle::new(open, handle.access()))
    }
}

/// What something is called that gets a name in a directory on the way to repositories.
fn new_name(parent: &Node, name: &OsStr) -> Result<Namespace, TreeError> {
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
