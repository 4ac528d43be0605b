//! Flags: which bit of a repository's or a tag's record stands for which directory.
//!
//! Directories without a flag have a row of their own, or exist with what is in them.

use crate::digest::Algorithm;
use crate::index::{RepositoryDirectories, TagDirectories};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName};

/// Returns the flag for the directory of a link set, or for the directory of `algorithm` in it.
/// Only layers and revisions have flags in the repository's record; for other sets no flag is set
/// in the returned value.
pub(super) fn link_set_flag(set: &LinkSet, algorithm: Option<Algorithm>) -> RepositoryDirectories {
    let flag = match set {
        LinkSet::Layers => RepositoryDirectories::LAYERS,
        LinkSet::Revisions => RepositoryDirectories::REVISIONS,
        LinkSet::TagIndex(_) | LinkSet::Signatures(_) => return RepositoryDirectories::default(),
    };
    algorithm.map_or(flag, |algorithm| flag.of(algorithm))
}

/// Returns the flag in a tag's record for its index directory, or for the directory of
/// `algorithm` in it.
pub(super) fn tag_index_flag(algorithm: Option<Algorithm>) -> TagDirectories {
    algorithm.map_or(TagDirectories::INDEX, TagDirectories::index_of)
}

/// Returns the directories of a repository that have a flag in its record, each with its flag;
/// a directory comes after the one that contains it.
pub(in crate::registry) fn flagged_directories(
    name: &RepositoryName,
) -> Vec<(RepositoryDirectories, Node)> {
    let mut flagged = vec![
        (
            RepositoryDirectories::MANIFESTS,
            Node::Manifests(name.clone()),
        ),
        (RepositoryDirectories::TAGS, Node::Tags(name.clone())),
        (RepositoryDirectories::UPLOADS, Node::Uploads(name.clone())),
    ];
    for set in [LinkSet::Layers, LinkSet::Revisions] {
        let directory = Node::Links(name.clone(), set.clone());
        flagged.push((link_set_flag(&set, None), directory));
        for algorithm in Algorithm::ALL {
            let directory = Node::LinksAlgorithm(name.clone(), set.clone(), algorithm);
            flagged.push((link_set_flag(&set, Some(algorithm)), directory));
        }
    }
    flagged
}
