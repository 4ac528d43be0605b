//! The layout: every path below `v2` as a type, in both directions.
//!
//! ```text
//! v2/
//!   blobs/<alg>/<2 hex>/<hex>/data
//!   repositories/<name>/
//!     _layers/<alg>/<hex>/link
//!     _manifests/revisions/<alg>/<hex>/link
//!     _manifests/revisions/<alg>/<hex>/signatures/<alg>/<hex>/link      (distribution up to 2.4)
//!     _manifests/tags/<tag>/current/link
//!     _manifests/tags/<tag>/index/<alg>/<hex>/link
//!     _uploads/<id>/startedat
//!     _uploads/<id>/data
//!     _uploads/<id>/hashstates/<alg>/<offset>
//! ```
//!
//! [`Node::child`] combines lookup and grammar, [`Node::parse`] folds it over a path, and `Display`
//! is the inverse. The strings of the layout exist in this file only. Source: distribution 2.8 to
//! 3.1, `registry/storage/paths.go`.
//!
//! The layout does not know what exists: the registry does.

use std::fmt;

use crate::digest::{Algorithm, Digest};
use crate::name::{LinkSet, Namespace, RepositoryName, Tag, UploadId};

mod ancestors;
mod compact_node;
mod moved;

pub use compact_node::CompactNode;
pub use moved::moved;

/// The directory below a registry's root that holds the layout (a constant in distribution).
pub const TOP: &str = "v2";

/// A path below `v2` that the layout admits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// `v2` itself.
    Root,
    /// `blobs`
    Blobs,
    /// `blobs/<alg>`
    BlobAlgorithm(Algorithm),
    /// `blobs/<alg>/<2 hex>`
    BlobShard(Algorithm, u8),
    /// `blobs/<alg>/<2 hex>/<hex>`
    BlobDirectory(Digest),
    /// `blobs/<alg>/<2 hex>/<hex>/data`
    BlobData(Digest),
    /// `repositories`
    Repositories,
    /// `repositories/<name>`: a repository, or a directory that leads to one.
    Namespace(Namespace),
    /// `_manifests`
    Manifests(RepositoryName),
    /// `_manifests/tags`
    Tags(RepositoryName),
    /// `_manifests/tags/<tag>`
    Tag(RepositoryName, Tag),
    /// `_manifests/tags/<tag>/current`
    Current(RepositoryName, Tag),
    /// `_manifests/tags/<tag>/current/link`
    CurrentLink(RepositoryName, Tag),
    /// `_layers`, `revisions`, `index` or `signatures`
    Links(RepositoryName, LinkSet),
    /// `<alg>` below one of these.
    LinksAlgorithm(RepositoryName, LinkSet, Algorithm),
    /// `<alg>/<hex>` below one of these.
    LinkDirectory(RepositoryName, LinkSet, Digest),
    /// `<alg>/<hex>/link` below one of these.
    Link(RepositoryName, LinkSet, Digest),
    /// `_uploads`
    Uploads(RepositoryName),
    /// `_uploads/<id>`
    Upload(RepositoryName, UploadId),
    /// `_uploads/<id>/startedat`
    StartedAt(RepositoryName, UploadId),
    /// `_uploads/<id>/data`
    UploadData(RepositoryName, UploadId),
    /// `_uploads/<id>/hashstates`
    HashStates(RepositoryName, UploadId),
    /// `_uploads/<id>/hashstates/<alg>`
    HashStatesAlgorithm(RepositoryName, UploadId, Algorithm),
    /// `_uploads/<id>/hashstates/<alg>/<offset>`
    HashState(RepositoryName, UploadId, Algorithm, u64),
}

