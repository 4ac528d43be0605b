//! The trash: blobs that were removed and can still be restored.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::reread::hash;
use super::tags::tags_that_need;
use crate::blobs::{Area, StoredBlob};
use crate::digest::Digest;
use crate::registry::{Error, Registry};

/// What the trash holds, or what was restored from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrashReport {
    /// The blobs, in the order of their digests.
    pub blobs: Vec<RemovedBlob>,
}

/// A blob in the trash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemovedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was removed.
    pub since: Timestamp,
    /// The tags that cannot be pulled without it, as `repository:tag`.
    pub needed_by: Vec<String>,
    /// The result of restoring it, for people; `None` if that was not requested.
    pub outcome: Option<String>,
}

/// The result of restoring a blob from the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The blob is stored again.
    Stored,
    /// The blob was stored already.
    AlreadyStored,
    /// The bytes do not have the digest: they stay in the trash.
    Damaged,
}

impl Restored {
    /// Returns the result, for people.
    fn name(self) -> &'static str {
        match self {
            Self::Stored => "restored",
            Self::AlreadyStored => "stored already",
            Self::Damaged => "damaged: it stays in the trash",
        }
    }
}

/// Lists the trash.
///
/// # Errors
/// The failure to read the trash or the index.
pub fn list_trash(registry: &Registry) -> Result<TrashReport, Error> {
    let blobs = registry.blobs().list(Area::Trash, None, usize::MAX)?;
    let blobs = blobs.iter().map(|blob| removed(registry, blob));
    Ok(TrashReport {
        blobs: blobs.collect::<Result<_, _>>()?,
    })
}

fn removed(registry: &Registry, blob: &StoredBlob) -> Result<RemovedBlob, Error> {
    Ok(RemovedBlob {
        digest: blob.digest,
        size: blob.len,
        since: Timestamp::try_from(blob.since).unwrap_or_default(),
        needed_by: tags_that_need(registry, &blob.digest, None)?,
        outcome: None,
    })
}

/// Restores blobs from the trash.
///
/// # Errors
/// [`Error::NotInTrash`] before anything is restored, if the trash does not have one of them.
pub fn undelete_all(registry: &Registry, wanted: &[Digest]) -> Result<TrashReport, Error> {
    let mut found = registry.blobs().list(Area::Trash, None, usize::MAX)?;
    found.retain(|blob| wanted.contains(&blob.digest));
    let is_absent = |digest: &&Digest| !found.iter().any(|blob| blob.digest == **digest);
    if let Some(digest) = wanted.iter().find(is_absent) {
        return Err(Error::NotInTrash { digest: *digest });
    }
    let mut blobs = Vec::new();
    for blob in &found {
        let outcome = undelete(registry, &blob.digest)?;
        blobs.push(RemovedBlob {
            outcome: Some(outcome.name().to_owned()),
            ..removed(registry, blob)?
        });
    }
    registry.sync_always()?;
    Ok(TrashReport { blobs })
}

/// Restores a blob from the trash.
///
/// # Errors
/// [`Error::is_missing_blob`] if the trash does not have it.
pub fn undelete(registry: &Registry, digest: &Digest) -> Result<Restored, Error> {
    let blob = registry.lock_blob(digest);
    if blob.record()?.is_some() {
        return Ok(Restored::AlreadyStored);
    }
    let content = registry.blobs().open(Area::Trash, digest)?;
    if hash(content.as_ref(), digest)? != *digest {
        return Ok(Restored::Damaged);
    }
    blob.restore()?;
    blob.add(content.len())?;
    Ok(Restored::Stored)
}

impl fmt::Display for TrashReport {
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
