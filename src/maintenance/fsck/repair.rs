//! Repair: makes facts and files agree again, one finding at a time.
//!
//! It never deletes bytes: wrong bytes are moved to the trash.

use std::sync::Arc;
use std::time::Instant;

use super::{FsckFinding, FsckReport, RepairAction};
use crate::blobs::{Area, BlobsError, StoredBytes};
use crate::digest::Digest;
use crate::maintenance::reread::{OnDisk, hash, reread};
use crate::name::{LinkSet, RepositoryName};
use crate::registry::{Error, Registry};

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
        RepairAction::AcceptLoss => {
            *registry.journal_damage() = None;
            Ok(true)
        }
        RepairAction::MendRow(flaw) => Ok(registry.index().repair(flaw)?),
        RepairAction::IndexReferences(digest) => {
            registry.lock_blob(digest).index_references()?;
            Ok(true)
        }
        RepairAction::RestoreOrForget(digest) => restore_or_forget(registry, digest),
        RepairAction::MoveToTrash(digest) => move_to_trash(registry, digest),
        RepairAction::Unlink(name, digest) => unlink(registry, name, digest),
        RepairAction::AdoptFile(digest) => adopt_file(registry, digest),
    }
}

/// Restores the bytes of a blob from the trash if they have the digest; otherwise records that
/// the blob is not stored.
fn restore_or_forget(registry: &Registry, digest: &Digest) -> Result<bool, Error> {
    let blob = registry.lock_blob(digest);
    if registry.blobs().open(Area::Live, digest).is_ok() {
        return Ok(false);
    }
    if stored_len(registry.blobs().open(Area::Trash, digest), digest)?.is_some() {
        blob.restore()?;
        registry.blobs().sync()?;
        return Ok(true);
    }
    blob.forget()?;
    Ok(true)
}

/// Moves a blob whose bytes are still wrong into the trash, after the index has forgotten it.
/// Right bytes in the trash replace them.
fn move_to_trash(registry: &Registry, digest: &Digest) -> Result<bool, Error> {
    let locked = registry.lock_blob(digest);
    let Some(blob) = locked.record()? else {
        return Ok(false);
    };
    // The blob was pushed again meanwhile, or only the length in the index was wrong.
    if let OnDisk::Right(size) = reread(registry, digest, |_| {})? {
        if blob.inline {
            registry.mark_verified(&[*digest], false)?;
        } else {
            locked.add(size)?;
        }
        return Ok(true);
    }
    let retired = stored_len(registry.blobs().open(Area::Trash, digest), digest)?;
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

/// Returns the length in bytes of content that has the digest; `None` if it is missing or wrong.
fn stored_len(
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
    use crate::maintenance::{Progress, ScrubOptions, StoreFault, check, scrub};
    use crate::registry::{Bytes, INLINE_BYTES_MAX};
    use crate::{blobs, blobs::Blobs as _};

    static LAYER: [u8; INLINE_BYTES_MAX + 1] = [1; INLINE_BYTES_MAX + 1];

    /// Damages a layer, and returns the finding of fsck about it.
    fn damage(registry: &Registry, bytes: &blobs::MemoryBlobs, digest: &Digest) -> FsckFinding {
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
        found.find(|one| one.fault == StoreFault::BlobSize).unwrap()
    }

    #[test]
    fn a_blob_that_was_pushed_again_after_the_check_is_not_moved_to_the_trash() {
        let (registry, bytes) = Registry::in_memory();
        let digest = Digest::of(Algorithm::Sha256, &LAYER);
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        let finding = damage(&registry, &bytes, &digest);
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        repair(&registry, &finding).unwrap();
        assert_eq!(
            registry.read_blob(&digest).unwrap().read_all().unwrap(),
            LAYER
        );
    }

    #[test]
    fn right_bytes_in_the_trash_replace_wrong_ones() {
        let (registry, bytes) = Registry::in_memory();
        let digest = Digest::of(Algorithm::Sha256, &LAYER);
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        bytes.move_to(Area::Trash, &digest).unwrap();
        let finding = damage(&registry, &bytes, &digest);
        assert!(repair(&registry, &finding).unwrap());
        assert_eq!(
            registry.read_blob(&digest).unwrap().read_all().unwrap(),
            LAYER
        );
        // Without right bytes, the wrong ones go to the trash, and the blob can be pushed again.
        let finding = damage(&registry, &bytes, &digest);
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