impl Node {
    /// The node with this name below this one; `None` if the layout does not admit the name.
    pub fn child(&self, name: &str) -> Option<Self> {
        match self {
            Self::Root => match name {
                "blobs" => Some(Self::Blobs),
                "repositories" => Some(Self::Repositories),
                _ => None,
            },
            Self::Blobs => Algorithm::from_name(name).map(Self::BlobAlgorithm),
            Self::BlobAlgorithm(algorithm) => {
                shard_from_hex(name).map(|shard| Self::BlobShard(*algorithm, shard))
            }
            Self::BlobShard(algorithm, shard) => Digest::from_hex(*algorithm, name)
                .filter(|digest| digest.shard() == *shard)
                .map(Self::BlobDirectory),
            Self::BlobDirectory(digest) => (name == "data").then_some(Self::BlobData(*digest)),
            Self::Repositories => name.parse().ok().filter(single).map(Self::Namespace),
            Self::Namespace(namespace) => namespace_child(namespace, name),
            Self::Manifests(..)
            | Self::Tags(..)
            | Self::Tag(..)
            | Self::Current(..)
            | Self::Links(..)
            | Self::LinksAlgorithm(..)
            | Self::LinkDirectory(..) => self.link_child(name),
            Self::Uploads(..)
            | Self::Upload(..)
            | Self::HashStates(..)
            | Self::HashStatesAlgorithm(..) => self.upload_child(name),
            Self::BlobData(_)
            | Self::CurrentLink(..)
            | Self::Link(..)
            | Self::StartedAt(..)
            | Self::UploadData(..)
            | Self::HashState(..) => None,
        }
    }

    /// [`Self::child`] below `_manifests` and `_layers`.
    fn link_child(&self, name: &str) -> Option<Self> {
        match self {
            Self::Manifests(repository) => match name {
                "tags" => Some(Self::Tags(repository.clone())),
                "revisions" => Some(Self::Links(repository.clone(), LinkSet::Revisions)),
                _ => None,
            },
            Self::Tags(repository) => Some(Self::Tag(repository.clone(), name.parse().ok()?)),
            Self::Tag(repository, tag) => match name {
                "current" => Some(Self::Current(repository.clone(), tag.clone())),
                "index" => Some(Self::Links(
                    repository.clone(),
                    LinkSet::TagIndex(tag.clone()),
                )),
                _ => None,
            },
            Self::Current(repository, tag) => {
                (name == "link").then(|| Self::CurrentLink(repository.clone(), tag.clone()))
            }
            Self::Links(repository, set) => Algorithm::from_name(name)
                .map(|algorithm| Self::LinksAlgorithm(repository.clone(), set.clone(), algorithm)),
            Self::LinksAlgorithm(repository, set, algorithm) => Digest::from_hex(*algorithm, name)
                .map(|digest| Self::LinkDirectory(repository.clone(), set.clone(), digest)),
            Self::LinkDirectory(repository, set, digest) => match (name, set) {
                ("link", _) => Some(Self::Link(repository.clone(), set.clone(), *digest)),
                ("signatures", LinkSet::Revisions) => Some(Self::Links(
                    repository.clone(),
                    LinkSet::Signatures(*digest),
                )),
                _ => None,
            },
            _ => None,
        }
    }

    /// [`Self::child`] below `_uploads`.
    fn upload_child(&self, name: &str) -> Option<Self> {
        match self {
            Self::Uploads(repository) => Some(Self::Upload(repository.clone(), name.parse().ok()?)),
            Self::Upload(repository, id) => match name {
                "startedat" => Some(Self::StartedAt(repository.clone(), *id)),
                "data" => Some(Self::UploadData(repository.clone(), *id)),
                "hashstates" => Some(Self::HashStates(repository.clone(), *id)),
                _ => None,
            },
            Self::HashStates(repository, id) => Algorithm::from_name(name)
                .map(|algorithm| Self::HashStatesAlgorithm(repository.clone(), *id, algorithm)),
            Self::HashStatesAlgorithm(repository, id, algorithm) => {
                let offset = offset_from_decimal(name)?;
                Some(Self::HashState(repository.clone(), *id, *algorithm, offset))
            }
            _ => None,
        }
    }

    /// The nodes below this one whose names are fixed by the layout, sorted by name.
    pub fn fixed_children(&self) -> Vec<Self> {
        let names: &[&str] = match self {
            Self::Root => &["blobs", "repositories"],
            Self::Blobs | Self::Links(..) | Self::HashStates(..) => {
                let algorithms = Algorithm::ALL.iter().map(|algorithm| algorithm.name());
                return algorithms.filter_map(|name| self.child(name)).collect();
            }
            Self::BlobDirectory(_) => &["data"],
            Self::Manifests(_) => &["revisions", "tags"],
            Self::Tag(..) => &["current", "index"],
            Self::Current(..) => &["link"],
            Self::LinkDirectory(..) => &["link", "signatures"],
            Self::Upload(..) => &["data", "hashstates", "startedat"],
            // Nodes with variable names below them, or none.
            Self::BlobAlgorithm(_)
            | Self::BlobShard(..)
            | Self::BlobData(_)
            | Self::Repositories
            | Self::Namespace(_)
            | Self::Tags(_)
            | Self::CurrentLink(..)
            | Self::LinksAlgorithm(..)
            | Self::Link(..)
            | Self::Uploads(_)
            | Self::StartedAt(..)
            | Self::UploadData(..)
            | Self::HashStatesAlgorithm(..)
            | Self::HashState(..) => &[],
        };
        names.iter().filter_map(|name| self.child(name)).collect()
    }

