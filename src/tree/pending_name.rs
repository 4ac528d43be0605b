//! Names of pending files and hidden directories: the directory and the name in it.

use std::ffi::{OsStr, OsString};

use super::relocation::Relocation;
use crate::layout::Node;

/// A directory that can hold pending files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum PendingParent {
    /// A directory of the layout.
    Node(Node),
    /// A hidden directory, by its id.
    Hidden(u64),
}

impl PendingParent {
    /// Applies a rename of a namespace.
    pub(super) fn follow(&mut self, relocation: &Relocation) {
        if let Self::Node(node) = self
            && let Some(moved) = relocation.node(node)
        {
            *node = moved;
        }
    }

    /// Returns the path of a name in this directory, for messages.
    pub(super) fn shown(&self, name: &OsStr) -> String {
        match self {
            Self::Node(node) => format!("{node}/{}", name.display()),
            Self::Hidden(_) => format!("a hidden directory/{}", name.display()),
        }
    }
}

/// A directory and a name in it.
pub(super) type PendingName = (PendingParent, OsString);
