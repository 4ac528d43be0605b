//! Repair: facts and bytes brought to agree, one finding at a time.
//!
//! Bytes are never thrown away: what is taken out is in the trash.

use std::sync::Arc;
use std::time::Instant;

use super::{FsckFinding, FsckReport, RepairAction};
use crate::blobs::{Area, BlobsError, StoredBytes};
use crate::digest::Digest;
use crate::maintenance::reread::{OnDisk, hash, reread};
use crate::name::{LinkSet, RepositoryName};
use crate::registry::{Error, Registry};

impl RepairAction {
    /// What it does, in words; nothing if it does nothing.
    pub(super) fn plan(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::GoOn => Some("go on with what there is, the damaged segments kept aside"),
            Self::Mend(flaw) if flaw.value.is_none() => Some("write the row"),
            Self::Mend(_) => Some("remove the row"),
            Self::Learn(_) => Some("read the manifest again"),
            Self::Missing(_) => {
                Some("take its bytes back from the trash, or else forget it until it is pushed")
            }
            Self::TakeOut(_) => Some("take it out, so that it can be pushed again"),
            Self::Unlink(..) => Some("remove the link, at which collection would end"),
            Self::Adopt(_) => Some("make it a blob if its bytes are right, or else take it out"),
        }
    }
}

/// Repairs the findings of a check, and marks those that were repaired in the report.
///
/// # Errors
/// The failure to read or write the index, or a blob.
pub fn repair_all(registry: &Registry, report: &mut FsckReport) -> Result<(), Error> {
    let began = Instant::now();
    report.repair = true;
    for finding in &mut report.findings {
        finding.repaired = repair(registry, finding)?;
        report.repaired += u64::from(finding.repaired);
    }
    registry.sync_always()?;
    report.seconds += began.elapsed().as_secs_f64();
    Ok(())
}

/// Repairs one finding. Returns `true` if that changed anything.
pub(super) fn repair(registry: &Registry, finding: &FsckFinding) -> Result<bool, Error> {
    match &finding.action {
        RepairAction::Nothing => Ok(false),
        // Opening the store has accepted the loss already.
        RepairAction::GoOn => {
            *registry.journal_damage() = None;
            Ok(true)
        }
        RepairAction::Mend(flaw) => Ok(registry.index().repair(flaw)?),
        RepairAction::Learn(digest) => {
            registry.lock_blob(digest).index_references()?;
            Ok(true)
        }
        RepairAction::Missing(digest) => bring_back(registry, digest),
        RepairAction::TakeOut(digest) => take_out(registry, digest),
        RepairAction::Unlink(name, digest) => unlink(registry, name, digest),
        RepairAction::Adopt(digest) => adopt_file(registry, digest),
    }
}

/// Restores the bytes of a blob from the trash if they are right there; otherwise records that
/// the blob is not stored.
fn bring_back(registry: &Registry, digest: &Digest) -> Result<bool, Error> {
    let blob = registry.lock_blob(digest);
    if registry.blobs().open(Area::Live, digest).is_ok() {
        return Ok(false);
    }
    if right(registry.blobs().open(Area::Trash, digest), digest)?.is_some() {
        blob.restore()?;
        registry.blobs().sync()?;
        return Ok(true);
    }
    blob.forget()?;
    Ok(true)
}

/// Moves a blob whose bytes are still wrong into the trash, after the index has forgotten it.
/// Right bytes in the trash replace them.
fn take_out(registry: &Registry, digest: &Digest) -> Result<bool, Error> {
    let locked = registry.lock_blob(digest);
    let Some(blob) = locked.record()? else {
        return Ok(false);
    };
    // It was pushed again since, or the index had another length.
    if let OnDisk::Right(size) = reread(registry, digest, |_| {})? {
        if blob.inline {
            registry.mark_verified(&[*digest], false)?;
        } else {
            locked.add(size)?;
        }
        return Ok(true);
    }
    let retired = right(registry.blobs().open(Area::Trash, digest), digest)?;
    locked.checkpoint()?;
    locked.forget()?;
    if let Some(size) = retired {
        locked.restore()?;
        locked.add(size)?;
        return Ok(true);
    }
    locked.retire()?;
    Ok(true)
}

