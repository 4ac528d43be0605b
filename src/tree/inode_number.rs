//! Inode numbers, as stat(2) shows them: the same after every mount, since backup programs identify
//! files by them.
//!
//! A plain file has the number of the host's file. Every other number is computed from the identity
//! of the facts: the id of the repository, which a rename does not change, and digest, tag or
//! upload id. A computed number has bit 62 set, which hosts do not use, and 62 bits of checksum:
//! among 100 million files the probability of a collision is 1 in 1,000. The node ids by which the
//! kernel knows files are assigned elsewhere.

use xxhash_rust::xxh3::xxh3_64;

use super::TreeError;
use super::control_file::ControlFile;
use crate::digest::{Algorithm, Digest};
use crate::layout::Node;
use crate::name::{LinkSet, Tag, UploadId};
use crate::registry::Queries;

/// The number of the top of a mount.
pub(super) const TOP: u64 = 1;
/// The bit that distinguishes computed numbers from those of plain files. Bit 63 is not used, since
/// many programs store inode numbers in databases that have only signed integers.
const COMPUTED: u64 = 1 << 62;

/// The bytes from which a number is computed. Kinds and fields must never change, since backup
/// programs store the numbers.
struct InodeKey(Vec<u8>);

impl InodeKey {
    fn of(kind: u8) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(kind);
        Self(bytes)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a text and a zero byte, which no text contains.
    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).bytes(&[0])
    }

    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn algorithm(self, algorithm: Algorithm) -> Self {
        self.text(algorithm.name())
    }

    fn digest(self, digest: &Digest) -> Self {
        self.algorithm(digest.algorithm()).bytes(digest.as_bytes())
    }

    fn tag(self, tag: &Tag) -> Self {
        self.text(tag.as_str())
    }

    fn upload(self, id: &UploadId) -> Self {
        self.bytes(id.as_bytes())
    }

    fn set(self, set: &LinkSet) -> Self {
        match set {
            LinkSet::Layers => self.bytes(b"l"),
            LinkSet::Revisions => self.bytes(b"r"),
            LinkSet::TagIndex(tag) => self.bytes(b"t").tag(tag),
            LinkSet::Signatures(revision) => self.bytes(b"s").digest(revision),
        }
    }

    fn done(&self) -> u64 {
        COMPUTED | xxh3_64(&self.0) & (COMPUTED - 1)
    }
}

/// Returns the number of a plain file with this number on the host.
pub(super) fn plain(host: u64) -> u64 {
    match host & (COMPUTED - 1) {
        // 0 is not a valid number, and 1 is that of the top.
        low @ (0 | TOP) => InodeKey::of(0).number(low).done(),
        low => low,
    }
}

/// Returns the number of a pending file.
pub(super) fn pending(id: u64) -> u64 {
    InodeKey::of(1).number(id).done()
}

/// Returns the number of a hidden directory.
pub(super) fn hidden(id: u64) -> u64 {
    InodeKey::of(3).number(id).done()
}

/// Returns the number of a control file.
pub(super) fn control(file: ControlFile) -> u64 {
    InodeKey::of(2).text(file.name()).done()
}

/// Returns the number of a node. `within` is the id of its repository or namespace; `None` if it
/// has none, as a directory that exists only for repositories below it, which is identified by
/// name.
pub(super) fn node(node: &Node, within: Option<u32>) -> u64 {
    let fields = |kind| {
        let fields = InodeKey::of(kind);
        match (within, node.namespace()) {
            (Some(number), _) => fields.number(number.into()),
            (None, Some(name)) => fields.text(name.as_str()),
            (None, None) => fields,
        }
    };
    let fields = match node {
        Node::Root => fields(10),
        Node::Blobs => fields(11),
        Node::BlobAlgorithm(algorithm) => fields(12).algorithm(*algorithm),
        Node::BlobShard(algorithm, shard) => fields(13).algorithm(*algorithm).bytes(&[*shard]),
        Node::BlobDirectory(digest) => fields(14).digest(digest),
        Node::BlobData(digest) => fields(15).digest(digest),
        Node::Repositories => fields(16),
        Node::Namespace(_) => fields(17),
        Node::Manifests(_) => fields(18),
        Node::Tags(_) => fields(19),
        Node::Tag(_, tag) => fields(20).tag(tag),
        Node::Current(_, tag) => fields(21).tag(tag),
        Node::CurrentLink(_, tag) => fields(22).tag(tag),
        Node::Links(_, set) => fields(23).set(set),
        Node::LinksAlgorithm(_, set, algorithm) => fields(24).set(set).algorithm(*algorithm),
        Node::LinkDirectory(_, set, digest) => fields(25).set(set).digest(digest),
        Node::Link(_, set, digest) => fields(26).set(set).digest(digest),
        Node::Uploads(_) => fields(27),
        Node::Upload(_, id) => fields(28).upload(id),
        Node::StartedAt(_, id) => fields(29).upload(id),
        Node::UploadData(_, id) => fields(30).upload(id),
        Node::HashStates(_, id) => fields(31).upload(id),
        Node::HashStatesAlgorithm(_, id, algorithm) => fields(32).upload(id).algorithm(*algorithm),
        Node::HashState(_, id, algorithm, offset) => {
            fields(33).upload(id).algorithm(*algorithm).number(*offset)
        }
    };
    fields.done()
}

/// Returns the id within which the number of a node is unique: that of its repository or namespace.
pub(super) fn within(queries: &mut Queries<'_>, node: &Node) -> Result<Option<u32>, TreeError> {
    match node.namespace() {
        Some(name) => Ok(queries.repository_number(name)?),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_change_and_computed_ones_are_marked() {
        let parsed = |path: &str| Node::parse(path).unwrap();
        let zeros = "0".repeat(64);
        let link = parsed(&format!("repositories/a/b/_layers/sha256/{zeros}/link"));
        let data = parsed(&format!("blobs/sha256/00/{zeros}/data"));
        let tag = parsed("repositories/a/b/_manifests/tags/v1");
        let computed = [
            node(&Node::Root, None),
            node(&link, Some(7)),
            node(&link, Some(8)),
            node(&data, None),
            node(&tag, Some(7)),
            node(&parsed("repositories/a"), None),
            node(&parsed("repositories/b"), None),
        ];
        assert_eq!(
            computed.map(|number| format!("{number:x}")),
            [
                "784868fba0c21fdc",
                "53636ed6e2771646",
                "4841989f1512df81",
                "7163ddf62c3da915",
                "4ae0bda703f8c09a",
                "7abaf4c5dcad3eee",
                "4949a7dc835375a2"
            ]
        );
        for number in computed {
            assert_eq!(number >> 62, 1);
        }
        assert_eq!((plain(12), plain((1 << 62) + 12)), (12, 12));
        assert!(plain(0) > 1 && plain(1) > 1 && plain(0) != plain(1));
    }
}
