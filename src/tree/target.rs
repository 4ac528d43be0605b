//! Targets: what a file becomes that is written under a name in the layout.
//!
//! Told from directory and name alone. A name that the layout has is that fact; another name
//! where manifests or layers live is a drop; a name that programs give to files which they are
//! about to rename waits for that.

use std::ffi::OsStr;

use super::TreeError;
use super::relocate::Relocation;
use crate::digest::Digest;
use crate::layout::{Node, temporary_for};
use crate::name::{LinkSet, RepositoryName};
use crate::registry::Destination;

/// What a file becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A file of the layout.
    File(Node),
    /// A manifest of this repository.
    Manifest(RepositoryName, Destination),
    /// A layer of this repository, which must have this digest if one is given.
    Layer(RepositoryName, Option<Digest>),
    /// Nothing yet: it waits for its rename.
    Later,
}

impl Target {
    /// What a file of this name in this directory becomes; an error where none may be made.
    pub(super) fn of(parent: &Node, name: &OsStr) -> Result<Self, TreeError> {
        let refused = || TreeError::InvalidName {
            parent: parent.to_string(),
            name: name.to_string_lossy().into_owned(),
        };
        let text = name.to_str().ok_or_else(refused)?;
        match parent.child(text) {
            Some(node) if node.is_directory() => dropped_as(&node).ok_or_else(refused),
            Some(node) => Ok(Self::File(node)),
            None if is_temporary(parent, text) => Ok(Self::Later),
            None => dropped_into(parent)
                .map(|target| target.expecting(text))
                .ok_or_else(refused),
        }
    }

    /// The same for a file whose name may be a digest, as in an OCI layout: it must have that.
    fn expecting(self, name: &str) -> Self {
        match (self, Digest::named(name)) {
            (Self::Layer(repository, None), digest) => Self::Layer(repository, digest),
            (Self::Manifest(repository, mut destination), Some(digest))
                if destination.tag.is_none() && destination.digest.is_none() =>
            {
                destination.digest = Some(digest);
                Self::Manifest(repository, destination)
            }
            (target, _) => target,
        }
    }

    /// Goes with what has moved.
    pub(super) fn follow(&mut self, relocation: &Relocation) {
        match self {
            Self::File(node) => {
                if let Some(moved) = relocation.node(node) {
                    *node = moved;
                }
            }
            Self::Manifest(repository, _) | Self::Layer(repository, _) => {
                if let Some(moved) = relocation.repository(repository) {
                    *repository = moved;
                }
            }
            Self::Later => {}
        }
    }

    /// Whether the content may be as large as a layer. What waits may become one.
    pub(super) fn grows(&self) -> bool {
        match self {
            Self::File(node) => matches!(node, Node::BlobData(_)),
            Self::Manifest(..) => false,
            Self::Layer(..) | Self::Later => true,
        }
    }
}

/// A file in place of a directory that the layout has: a tag, or a link, given as a file.
fn dropped_as(node: &Node) -> Option<Target> {
    match node {
        Node::Tag(repository, tag) => {
            let destination = Destination {
                tag: Some(tag.clone()),
                digest: None,
            };
            Some(Target::Manifest(repository.clone(), destination))
        }
        Node::LinkDirectory(..) => dropped_into(node),
        _ => None,
    }
}

/// A file of any name in a directory where manifests or layers live.
fn dropped_into(parent: &Node) -> Option<Target> {
    let (repository, destination) = match parent {
        Node::Manifests(repository) | Node::Links(repository, LinkSet::Revisions) => {
            (repository, Destination::default())
        }
        Node::Tag(repository, tag) => (
            repository,
            Destination {
                tag: Some(tag.clone()),
                digest: None,
            },
        ),
        Node::LinkDirectory(repository, LinkSet::Revisions, digest) => (
            repository,
            Destination {
                tag: None,
                digest: Some(*digest),
            },
        ),
        Node::Links(repository, LinkSet::Layers) => {
            return Some(Target::Layer(repository.clone(), None));
        }
        Node::LinkDirectory(repository, LinkSet::Layers, digest) => {
            return Some(Target::Layer(repository.clone(), Some(*digest)));
        }
        _ => return None,
    };
    Some(Target::Manifest(repository.clone(), destination))
}

/// Whether a directory of this name is one in which programs let files wait, and that no registry
/// would look for.
pub(super) fn is_hidden(parent: &Node, name: &OsStr) -> bool {
    let text = name.to_str();
    text.is_some_and(|name| name.starts_with('.') && parent.child(name).is_none())
}

/// Whether a program is going to rename a file of this name: distribution 3.1 and later, or
/// one that writes hidden names and backups (rsync, editors) where drops are possible.
fn is_temporary(parent: &Node, name: &str) -> bool {
    if temporary_for(name).is_some() {
        return true;
    }
    let writable = matches!(
        parent,
        Node::Manifests(_)
            | Node::Tags(_)
            | Node::Tag(..)
            | Node::Current(..)
            | Node::Links(..)
            | Node::LinksAlgorithm(..)
            | Node::LinkDirectory(..)
            | Node::BlobDirectory(_)
            | Node::Upload(..)
            | Node::HashStatesAlgorithm(..)
    );
    writable && (name.starts_with('.') || name.ends_with('~'))
}
