//! A compact node, for tables with many entries.
//!
//! The most frequent nodes (links, tags and blobs, and their directories) take 72 bytes besides the
//! names, which are shared; others are boxed. It holds the same information as the node.

use super::Node;
use crate::digest::{Algorithm, Digest};
use crate::name::{LinkSet, RepositoryName, Tag};

/// A compact node. Two are equal if their nodes are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompactNode(CompactForm);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum CompactForm {
    /// `blobs/sha256/<2 hex>/<hex>`, or `data` below it.
    Blob { digest: [u8; 32], data: bool },
    /// A layer link by sha256, or its directory.
    Layer {
        repository: RepositoryName,
        digest: [u8; 32],
        link: bool,
    },
    /// A revision link, or its directory.
    Revision {
        repository: RepositoryName,
        digest: [u8; 32],
        link: bool,
    },
    /// A link of a tag's index, or its directory.
    Index {
        repository: RepositoryName,
        tag: Tag,
        digest: [u8; 32],
        link: bool,
    },
    /// A tag and the fixed nodes below it.
    Tag(RepositoryName, Tag, TagPart),
    /// Any other node.
    Aside(Box<Node>),
}

/// A tag's directory, or a fixed node below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum TagPart {
    Directory,
    Current,
    CurrentLink,
    Index,
    IndexAlgorithm(Algorithm),
}

impl From<&Node> for CompactNode {
    fn from(node: &Node) -> Self {
        let tag = |repository: &RepositoryName, tag: &Tag, part| {
            CompactForm::Tag(repository.clone(), tag.clone(), part)
        };
        let form = match node {
            Node::BlobDirectory(digest) => blob(digest, false),
            Node::BlobData(digest) => blob(digest, true),
            Node::LinkDirectory(repository, set, digest) => link(repository, set, digest, false),
            Node::Link(repository, set, digest) => link(repository, set, digest, true),
            Node::Tag(repository, label) => Some(tag(repository, label, TagPart::Directory)),
            Node::Current(repository, label) => Some(tag(repository, label, TagPart::Current)),
            Node::CurrentLink(repository, label) => {
                Some(tag(repository, label, TagPart::CurrentLink))
            }
            Node::Links(repository, LinkSet::TagIndex(label)) => {
                Some(tag(repository, label, TagPart::Index))
            }
            Node::LinksAlgorithm(repository, LinkSet::TagIndex(label), algorithm) => {
                Some(tag(repository, label, TagPart::IndexAlgorithm(*algorithm)))
            }
            _ => None,
        };
        Self(form.unwrap_or_else(|| CompactForm::Aside(Box::new(node.clone()))))
    }
}

fn blob(digest: &Digest, data: bool) -> Option<CompactForm> {
    match digest {
        Digest::Sha256(bytes) => Some(CompactForm::Blob {
            digest: *bytes,
            data,
        }),
        Digest::Sha384(_) | Digest::Sha512(_) => None,
    }
}

fn link(
    repository: &RepositoryName,
    set: &LinkSet,
    digest: &Digest,
    link: bool,
) -> Option<CompactForm> {
    let Digest::Sha256(digest) = *digest else {
        return None;
    };
    let repository = repository.clone();
    Some(match set {
        LinkSet::Layers => CompactForm::Layer {
            repository,
            digest,
            link,
        },
        LinkSet::Revisions => CompactForm::Revision {
            repository,
            digest,
            link,
        },
        LinkSet::TagIndex(tag) => CompactForm::Index {
            repository,
            tag: tag.clone(),
            digest,
            link,
        },
        LinkSet::Signatures(_) => return None,
    })
}

/// A link, or its directory.
fn unpack(repository: &RepositoryName, set: LinkSet, digest: [u8; 32], link: bool) -> Node {
    let (repository, digest) = (repository.clone(), Digest::Sha256(digest));
    if link {
        Node::Link(repository, set, digest)
    } else {
        Node::LinkDirectory(repository, set, digest)
    }
}

impl From<&CompactNode> for Node {
    fn from(compact_node: &CompactNode) -> Self {
        match &compact_node.0 {
            CompactForm::Blob { digest, data } => {
                let digest = Digest::Sha256(*digest);
                if *data {
                    Self::BlobData(digest)
                } else {
                    Self::BlobDirectory(digest)
                }
            }
            CompactForm::Layer {
                repository,
                digest,
                link,
            } => unpack(repository, LinkSet::Layers, *digest, *link),
            CompactForm::Revision {
                repository,
                digest,
                link,
            } => unpack(repository, LinkSet::Revisions, *digest, *link),
            CompactForm::Index {
                repository,
                tag,
                digest,
                link,
            } => unpack(repository, LinkSet::TagIndex(tag.clone()), *digest, *link),
            CompactForm::Tag(repository, tag, part) => part.below(repository.clone(), tag.clone()),
            CompactForm::Aside(node) => (**node).clone(),
        }
    }
}

impl TagPart {
    fn below(self, repository: RepositoryName, tag: Tag) -> Node {
        match self {
            Self::Directory => Node::Tag(repository, tag),
            Self::Current => Node::Current(repository, tag),
            Self::CurrentLink => Node::CurrentLink(repository, tag),
            Self::Index => Node::Links(repository, LinkSet::TagIndex(tag)),
            Self::IndexAlgorithm(algorithm) => {
                Node::LinksAlgorithm(repository, LinkSet::TagIndex(tag), algorithm)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_at_most_72_bytes() {
        assert!(
            size_of::<CompactNode>() <= 72,
            "{}",
            size_of::<CompactNode>()
        );
    }
}
