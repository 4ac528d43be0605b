//! A relocation: a renamed namespace, and the new places of everything below it. It does not
//! rename.

use super::place::Place;
use crate::layout::{self, Node};
use crate::name::{Namespace, RepositoryName};

/// A rename of a namespace.
#[derive(Clone, Debug)]
pub struct Relocation {
    pub(super) from: Namespace,
    pub(super) to: Namespace,
}

impl Relocation {
    /// Returns the relocation that moving one place to another means; `None` if neither is a
    /// namespace.
    pub fn of(old: &Place, new: &Place) -> Option<Self> {
        match (old, new) {
            (Place::Node(Node::Namespace(from)), Place::Node(Node::Namespace(to))) => Some(Self {
                from: from.clone(),
                to: to.clone(),
            }),
            _ => None,
        }
    }

    /// Returns the new node of a node below the namespace; `None` for other nodes.
    pub(super) fn node(&self, node: &Node) -> Option<Node> {
        node.moved(&self.from, &self.to)
    }

    /// Returns the new place of a place below the namespace; `None` for other places.
    pub fn place(&self, place: &Place) -> Option<Place> {
        match place {
            Place::Node(node) => self.node(node).map(Place::Node),
            Place::Plain(_) | Place::Pending(_) | Place::Hidden(_) | Place::Control(_) => None,
        }
    }

    /// Returns the new name of a repository below the namespace; `None` for other repositories.
    pub(super) fn repository(&self, name: &RepositoryName) -> Option<RepositoryName> {
        layout::moved(name, &self.from, &self.to)
    }
}
