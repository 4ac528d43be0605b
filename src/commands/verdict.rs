//! The verdict on a manifest: admitted, with what it references, or refused, with the reason.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Algorithm;
use crate::manifest::{Manifest, Refusal};

/// The verdict on a manifest. Its JSON is the output of `regfs check --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// A write through the mount would store the manifest.
    Admitted {
        /// Its kind, as in "OCI image manifest".
        kind: String,
        /// The media type with which a registry would serve it.
        media_type: String,
        /// Its digest.
        digest: String,
        /// Its size in bytes, as stored.
        size: usize,
        /// The blobs and manifests that it references.
        references: Vec<NamedReference>,
        /// Findings that do not lead to a refusal.
        warnings: Vec<String>,
    },
    /// A write through the mount would fail.
    Refused {
        /// The name of the rule that the manifest breaks.
        rule: String,
        /// Where in the manifest, as a JSON pointer.
        pointer: String,
        /// The value found there.
        value: String,
        /// What was expected.
        expected: String,
        /// The above as one sentence.
        reason: String,
    },
}

/// A reference of a manifest to a blob or another manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamedReference {
    /// Where in the manifest, as a JSON pointer.
    pub pointer: String,
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes, if the manifest states it.
    pub size: Option<u64>,
}

impl Verdict {
    /// Returns the verdict for the result of validating `document`.
    pub(super) fn of(document: &[u8], judged: Result<Manifest, Refusal>) -> Self {
        match judged {
            Ok(manifest) => Self::Admitted {
                kind: manifest.kind().name().into(),
                media_type: manifest.media_type().into(),
                digest: manifest.digest(document, Algorithm::Sha256).to_string(),
                size: manifest.payload(document).len(),
                warnings: manifest.warnings().to_vec(),
                references: references(&manifest),
            },
            Err(refusal) => Self::Refused {
                rule: refusal.rule.name().into(),
                reason: refusal.to_string(),
                pointer: refusal.pointer,
                value: refusal.value,
                expected: refusal.expected,
            },
        }
    }

    /// Returns `true` if the manifest is admitted.
    pub fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted { .. })
    }
}

/// Returns the references of a manifest.
fn references(manifest: &Manifest) -> Vec<NamedReference> {
    let references = manifest.references().iter();
    references
        .map(|one| NamedReference {
            pointer: one.pointer.clone(),
            digest: one.digest.to_string(),
            media_type: one.media_type.clone(),
            size: one.size,
        })
        .collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reason, .. } => write!(f, "refused: {reason}"),
            Self::Admitted {
                kind,
                digest,
                size,
                references,
                warnings,
                ..
            } => {
                write!(f, "admitted: {kind}, {size} bytes, {digest}")?;
                for one in references {
                    write!(f, "\n  {} {} {}", one.pointer, one.digest, one.media_type)?;
                }
                for warning in warnings {
                    write!(f, "\n  warning: {warning}")?;
                }
                Ok(())
            }
        }
    }
}