/// Removes the link of a revision whose bytes are still missing.
fn unlink(registry: &Registry, name: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
    let _locked = registry.lock_blob(digest);
    let set = LinkSet::Revisions;
    match registry.queries().link(name, &set, digest) {
        Ok((target, _)) if !registry.queries().has_blob(&target)? => {
            registry.links().remove(name, &set, digest)?;
            Ok(true)
        }
        Ok(_) | Err(Error::Missing) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a file that no fact names a blob if its bytes are right; moves it into the trash
/// otherwise.
fn adopt_file(registry: &Registry, digest: &Digest) -> Result<bool, Error> {
    let locked = registry.lock_blob(digest);
    let known = locked.record()?;
    if known.is_some_and(|blob| !blob.inline) {
        return Ok(false);
    }
    let content = registry.blobs().open(Area::Live, digest)?;
    if known.is_some() || hash(content.as_ref(), digest)? != *digest {
        locked.retire()?;
        return Ok(true);
    }
    locked.add(content.len())?;
    Ok(true)
}

/// Returns the length of bytes that are stored and have the digest.
fn right(
    content: Result<Arc<dyn StoredBytes>, BlobsError>,
    digest: &Digest,
) -> Result<Option<u64>, Error> {
    let content = match content {
        Err(BlobsError::Missing(_)) => return Ok(None),
        content => content?,
    };
    let actual = hash(content.as_ref(), digest)?;
    Ok((actual == *digest).then(|| content.len()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::Algorithm;
    use crate::maintenance::{Fault, Progress, ScrubOptions, check, scrub};
    use crate::registry::{Bytes, INLINE_BYTES_MAX};
    use crate::{blobs, blobs::Blobs as _};

    static LAYER: [u8; INLINE_BYTES_MAX + 1] = [1; INLINE_BYTES_MAX + 1];

    /// What fsck says of a layer that has rotted.
    fn rot(registry: &Registry, bytes: &blobs::MemoryBlobs, digest: &Digest) -> FsckFinding {
        let rotten = blobs::ImportSource::Bytes(b"rotten");
        bytes.import(Area::Live, digest, rotten).unwrap();
        let options = ScrubOptions {
            rate: None,
            age: Duration::ZERO,
        };
        scrub(registry, &options, &Progress::default()).unwrap();
        assert!(registry.read_blob(digest).is_err());
        let found = check(registry, &Progress::default()).unwrap().findings;
        let mut found = found.into_iter();
        found.find(|one| one.fault == Fault::BlobSize).unwrap()
    }

    #[test]
    fn what_was_pushed_again_since_the_check_is_not_taken_out() {
        let (registry, bytes) = Registry::in_memory();
        let digest = Digest::of(Algorithm::Sha256, &LAYER);
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        let finding = rot(&registry, &bytes, &digest);
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        repair(&registry, &finding).unwrap();
        assert_eq!(
            registry.read_blob(&digest).unwrap().read_all().unwrap(),
            LAYER
        );
    }

    #[test]
    fn right_bytes_in_the_trash_take_the_place_of_wrong_ones() {
        let (registry, bytes) = Registry::in_memory();
        let digest = Digest::of(Algorithm::Sha256, &LAYER);
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        bytes.move_to(Area::Trash, &digest).unwrap();
        let finding = rot(&registry, &bytes, &digest);
        assert!(repair(&registry, &finding).unwrap());
        assert_eq!(
            registry.read_blob(&digest).unwrap().read_all().unwrap(),
            LAYER
        );
        // Bytes that stay wrong go to the trash, and can be pushed again.
        let finding = rot(&registry, &bytes, &digest);
        assert!(repair(&registry, &finding).unwrap());
        assert!(!registry.queries().has_blob(&digest).unwrap());
        assert!(bytes.open(Area::Trash, &digest).is_ok());
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        assert_eq!(
            registry.read_blob(&digest).unwrap().read_all().unwrap(),
            LAYER
        );
    }
}
