//! Places: the files and directories of the mount, wherever their content is stored.

use std::path::PathBuf;

use super::control_file::ControlFile;
use crate::layout::Node;
use crate::name::LinkSet;

/// A file or directory of the mount.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A plain file outside the registry root, by its path below the top of the mount.
    Plain(PathBuf),
    /// A file or directory of the registry's layout, computed from facts.
    Node(Node),
    /// A pending file, by its id.
    Pending(u64),
    /// A hidden directory for temporary files of programs, which no listing shows, by its id.
    Hidden(u64),
    /// The directory `.regfs` or one of its files.
    Control(ControlFile),
}

impl Place {
    /// Returns `true` if a rename onto this place replaces the file; `false` if the file stays
    /// and gets other content.
    pub fn is_replaced(&self) -> bool {
        matches!(self, Self::Plain(_) | Self::Node(Node::UploadData(..)))
    }

    /// Returns the name of a place of the layout; `None` for other places.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Node(node) => Some(node.name()),
            Self::Plain(_) | Self::Pending(_) | Self::Hidden(_) | Self::Control(_) => None,
        }
    }

    /// Returns the directories of the layout above a place of the layout, the nearest first.
    /// Empty for other places.
    pub fn above(&self) -> impl Iterator<Item = Self> {
        let parent = match self {
            Self::Node(node) => node.parent(),
            Self::Plain(_) | Self::Pending(_) | Self::Hidden(_) | Self::Control(_) => None,
        };
        std::iter::successors(parent, Node::parent).map(Self::Node)
    }

    /// Returns the directory that exists because this place exists, other than those above it: a
    /// repository that has the directory of a revision shows `_layers` too, created or not.
    pub fn implies(&self) -> Option<Self> {
        match self {
            Self::Node(Node::LinkDirectory(repository, LinkSet::Revisions, _)) => {
                let layers = Node::Links(repository.clone(), LinkSet::Layers);
                Some(Self::Node(layers))
            }
            _ => None,
        }
    }
}