    /// Parses a path below `v2`, components separated by `/`; the empty path is the root.
    pub fn parse(path: &str) -> Option<Self> {
        if path.is_empty() {
            return Some(Self::Root);
        }
        path.split('/')
            .try_fold(Self::Root, |node, name| node.child(name))
    }

    /// The last component of the path; empty for the root.
    pub fn name(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Blobs => "blobs".into(),
            Self::BlobShard(_, shard) => format!("{shard:02x}"),
            Self::BlobData(_) | Self::UploadData(..) => "data".into(),
            Self::Repositories => "repositories".into(),
            Self::Namespace(namespace) => namespace.last().into(),
            Self::Manifests(_) => "_manifests".into(),
            Self::Tags(_) => "tags".into(),
            Self::Tag(_, tag) => tag.as_str().into(),
            Self::Current(..) => "current".into(),
            Self::CurrentLink(..) | Self::Link(..) => "link".into(),
            Self::Links(_, LinkSet::Layers) => "_layers".into(),
            Self::Links(_, LinkSet::Revisions) => "revisions".into(),
            Self::Links(_, LinkSet::TagIndex(_)) => "index".into(),
            Self::Links(_, LinkSet::Signatures(_)) => "signatures".into(),
            Self::BlobAlgorithm(algorithm)
            | Self::LinksAlgorithm(_, _, algorithm)
            | Self::HashStatesAlgorithm(_, _, algorithm) => algorithm.name().into(),
            Self::BlobDirectory(digest) | Self::LinkDirectory(_, _, digest) => digest.hex(),
            Self::Uploads(_) => "_uploads".into(),
            Self::Upload(_, id) => id.to_string(),
            Self::StartedAt(..) => "startedat".into(),
            Self::HashStates(..) => "hashstates".into(),
            Self::HashState(_, _, _, offset) => offset.to_string(),
        }
    }

    /// Returns `true` if this is a directory in the layout, `false` if it is a file.
    pub fn is_directory(&self) -> bool {
        !matches!(
            self,
            Self::BlobData(_)
                | Self::CurrentLink(..)
                | Self::Link(..)
                | Self::StartedAt(..)
                | Self::UploadData(..)
                | Self::HashState(..)
        )
    }

    /// Returns `true` for the directories that every registry's storage has.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Root | Self::Blobs | Self::Repositories)
    }
}

/// For a temporary name of distribution 3.1 and later, `<name>.<uuid>.tmp`: the name to which the
/// file will be renamed.
pub fn temporary_for(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".tmp")?;
    let (target, uuid) = stem.rsplit_once('.')?;
    uuid.parse::<UploadId>()
        .ok()
        .filter(|_| !target.is_empty())
        .map(|_| target)
}

/// `_layers`, `_manifests` and `_uploads` are no namespaces: no component starts with `_`.
fn namespace_child(namespace: &Namespace, name: &str) -> Option<Node> {
    let repository = || namespace.repository();
    match name {
        "_layers" => Some(Node::Links(repository()?, LinkSet::Layers)),
        "_manifests" => repository().map(Node::Manifests),
        "_uploads" => repository().map(Node::Uploads),
        _ => namespace.child(name).map(Node::Namespace),
    }
}

/// Returns `true` for a namespace of one component.
fn single(namespace: &Namespace) -> bool {
    namespace.parent().is_none()
}

/// Parses two lower-case hexadecimal digits.
fn shard_from_hex(name: &str) -> Option<u8> {
    let shard = u8::from_str_radix(name, 16).ok()?;
    (format!("{shard:02x}") == name).then_some(shard)
}

