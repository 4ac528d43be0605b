//! `regfs undelete`: what is in the trash, and taking it back.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::CommandError;
use crate::digest::Digest;
use crate::registry::{Registry, Restored};

/// What is in the trash, or what was taken back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trash {
    /// Blob by blob.
    pub blobs: Vec<Removed>,
}

/// A blob in the trash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removed {
    /// Its digest.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
    /// Since when it is there.
    pub since: String,
    /// Tags that cannot be pulled without it.
    pub needed_by: Vec<String>,
    /// What came of taking it back; nothing if nobody asked for that.
    pub outcome: Option<String>,
}

/// Lists the trash, or takes blobs back: those that are named.
pub(super) fn undelete(registry: &Registry, wanted: &[Digest]) -> Result<Trash, CommandError> {
    let mut blobs = Vec::new();
    for retired in registry.trash()? {
        if !wanted.is_empty() && !wanted.contains(&retired.digest) {
            continue;
        }
        let outcome = if wanted.is_empty() {
            None
        } else {
            Some(match registry.undelete(&retired.digest)? {
                Restored::Back => "taken back",
                Restored::There => "there already",
                Restored::Damaged => "damaged: it stays in the trash",
            })
        };
        let tags = registry.queries().tags_of(&retired.digest, None)?;
        let since = Timestamp::try_from(retired.since).unwrap_or_default();
        blobs.push(Removed {
            digest: retired.digest.to_string(),
            size: retired.len,
            since: since.to_string(),
            needed_by: tags
                .iter()
                .map(|(name, tag)| format!("{name}:{tag}"))
                .collect(),
            outcome: outcome.map(str::to_owned),
        });
    }
    for digest in wanted {
        if !blobs.iter().any(|one| one.digest == digest.to_string()) {
            let text = format!("the trash holds no {digest}");
            return Err(CommandError::Usage(text));
        }
    }
    registry.sync_always()?;
    Ok(Trash { blobs })
}

impl fmt::Display for Trash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.blobs {
            write!(
                f,
                "{} {} bytes, removed {}",
                one.digest, one.size, one.since
            )?;
            if !one.needed_by.is_empty() {
                write!(f, ", needed by {}", one.needed_by.join(", "))?;
            }
            match &one.outcome {
                Some(outcome) => writeln!(f, ": {outcome}")?,
                None => writeln!(f)?,
            }
        }
        write!(f, "{} blobs", self.blobs.len())
    }
}
