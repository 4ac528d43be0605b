//! Verdict: whether a manifest would be admitted, and why not.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Algorithm;
use crate::manifest::{Manifest, Refusal};

/// The verdict on a document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// The registry would store it.
    Admitted {
        /// Its kind, for people.
        kind: String,
        /// The media type with which a registry would serve it.
        media_type: String,
        /// Its digest.
        digest: String,
        /// Its length in bytes, as stored.
        size: usize,
        /// The blobs and manifests that it names.
        references: Vec<NamedReference>,
        /// Findings that do not refuse it.
        warnings: Vec<String>,
    },
    /// The registry would refuse it.
    Refused {
        /// The rule that it breaks.
        rule: String,
        /// The place in the document, as a JSON pointer.
        pointer: String,
        /// The value at that place.
        value: String,
        /// What was expected.
        expected: String,
        /// All of this in one sentence.
        reason: String,
    },
}

/// A blob or manifest that a manifest names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamedReference {
    /// The place of the reference, as a JSON pointer.
    pub pointer: String,
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes, if the manifest says it.
    pub size: Option<u64>,
}

impl Verdict {
    /// Returns the verdict on a document that was validated.
    pub(super) fn of(document: &[u8], judged: Result<Manifest, Refusal>) -> Self {
        match judged {
            Ok(manifest) => Self::Admitted {
                kind: manifest.kind().name().into(),
                media_type: manifest.media_type().into(),
                digest: manifest.digest(document, Algorithm::Sha256).to_string(),
                size: manifest.payload(document).len(),
                warnings: manifest.warnings().to_vec(),
                references: named(&manifest),
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

    /// Returns `true` if the registry would store the document.
    pub fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted { .. })
    }
}

fn named(manifest: &Manifest) -> Vec<NamedReference> {
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
