//! Records: the facts as values, and how each is written down (the table stands in `key.rs`).

use super::key::FieldReader;
use crate::digest::{Algorithm, Digest};

/// The number of a repository, given out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId(pub(super) u32);

/// The number of a digest, given out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestId(pub(super) u32);

impl RepositoryId {
    /// The number itself.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl DigestId {
    /// The number itself.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// The position of an algorithm among an algorithm's flags.
fn position(algorithm: Algorithm) -> u32 {
    match algorithm {
        Algorithm::Sha256 => 0,
        Algorithm::Sha384 => 1,
        Algorithm::Sha512 => 2,
    }
}

/// Which directories of a repository were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepositoryDirectories(pub(super) u16);

impl RepositoryDirectories {
    /// Of its layers.
    pub const LAYERS: Self = Self(1);
    /// Of its revisions and tags.
    pub const MANIFESTS: Self = Self(2);
    /// Of its tags.
    pub const TAGS: Self = Self(4);
    /// Of its revisions.
    pub const REVISIONS: Self = Self(8);
    /// Of its uploads.
    pub const UPLOADS: Self = Self(16);

    /// The directory of an algorithm in this one, which is that of layers or of revisions.
    #[must_use]
    pub fn of(self, algorithm: Algorithm) -> Self {
        let first = if self == Self::LAYERS { 5 } else { 8 };
        Self(1 << (first + position(algorithm)))
    }

    /// Whether all of `other` were made.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` was made.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These and `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These but not `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A repository, or a directory on the way to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its number.
    pub id: RepositoryId,
    /// Which of its directories were made.
    pub directories: RepositoryDirectories,
}

impl Repository {
    pub(super) fn encode(self) -> Vec<u8> {
        [
            &self.id.0.to_be_bytes()[..],
            &self.directories.0.to_be_bytes(),
        ]
        .concat()
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(value);
        let id = RepositoryId(fields.u32()?);
        Some(Self {
            id,
            directories: RepositoryDirectories(fields.u16()?),
        })
    }
}

/// A digest that is known, and perhaps a blob.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and one bit on the disk"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The digest's number.
    pub id: DigestId,
    /// Whether the bytes are there.
    pub present: bool,
    /// Whether its directory was made, or is left from bytes that were there.
    pub has_directory: bool,
    /// Whether the bytes are in the index.
    pub inline: bool,
    /// Whether the bytes were found to be others than its name says.
    pub damaged: bool,
    /// Length of the bytes.
    pub size: u64,
    /// When they, or the directory, came.
    pub created: u32,
}

impl Blob {
    pub(super) fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.present)
            | u8::from(self.has_directory) << 1
            | u8::from(self.inline) << 2
            | u8::from(self.damaged) << 3;
        let mut value = self.id.0.to_be_bytes().to_vec();
        value.push(flags);
        value.extend(self.size.to_be_bytes());
        value.extend(self.created.to_be_bytes());
        value
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(value);
        let id = fields.id()?;
        let flags = fields.u8()?;
        let (size, created) = (fields.u64()?, fields.u32()?);
        Some(Self {
            id,
            present: flags & 1 != 0,
            has_directory: flags & 2 != 0,
            inline: flags & 4 != 0,
            damaged: flags & 8 != 0,
            size,
            created,
        })
    }
}

/// A link, or the directory that was made for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Only the directory.
    Directory,
    /// The link, which may name another digest than its path does.
    Linked {
        /// What it names.
        target: Digest,
        /// When it was written.
        pushed: u32,
    },
}

/// Which directories of a tag were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagDirectories(pub(super) u8);

impl TagDirectories {
    /// Of the current link.
    pub const CURRENT: Self = Self(1);
    /// Of the index.
    pub const INDEX: Self = Self(2);

    /// Of an algorithm in the index.
    pub fn index_of(algorithm: Algorithm) -> Self {
        Self(1 << (2 + position(algorithm)))
    }

    /// Whether all of `other` were made.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These but not `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A tag, which names its manifest by digest; as it is stored, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagRecord<Manifest = Digest> {
    /// Which of its directories were made.
    pub directories: TagDirectories,
    /// The manifest it is at, and since when.
    pub current: Option<(Manifest, u32)>,
}

impl<Manifest> Default for TagRecord<Manifest> {
    fn default() -> Self {
        Self {
            directories: TagDirectories::default(),
            current: None,
        }
    }
}

impl TagRecord<DigestId> {
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(value);
        Some(Self {
            directories: TagDirectories(fields.u8()?),
            current: fields.id().zip(fields.u32()),
        })
    }
}

/// Staged bytes that their file may not have after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedBytes {
    /// The number under which they are staged.
    pub number: u64,
    /// Whose turn it was: another one each time that something is kept.
    pub generation: u64,
    /// All of them.
    pub bytes: Vec<u8>,
}

impl LoggedBytes {
    pub(super) fn decode(number: u64, value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(value);
        let (generation, bytes) = (fields.u64()?, fields.0.to_vec());
        Some(Self {
            number,
            generation,
            bytes,
        })
    }
}

/// An upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upload {
    /// Whether it has bytes, even none yet.
    pub has_data: bool,
    /// The number under which they are staged.
    pub staging: u64,
    /// What its registry wrote as its start.
    pub started_at: Option<Vec<u8>>,
    /// Whether the directory of its hash states was made.
    pub hash_states: bool,
    /// The algorithms for which a directory of hash states was made, one bit each.
    pub algorithms: u8,
    /// When any of this changed.
    pub updated: u32,
}

impl Upload {
    /// Whether the directory of hash states of this algorithm was made.
    pub fn has_hash_states_directory(&self, algorithm: Algorithm) -> bool {
        self.algorithms & 1 << position(algorithm) != 0
    }

    /// With the directory of hash states of this algorithm.
    #[must_use]
    pub fn with_hash_states_directory(mut self, algorithm: Algorithm) -> Self {
        self.algorithms |= 1 << position(algorithm);
        self
    }

    /// Without the directory of hash states of this algorithm.
    #[must_use]
    pub fn without_hash_states_directory(mut self, algorithm: Algorithm) -> Self {
        self.algorithms &= !(1 << position(algorithm));
        self
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.has_data)
            | u8::from(self.started_at.is_some()) << 1
            | u8::from(self.hash_states) << 2
            | self.algorithms << 3;
        let mut value = vec![flags];
        value.extend(self.staging.to_be_bytes());
        value.extend(self.updated.to_be_bytes());
        value.extend(self.started_at.iter().flatten());
        value
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(value);
        let flags = fields.u8()?;
        let (staging, updated) = (fields.u64()?, fields.u32()?);
        Some(Self {
            has_data: flags & 1 != 0,
            staging,
            started_at: (flags & 2 != 0).then(|| fields.0.to_vec()),
            hash_states: flags & 4 != 0,
            algorithms: flags >> 3,
            updated,
        })
    }
}

/// What a manifest names something as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeRole {
    /// Its configuration.
    Config,
    /// A layer.
    Layer,
    /// A manifest of an index.
    Child,
    /// The manifest that it is about.
    Subject,
}

impl EdgeRole {
    const ALL: [Self; 4] = [Self::Config, Self::Layer, Self::Child, Self::Subject];

    /// The role that a byte stands for.
    pub(super) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.byte() == byte)
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Layer => "layer",
            Self::Child => "manifest",
            Self::Subject => "subject",
        }
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Config => 1,
            Self::Layer => 2,
            Self::Child => 3,
            Self::Subject => 4,
        }
    }
}
