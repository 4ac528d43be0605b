//! Pending adoptions: facts, small blobs and references that wait for the next transaction.

use super::fact::{is_present, put};
use crate::digest::Digest;
use crate::index::Transaction;
use crate::layout::Node;
use crate::manifest::ManifestSummary;
use crate::registry::references::{record_manifest, references};
use crate::registry::{Error, Fact, Value};

/// An addition that is waiting for the next transaction.
pub(super) enum PendingAdoption {
    Fact(Fact),
    /// A small blob.
    Inline {
        digest: Digest,
        bytes: Vec<u8>,
        created: u32,
    },
    /// The references of a manifest.
    Manifest {
        digest: Digest,
        manifest: Box<ManifestSummary>,
    },
}

impl PendingAdoption {
    /// Returns the most operations of the index that it takes, and its bytes.
    pub(super) fn cost(&self) -> (usize, usize) {
        match self {
            Self::Fact((_, Value::Directory | Value::Ownership(_))) => (12, 0),
            Self::Fact(_) => (24, 0),
            Self::Inline { bytes, .. } => (12, bytes.len()),
            Self::Manifest { manifest, .. } => (8 + 6 * manifest.references.len(), 0),
        }
    }

    /// Returns the digest of a blob whose file is in the store already.
    pub(super) fn stored_file(&self) -> Option<Digest> {
        match self {
            Self::Fact((Node::BlobData(digest), _)) => Some(*digest),
            Self::Fact(_) | Self::Inline { .. } | Self::Manifest { .. } => None,
        }
    }

    /// Adds it, unless it is present. Returns the number of new facts.
    pub(super) fn apply(&self, tx: &mut Transaction<'_>) -> Result<u64, Error> {
        match self {
            Self::Fact(fact) if is_present(tx, fact)? => Ok(0),
            Self::Fact(fact) => {
                put(tx, fact)?;
                Ok(1)
            }
            Self::Inline {
                digest,
                bytes,
                created,
            } => {
                tx.blobs().put_inline(digest, bytes, *created)?;
                Ok(1)
            }
            Self::Manifest { digest, manifest } => {
                tx.manifests().put_edges(digest, 0, &references(manifest))?;
                record_manifest(tx, digest, manifest)?;
                Ok(0)
            }
        }
    }
}
