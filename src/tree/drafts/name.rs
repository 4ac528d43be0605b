//! Names of drafts: where each stands, and what it leads to. It does not say which there are.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use crate::layout::Node;
use crate::tree::Place;
use crate::tree::draft::Draft;
use crate::tree::relocate::Relocation;

/// A directory in which files may wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::tree) enum Parent {
    /// Of the layout.
    Node(Node),
    /// A hidden one, by its number.
    Hidden(u64),
}

impl Parent {
    /// Goes with what has moved.
    pub(in crate::tree) fn follow(&mut self, relocation: &Relocation) {
        if let Self::Node(node) = self
            && let Some(moved) = relocation.node(node)
        {
            *node = moved;
        }
    }

    /// A name in it, for people.
    pub(in crate::tree) fn shown(&self, name: &OsStr) -> String {
        match self {
            Self::Node(node) => format!("{node}/{}", name.display()),
            Self::Hidden(_) => format!("a hidden directory/{}", name.display()),
        }
    }
}

/// A name, and where it stands.
pub(in crate::tree) type Name = (Parent, OsString);

/// What a name leads to.
#[derive(Clone, Debug)]
pub(in crate::tree) enum Named {
    /// A file.
    File(Arc<Draft>),
    /// A hidden directory.
    Directory(u64),
}

impl Named {
    /// The place of it.
    pub(in crate::tree) fn place(&self) -> Place {
        match self {
            Self::File(draft) => Place::Draft(draft.id()),
            Self::Directory(id) => Place::Hidden(*id),
        }
    }
}
