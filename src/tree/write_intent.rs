//! Write intents: what a file becomes that is written under a name in the layout.
//!
//! Directory and name alone decide. A name that the layout has is that fact. Another name where
//! manifests or layers live is a drop: the content is stored under its digest. A name as programs
//! give to temporary files awaits a rename.

use std::ffi::OsStr;

use super::TreeError;
use super::relocation::Relocation;
use crate::digest::Digest;
use crate::layout::{Node, temporary_for};
use crate::name::{LinkSet, RepositoryName};
use crate::registry::Destination;

/// What the content of a file becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteIntent {
    /// A file of the layout.
    File(Node),
    /// A manifest in a repository.
    Manifest(RepositoryName, Destination),
    /// A layer in a repository; the content must have this digest if one is given.
    Layer(RepositoryName, Option<Digest>),
    /// Nothing until the file is renamed.
    AwaitRename,
}

impl WriteIntent {
    /// Returns the intent of a file of this name in this directory.
    ///
    /// # Errors
    /// [`TreeError::InvalidName`] if no file of this name can be created there.
    pub(super) fn of(parent: &Node, name: &OsStr) -> Result<Self, TreeError> {
        let refused = || TreeError::InvalidName {
            parent: parent.to_string(),
            name: name.to_string_lossy().into_owned(),
        };
        let text = name.to_str().ok_or_else(refused)?;
        match parent.child(text) {
            Some(node) if node.is_directory() => dropped_as(&node).ok_or_else(refused),
            Some(node) => Ok(Self::File(node)),
            None if is_temporary(parent, text) => Ok(Self::AwaitRename),
            None => dropped_into(parent)
                .map(|intent| intent.expecting(text))
                .ok_or_else(refused),
        }
    }

    /// Adds the digest that the content must have, if the name is one, as in an OCI image layout.
    fn expecting(self, name: &str) -> Self {
        match (self, Digest::named(name)) {
            (Self::Layer(repository, None), digest) => Self::Layer(repository, digest),
            (Self::Manifest(repository, mut destination), Some(digest))
                if destination.tag.is_none() && destination.digest.is_none() =>
            {
                destination.digest = Some(digest);
                Self::Manifest(repository, destination)
            }
            (intent, _) => intent,
        }
    }

    /// Applies a rename of a namespace.
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
            Self::AwaitRename => {}
        }
    }

    /// Returns `true` if the content may be longer than a manifest. A file that awaits its rename
    /// may become a layer.
    pub(super) fn may_be_large(&self) -> bool {
        match self {
            Self::File(node) => matches!(node, Node::BlobData(_)),
            Self::Manifest(..) => false,
            Self::Layer(..) | Self::AwaitRename => true,
        }
    }
}

/// Returns the intent of a file in place of a directory of the layout: a tag, or a link.
fn dropped_as(node: &Node) -> Option<WriteIntent> {
    match node {
        Node::Tag(repository, tag) => {
            let destination = Destination {
                tag: Some(tag.clone()),
                digest: None,
            };
            Some(WriteIntent::Manifest(repository.clone(), destination))
        }
        Node::LinkDirectory(..) => dropped_into(node),
        _ => None,
    }
}

/// Returns the intent of a file of any name in a directory of manifests or layers.
fn dropped_into(parent: &Node) -> Option<WriteIntent> {
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
            return Some(WriteIntent::Layer(repository.clone(), None));
        }
        Node::LinkDirectory(repository, LinkSet::Layers, digest) => {
            return Some(WriteIntent::Layer(repository.clone(), Some(*digest)));
        }
        _ => return None,
    };
    Some(WriteIntent::Manifest(repository.clone(), destination))
}

/// Returns `true` if a directory of this name is hidden: programs create such directories for
/// temporary files, and registries never look them up.
pub(super) fn is_hidden(parent: &Node, name: &OsStr) -> bool {
    let text = name.to_str();
    text.is_some_and(|name| name.starts_with('.') && parent.child(name).is_none())
}

/// Returns `true` if the file will be renamed: the name is that of a temporary file of distribution
/// 3.1 or later; or it is hidden or a backup (rsync, editors), in a directory into which files can
/// be dropped.
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