/// Parses a decimal number in the form in which Go prints a non-negative int64.
fn offset_from_decimal(name: &str) -> Option<u64> {
    let offset: u64 = name.parse().ok()?;
    (i64::try_from(offset).is_ok() && offset.to_string() == name).then_some(offset)
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parent() {
            None => Ok(()),
            Some(Self::Root) => f.write_str(&self.name()),
            Some(parent) => write!(f, "{parent}/{}", self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const UUID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    /// Every form of path that distribution writes.
    fn admitted() -> Vec<String> {
        let r = "repositories/team/app";
        let signature =
            format!("{r}/_manifests/revisions/sha256/{HEX}/signatures/sha256/{HEX}/link");
        vec![
            format!("blobs/sha256/e3/{HEX}/data"),
            format!("{r}/_layers/sha256/{HEX}/link"),
            format!("{r}/_manifests/revisions/sha256/{HEX}/link"),
            signature,
            format!("{r}/_manifests/tags/_v1.0/current/link"),
            format!("{r}/_manifests/tags/v1/index/sha256/{HEX}/link"),
            format!("{r}/_uploads/{UUID}/startedat"),
            format!("{r}/_uploads/{UUID}/data"),
            format!("{r}/_uploads/{UUID}/hashstates/sha256/1048576"),
            format!("repositories/Foo.com/bar/_layers/sha512/{HEX}{HEX}/link"),
        ]
    }

    #[test]
    fn every_path_and_every_directory_above_it_round_trips() {
        for path in admitted() {
            let mut node = Node::parse(&path).unwrap_or_else(|| panic!("{path}"));
            assert!(!node.is_directory(), "{path}");
            assert_eq!(node.to_string(), path);
            while let Some(parent) = node.parent() {
                assert!(parent.is_directory(), "{parent}");
                assert_eq!(parent.child(&node.name()), Some(node.clone()));
                assert_eq!(Node::parse(&parent.to_string()), Some(parent.clone()));
                assert_eq!(Node::from(&CompactNode::from(&node)), node);
                node = parent;
            }
            assert_eq!(node, Node::Root);
        }
    }

    #[test]
    fn names_outside_the_grammar_are_no_nodes() {
        let longer = format!("blobs/sha256/e3/{HEX}0/data");
        let upper = format!("blobs/sha256/e3/{}/data", HEX.to_uppercase());
        let shard = format!("blobs/sha256/e4/{HEX}/data");
        for path in [
            "blob",
            "blobs/md5",
            "blobs/sha256/e",
            "blobs/sha256/E3",
            "blobs/sha256/+3",
            "blobs//sha256",
            "repositories/",
            "repositories/_layers",
            "repositories/Foo/_layers",
            "repositories/a/_file",
            "repositories/a/_manifests/link",
            "repositories/a/_manifests/tags/.v1",
            "repositories/a/_manifests/tags/v1/link",
            "repositories/a/_uploads/1",
            "repositories/a b",
            "repositories/..",
            ".",
            "é",
            &longer,
            &upper,
            &shard,
            &format!("repositories/a/_uploads/{UUID}/hashstates/sha256/01"),
            &format!("repositories/a/_uploads/{UUID}/hashstates/sha256/-1"),
            &format!("repositories/a/_layers/sha256/{HEX}/signatures"),
        ] {
            assert_eq!(Node::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_temporary_name_contains_the_final_name() {
        assert_eq!(temporary_for(&format!("link.{UUID}.tmp")), Some("link"));
        assert_eq!(
            temporary_for(&format!("1048576.{UUID}.tmp")),
            Some("1048576")
        );
        assert_eq!(temporary_for("link.tmp"), None);
        assert_eq!(temporary_for(&format!(".{UUID}.tmp")), None);
        assert_eq!(temporary_for(&format!("link.{UUID}")), None);
    }

    proptest! {
        #[test]
        fn a_parsed_path_is_printed_unchanged(
            path in "(blobs|repositories)(/([a-z0-9._-]{1,6}|_layers|_manifests|tags|revisions|sha256|link|current|index|_uploads|data)){0,7}"
        ) {
            if let Some(node) = Node::parse(&path) {
                prop_assert_eq!(node.to_string(), path);
            }
        }

        #[test]
        fn any_text_is_parsed_without_a_panic(path in "\\PC{0,60}") {
            if let Some(node) = Node::parse(&path) {
                prop_assert_eq!(node.to_string(), path);
            }
        }
    }
}
