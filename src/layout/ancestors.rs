//! Ancestors of a node: its directory, its repository and its namespace.

use super::Node;
use crate::name::{LinkSet, Namespace, RepositoryName};

impl Node {
    /// The directory of this node; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        Some(match self {
            Self::Root => return None,
            Self::Blobs | Self::Repositories => Self::Root,
            Self::BlobAlgorithm(_) => Self::Blobs,
            Self::BlobShard(algorithm, _) => Self::BlobAlgorithm(*algorithm),
            Self::BlobDirectory(digest) => Self::BlobShard(digest.algorithm(), digest.shard()),
            Self::BlobData(digest) => Self::BlobDirectory(*digest),
            Self::Namespace(namespace) => namespace
                .parent()
                .map_or(Self::Repositories, Self::Namespace),
            Self::Manifests(repository)
            | Self::Links(repository, LinkSet::Layers)
            | Self::Uploads(repository) => Self::Namespace(repository.namespace().clone()),
            Self::Tags(repository) | Self::Links(repository, LinkSet::Revisions) => {
                Self::Manifests(repository.clone())
            }
            Self::Tag(repository, _) => Self::Tags(repository.clone()),
            Self::Current(repository, tag) | Self::Links(repository, LinkSet::TagIndex(tag)) => {
                Self::Tag(repository.clone(), tag.clone())
            }
            Self::CurrentLink(repository, tag) => Self::Current(repository.clone(), tag.clone()),
            Self::Links(repository, LinkSet::Signatures(revision)) => {
                Self::LinkDirectory(repository.clone(), LinkSet::Revisions, *revision)
            }
            Self::LinksAlgorithm(repository, set, _) => {
                Self::Links(repository.clone(), set.clone())
            }
            Self::LinkDirectory(repository, set, digest) => {
                Self::LinksAlgorithm(repository.clone(), set.clone(), digest.algorithm())
            }
            Self::Link(repository, set, digest) => {
                Self::LinkDirectory(repository.clone(), set.clone(), *digest)
            }
            Self::Upload(repository, _) => Self::Uploads(repository.clone()),
            Self::StartedAt(repository, id)
            | Self::UploadData(repository, id)
            | Self::HashStates(repository, id) => Self::Upload(repository.clone(), *id),
            Self::HashStatesAlgorithm(repository, id, _) => {
                Self::HashStates(repository.clone(), *id)
            }
            Self::HashState(repository, id, algorithm, _) => {
                Self::HashStatesAlgorithm(repository.clone(), *id, *algorithm)
            }
        })
    }

    /// The namespace that this node is or belongs to.
    pub fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Namespace(namespace) => Some(namespace),
            _ => self.repository().map(RepositoryName::namespace),
        }
    }

    /// The repository that this node belongs to.
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Root
            | Self::Blobs
            | Self::BlobAlgorithm(_)
            | Self::BlobShard(..)
            | Self::BlobDirectory(_)
            | Self::BlobData(_)
            | Self::Repositories
            | Self::Namespace(_) => None,
            Self::Manifests(repository)
            | Self::Tags(repository)
            | Self::Tag(repository, _)
            | Self::Current(repository, _)
            | Self::CurrentLink(repository, _)
            | Self::Links(repository, _)
            | Self::LinksAlgorithm(repository, ..)
            | Self::LinkDirectory(repository, ..)
            | Self::Link(repository, ..)
            | Self::Uploads(repository)
            | Self::Upload(repository, _)
            | Self::StartedAt(repository, _)
            | Self::UploadData(repository, _)
            | Self::HashStates(repository, _)
            | Self::HashStatesAlgorithm(repository, ..)
            | Self::HashState(repository, ..) => Some(repository),
        }
    }
}
