//! Records: facts as values, and their encoding (the table is in `key.rs`).

use super::field_reader::FieldReader;
use super::id::{DigestId, RepositoryId};
use crate::digest::{Algorithm, Digest};

/// The bit of an algorithm in a set of flags.
fn position(algorithm: Algorithm) -> u32 {
    match algorithm {
        Algorithm::Sha256 => 0,
        Algorithm::Sha384 => 1,
        Algorithm::Sha512 => 2,
    }
}

/// The directories of a repository that were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepositoryDirectories(pub(super) u16);

impl RepositoryDirectories {
    /// `_layers`.
    pub const LAYERS: Self = Self(1);
    /// `_manifests`.
    pub const MANIFESTS: Self = Self(2);
    /// `_manifests/tags`.
    pub const TAGS: Self = Self(4);
    /// `_manifests/revisions`.
    pub const REVISIONS: Self = Self(8);
    /// `_uploads`.
    pub const UPLOADS: Self = Self(16);

    /// The directory of an algorithm in this one, which must be [`LAYERS`](Self::LAYERS) or
    /// [`REVISIONS`](Self::REVISIONS).
    #[must_use]
    pub fn of(self, algorithm: Algorithm) -> Self {
        let first = if self == Self::LAYERS { 5 } else { 8 };
        Self(1 << (first + position(algorithm)))
    }

    /// Returns `true` if all of `other` were created.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns `true` if any of `other` was created.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The union with `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A repository, or a directory that leads to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its id.
    pub id: RepositoryId,
    /// The directories that were created.
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

/// A digest with an id, which may be a blob.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and one bit on the disk"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The id of the digest.
    pub id: DigestId,
    /// `true` if the content is stored.
    pub present: bool,
    /// `true` if the blob's directory was created, or remains from content that was stored.
    pub has_directory: bool,
    /// `true` if the content is in the index.
    pub inline: bool,
    /// `true` if the content was found not to match the digest.
    pub damaged: bool,
    /// Length of the content in bytes.
    pub size: u64,
    /// When the content or the directory was stored, in seconds since 1970.
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

/// A link, or the directory that was created for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The directory only.
    Directory,
    /// The link, which may name a digest other than that of its path.
    Linked {
        /// The digest that it names.
        target: Digest,
        /// When it was written, in seconds since 1970.
        pushed: u32,
    },
}

/// The directories of a tag that were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagDirectories(pub(super) u8);

impl TagDirectories {
    /// `current`.
    pub const CURRENT: Self = Self(1);
    /// `index`.
    pub const INDEX: Self = Self(2);

    /// The directory of an algorithm in `index`.
    pub fn index_of(algorithm: Algorithm) -> Self {
        Self(1 << (2 + position(algorithm)))
    }

    /// Returns `true` if all of `other` were created.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The union with `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A tag, which names its manifest by digest (in the store, by id).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagRecord<Manifest = Digest> {
    /// The directories that were created.
    pub directories: TagDirectories,
    /// The manifest that the tag points to, and since when (seconds since 1970).
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

/// Logged bytes: the content of a staging file that is not durable in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedBytes {
    /// The number of the staging file.
    pub number: u64,
    /// Differs each time that bytes are logged for the file.
    pub generation: u64,
    /// The whole content.
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
    /// `true` if the file `data` exists, even empty.
    pub has_data: bool,
    /// The number of its staging file.
    pub staging: u64,
    /// The content of `startedat`, as the registry wrote it.
    pub started_at: Option<Vec<u8>>,
    /// `true` if the directory `hashstates` was created.
    pub hash_states: bool,
    /// The algorithms whose directory in `hashstates` was created, one bit each.
    pub algorithms: u8,
    /// When any of this changed, in seconds since 1970.
    pub updated: u32,
}

impl Upload {
    /// Returns `true` if the directory of the algorithm in `hashstates` was created.
    pub fn has_hash_states_directory(&self, algorithm: Algorithm) -> bool {
        self.algorithms & 1 << position(algorithm) != 0
    }

    /// With the directory of the algorithm in `hashstates`.
    #[must_use]
    pub fn with_hash_states_directory(mut self, algorithm: Algorithm) -> Self {
        self.algorithms |= 1 << position(algorithm);
        self
    }

    /// Without the directory of the algorithm in `hashstates`.
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

/// The role of a digest in the manifest that references it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeRole {
    /// The configuration.
    Config,
    /// A layer.
    Layer,
    /// A manifest of an index.
    Child,
    /// The subject (OCI image-spec 1.1, "subject").
    Subject,
}

impl EdgeRole {
    const ALL: [Self; 4] = [Self::Config, Self::Layer, Self::Child, Self::Subject];

    /// The role of a byte.
    pub(super) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.byte() == byte)
    }

    /// The name of the role in messages.
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

/// The time of writing (seconds since 1970) and the content of a hash state.
pub(super) fn decode_hash_state(value: &[u8]) -> Option<(u32, Vec<u8>)> {
    let mut fields = FieldReader(value);
    Some((fields.u32()?, fields.0.to_vec()))
}
