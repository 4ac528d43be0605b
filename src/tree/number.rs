//! Numbers: what stat shows as a file's inode number, the same after every mount, by which backup
//! programs know a file again.
//!
//! A plain file has its host's number. The number of anything else is computed from what its
//! facts are known by: the number of its repository, which a new name does not change, and
//! digest, tag or upload. Computed numbers have one bit that hosts do not use, and 62 that are a
//! checksum: of a hundred million, one chance in a thousand that two are the same. By what number
//! the kernel knows a file is not this module's business.

use xxhash_rust::xxh3::xxh3_64;

use super::own::OwnFile;
use super::{Place, Tree, TreeError};
use crate::digest::{Algorithm, Digest};
use crate::layout::Node;
use crate::name::{LinkSet, Tag, UploadId};
use crate::registry::Queries;

/// The number of the top of a mount.
pub(super) const TOP: u64 = 1;
/// What tells computed numbers from those of plain files. Not the highest bit: many programs keep
/// inode numbers in databases that have signed numbers only.
const COMPUTED: u64 = 1 << 62;

/// What a number is computed from. Kinds and fields must stay as they are: backup programs
/// remember the numbers.
struct Fields(Vec<u8>);

impl Fields {
    fn of(kind: u8) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(kind);
        Self(bytes)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A text and what ends it: none contains a zero.
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

/// The number of a plain file that has this one on the host.
pub(super) fn plain(host: u64) -> u64 {
    match host & (COMPUTED - 1) {
        // No number, and that of the top.
        low @ (0 | TOP) => Fields::of(0).number(low).done(),
        low => low,
    }
}

/// The number of a file being written, while it is open.
pub(super) fn draft(id: u64) -> u64 {
    Fields::of(1).number(id).done()
}

/// The number of a hidden directory, while it is there.
pub(super) fn hidden(id: u64) -> u64 {
    Fields::of(3).number(id).done()
}

/// The number of one of our own files.
pub(super) fn own(file: OwnFile) -> u64 {
    Fields::of(2).text(file.name()).done()
}

/// The number of a node, whose repository or namespace has this one; nothing where there is none,
/// as of a directory that is there for those below only, which is known by its name.
pub(super) fn node(node: &Node, within: Option<u32>) -> u64 {
    let fields = |kind| {
        let fields = Fields::of(kind);
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

/// The number within which a node's own is unique: its repository's or namespace's.
pub(super) fn within(queries: &mut Queries<'_>, node: &Node) -> Result<Option<u32>, TreeError> {
    match node.namespace() {
        Some(name) => Ok(queries.repository_number(name)?),
        None => Ok(None),
    }
}

impl Tree {
    fn node_number(&self, one: &Node) -> Result<u64, TreeError> {
        Ok(node(one, within(&mut self.registry.queries(), one)?))
    }

    /// The number of a place, and of the directory that it is in.
    pub fn numbers(&self, place: &Place) -> Result<(u64, u64), TreeError> {
        let plain = |path| Ok::<_, TreeError>(self.plain.attributes(path)?.number);
        Ok(match place {
            Place::Plain(path) => (plain(path)?, plain(path.parent().unwrap_or(path))?),
            Place::Node(one) => match one.parent() {
                Some(parent) => (self.node_number(one)?, self.node_number(&parent)?),
                None => (self.node_number(one)?, plain(self.plain.root())?),
            },
            Place::Draft(id) => (draft(*id), TOP),
            Place::Hidden(id) => (hidden(*id), hidden(*id)),
            Place::Own(file) => (own(*file), TOP),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_what_they_were_and_say_where_they_come_from() {
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
