//! Nodes: what stat shows of a path of the layout.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Attributes, Place, Tree, TreeError, number};
use crate::layout::Node;
use crate::name::LinkSet;
use crate::registry::{Directory, Top, time};

/// The registry's directory at a node, if the node is a directory that may come and go.
pub fn directory(node: &Node) -> Option<Directory> {
    Some(match node.clone() {
        Node::BlobAlgorithm(algorithm) => Directory::BlobAlgorithm(algorithm),
        Node::BlobShard(algorithm, shard) => Directory::BlobShard(algorithm, shard),
        Node::BlobDirectory(digest) => Directory::Blob(digest),
        Node::Namespace(namespace) => Directory::Namespace(namespace),
        Node::Manifests(repository) => Directory::Manifests(repository),
        Node::Tags(repository) => Directory::Tags(repository),
        Node::Tag(repository, tag) => Directory::Tag(repository, tag),
        Node::Current(repository, tag) => Directory::Current(repository, tag),
        Node::Links(repository, set) => Directory::Links(repository, set),
        Node::LinksAlgorithm(repository, set, algorithm) => {
            Directory::LinksAlgorithm(repository, set, algorithm)
        }
        Node::LinkDirectory(repository, set, digest) => Directory::Link(repository, set, digest),
        Node::Uploads(repository) => Directory::Uploads(repository),
        Node::Upload(repository, id) => Directory::Upload(repository, id),
        Node::HashStates(repository, id) => Directory::HashStates(repository, id),
        Node::HashStatesAlgorithm(repository, id, algorithm) => {
            Directory::HashStatesAlgorithm(repository, id, algorithm)
        }
        Node::Root
        | Node::Blobs
        | Node::Repositories
        | Node::BlobData(_)
        | Node::CurrentLink(..)
        | Node::Link(..)
        | Node::StartedAt(..)
        | Node::UploadData(..)
        | Node::HashState(..) => return None,
    })
}

/// The registry's directory at a node, if the node is a directory that is always there.
pub(super) fn top(node: &Node) -> Option<Top> {
    match node {
        Node::Root => Some(Top::Root),
        Node::Blobs => Some(Top::Blobs),
        Node::Repositories => Some(Top::Repositories),
        _ => None,
    }
}

/// Where a directory of the registry stands.
pub fn at(directory: &Directory) -> Node {
    match directory.clone() {
        Directory::BlobAlgorithm(algorithm) => Node::BlobAlgorithm(algorithm),
        Directory::BlobShard(algorithm, shard) => Node::BlobShard(algorithm, shard),
        Directory::Blob(digest) => Node::BlobDirectory(digest),
        Directory::Namespace(namespace) => Node::Namespace(namespace),
        Directory::Manifests(repository) => Node::Manifests(repository),
        Directory::Tags(repository) => Node::Tags(repository),
        Directory::Tag(repository, tag) => Node::Tag(repository, tag),
        Directory::Current(repository, tag) => Node::Current(repository, tag),
        Directory::Links(repository, set) => Node::Links(repository, set),
        Directory::LinksAlgorithm(repository, set, algorithm) => {
            Node::LinksAlgorithm(repository, set, algorithm)
        }
        Directory::Link(repository, set, digest) => Node::LinkDirectory(repository, set, digest),
        Directory::Uploads(repository) => Node::Uploads(repository),
        Directory::Upload(repository, id) => Node::Upload(repository, id),
        Directory::HashStates(repository, id) => Node::HashStates(repository, id),
        Directory::HashStatesAlgorithm(repository, id, algorithm) => {
            Node::HashStatesAlgorithm(repository, id, algorithm)
        }
    }
}

impl Tree {
    /// A kept time, or that of the store where none is kept.
    pub(super) fn dated(&self, kept: SystemTime) -> SystemTime {
        if kept == UNIX_EPOCH { self.born } else { kept }
    }

    pub(super) fn node_attributes(&self, node: &Node) -> Result<Attributes, TreeError> {
        Ok(Attributes {
            permissions: self.node_permissions(node)?,
            ..self.bare_attributes(node)?
        })
    }

    /// Attributes but for who may do what.
    fn bare_attributes(&self, node: &Node) -> Result<Attributes, TreeError> {
        if let Some(directory) = directory(node) {
            let found = self.registry.directory(&directory)?;
            let found = found.ok_or(TreeError::NotFound)?;
            let number = number::node(node, found.within);
            return Ok(Attributes::directory(number, self.dated(found.changed)));
        }
        let number = self.node_number(node)?;
        if let Some(top) = top(node) {
            let kept = self.registry.top(top)?;
            return Ok(Attributes::directory(number, self.dated(kept)));
        }
        let (size, kept) = self.file(node)?;
        Ok(Attributes::file(number, size, kept))
    }

    /// Whether a place stays until it is removed itself, unlike a file being written, and a
    /// layers' directory that is there for revisions alone.
    pub fn lasts(&self, place: &Place) -> Result<bool, TreeError> {
        Ok(match place {
            Place::Node(Node::Links(repository, LinkSet::Layers)) => {
                let layers = Directory::Links(repository.clone(), LinkSet::Layers);
                self.registry.was_made(&layers)?
            }
            Place::Node(_) | Place::Plain(_) => true,
            Place::Draft(_) | Place::Hidden(_) | Place::Own(_) => false,
        })
    }

    /// The length of a file's content, and its time.
    fn file(&self, node: &Node) -> Result<(u64, SystemTime), TreeError> {
        if let Node::BlobData(digest) = node {
            return Ok(self.registry.blob(digest)?);
        }
        if let Node::UploadData(repository, id) = node {
            let data = self.registry.upload_data(repository, id)?;
            return Ok((data.len(), data.modified().unwrap_or(self.born)));
        }
        let named = match node {
            Node::Link(repository, set, digest) => self.registry.link(repository, set, digest),
            Node::CurrentLink(repository, tag) => self.registry.current(repository, tag),
            _ => {
                let (content, kept) = self.content(node)?;
                return Ok((content.len() as u64, kept));
            }
        };
        let (target, pushed) = named?;
        Ok((target.text_len() as u64, pushed))
    }

    /// The content of a small file, and its time.
    pub(super) fn content(&self, node: &Node) -> Result<(Vec<u8>, SystemTime), TreeError> {
        Ok(match node {
            Node::Link(repository, set, digest) => {
                let (target, pushed) = self.registry.link(repository, set, digest)?;
                (target.to_string().into_bytes(), pushed)
            }
            Node::CurrentLink(repository, tag) => {
                let (target, pushed) = self.registry.current(repository, tag)?;
                (target.to_string().into_bytes(), pushed)
            }
            Node::StartedAt(repository, id) => {
                let upload = self.registry.upload(repository, id)?;
                let started = upload.started_at.ok_or(TreeError::NotFound)?;
                (started, time(upload.updated))
            }
            Node::HashState(repository, id, algorithm, offset) => self
                .registry
                .hash_state(repository, id, *algorithm, *offset)?,
            _ => return Err(TreeError::IsDirectory),
        })
    }
}
