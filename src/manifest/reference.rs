//! References: the blobs and manifests that a manifest names.

use std::borrow::Cow;
use std::fmt;

use crate::digest::{Algorithm, Digest};

/// Media type of the empty configuration.
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The role of a reference in its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceRole {
    /// The configuration.
    Config,
    /// A layer.
    Layer,
    /// A manifest of an index.
    Child,
    /// The subject (OCI image-spec 1.1, "subject").
    Subject,
}

/// What the repository must have for a reference to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// A blob, linked in the repository as a layer.
    Blob,
    /// A manifest, linked in the repository as a revision.
    Manifest,
    /// Either of them: an entry of an index whose media type is no manifest's.
    Either,
    /// Nothing: subjects may be missing, and foreign layers are stored elsewhere.
    Nothing,
}

/// The digest of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferencedDigest {
    /// A digest.
    Known(Digest),
    /// A digest of an algorithm that this program does not implement.
    UnknownAlgorithm(String),
}

impl ReferencedDigest {
    /// The digest, if its algorithm is known.
    pub fn known(&self) -> Option<&Digest> {
        match self {
            Self::Known(digest) => Some(digest),
            Self::UnknownAlgorithm(_) => None,
        }
    }
}

impl fmt::Display for ReferencedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(digest) => digest.fmt(f),
            Self::UnknownAlgorithm(text) => f.write_str(text),
        }
    }
}

/// A reference of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its role.
    pub role: ReferenceRole,
    /// The media type that the manifest states.
    pub media_type: String,
    /// The digest.
    pub digest: ReferencedDigest,
    /// The size in bytes, if the manifest states it (schema 1 does not).
    pub size: Option<u64>,
    /// The place in the manifest, as a JSON pointer.
    pub pointer: String,
    /// What the repository must have.
    pub requirement: Requirement,
}

impl Reference {
    /// Returns `true` for the empty configuration `{}` that artifacts share (OCI image-spec 1.1.1,
    /// "Guidance for an Empty Descriptor"), whose content is fixed by the specification.
    pub fn is_empty_object(&self) -> bool {
        self.media_type == EMPTY
            && self.size == Some(2)
            && self.digest == ReferencedDigest::Known(Digest::of(Algorithm::Sha256, b"{}"))
    }
}

/// Media type and references of a manifest, admitted or found: they are served, recorded and
/// checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestSummary {
    /// The media type under which registries serve it.
    pub media_type: Cow<'static, str>,
    /// The references, with the subject last.
    pub references: Vec<Reference>,
}
