//! Places: the files and directories of the mount, whatever keeps them.

use std::path::PathBuf;

use super::own::OwnFile;
use crate::layout::Node;
use crate::name::LinkSet;

/// A file or directory of the mount, whatever keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Outside the registry root: a plain file at this path below the top.
    Plain(PathBuf),
    /// Of the registry's layout: shown from facts.
    Node(Node),
    /// A file being written that is no fact yet.
    Draft(u64),
    /// A directory in which programs let files wait, which no listing shows.
    Hidden(u64),
    /// Below `.regfs`.
    Own(OwnFile),
}

impl Place {
    /// Whether what stands here is another file once something was moved here, not other content
    /// of the same.
    pub fn is_replaced(&self) -> bool {
        matches!(self, Self::Plain(_) | Self::Node(Node::UploadData(..)))
    }

    /// The name of a place of the layout.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Node(node) => Some(node.name()),
            Self::Plain(_) | Self::Draft(_) | Self::Hidden(_) | Self::Own(_) => None,
        }
    }

    /// The directories of the layout above a place of it, from the nearest on.
    pub fn above(&self) -> impl Iterator<Item = Self> {
        let parent = match self {
            Self::Node(node) => node.parent(),
            Self::Plain(_) | Self::Draft(_) | Self::Hidden(_) | Self::Own(_) => None,
        };
        std::iter::successors(parent, Node::parent).map(Self::Node)
    }

    /// The directory beside those above that is there because this is: a repository that has
    /// the directory of a revision shows that of its layers, made or not.
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
