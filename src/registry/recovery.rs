//! Recovery: everything that opening a registry does to files.
//!
//! [`recover`] reads the pending publications, the logged bytes and the uploads from the index,
//! and has [`Blobs::recover`] make the files agree with them. Nothing else runs at opening, and
//! nothing here runs later. The order inside is irrelevant to callers: every step can be
//! repeated, so a crash during recovery is followed by another recovery.

use std::collections::{BTreeMap, BTreeSet};

use super::{Error, checkpoint};
use crate::blobs::{Blobs, PendingDraft};
use crate::digest::Digest;
use crate::index::{Index, LoggedBytes};

/// The rows of the index that say what a crash may have undone.
struct RecoveryRows {
    publications: Vec<(Digest, u64)>,
    logged: BTreeMap<u64, Vec<u8>>,
    /// The staging numbers of all uploads that have data.
    uploads: BTreeSet<u64>,
    /// Set if every row could be read.
    complete: bool,
}

impl RecoveryRows {
    fn read(index: &Index) -> Result<Self, Error> {
        let publications = index.list().pending_publications()?;
        let logged = index.list().logged_bytes()?;
        let uploads = index.list().all_uploads()?;
        let bytes = |row: LoggedBytes| (row.number, row.bytes);
        let with_data = uploads.rows.iter().filter(|(_, _, upload)| upload.has_data);
        Ok(Self {
            complete: publications.complete && logged.complete && uploads.complete,
            publications: publications.rows,
            logged: logged.rows.into_iter().map(bytes).collect(),
            uploads: with_data.map(|(_, _, upload)| upload.staging).collect(),
        })
    }

    /// Returns what the bytes of each staging number must become.
    fn plan(&self) -> Vec<PendingDraft<'_>> {
        let mut plan: Vec<PendingDraft<'_>> = Vec::new();
        let mut published = BTreeSet::new();
        for (digest, number) in &self.publications {
            published.insert(*number);
            plan.push(PendingDraft {
                id: *number,
                blob: Some(*digest),
                logged: self.logged_blob(*number, digest),
            });
        }
        let mut drafts = self.uploads.clone();
        if !self.complete {
            // An upload that cannot be read may own them, and the checkpoint drops their rows.
            drafts.extend(self.logged.keys().filter(|id| !published.contains(id)));
        }
        plan.extend(drafts.into_iter().map(|id| PendingDraft {
            id,
            blob: None,
            logged: self.logged.get(&id).map(Vec::as_slice),
        }));
        plan
    }

    /// Returns the bytes logged for a published number, if they are those of its blob.
    fn logged_blob(&self, number: u64, digest: &Digest) -> Option<&[u8]> {
        let bytes = self.logged.get(&number)?;
        if Digest::of(digest.algorithm(), bytes) == *digest {
            return Some(bytes);
        }
        log::error!("the bytes logged as {number} are not those of blob {digest}");
        None
    }
}

/// Brings files into agreement with the index after the store was closed or cut off:
/// - a pending publication is completed: its blob holds the logged bytes, or those of the staged
///   file, whatever stands at its path;
/// - an upload has a writable staged file of its own: with the logged bytes, or those that are
///   there, or empty (a crash may take a file in which nothing was durable);
/// - all other staged files are removed, unless a row of the index cannot be read.
///
/// Returns how many publications are still pending. Logged bytes are checkpointed before it
/// returns, so that none is pending then.
///
/// # Errors
/// Those of the index and the filesystem. A blob that cannot be recovered is no error here:
/// reading it reports that, and so does fsck.
pub(super) fn recover(index: &Index, blobs: &dyn Blobs) -> Result<usize, Error> {
    let rows = RecoveryRows::read(index)?;
    if !rows.complete {
        log::error!("nothing is removed from staging: repair the store with regfs fsck");
    }
    // A fact that cannot be read may be there.
    let is_fact = |digest: &Digest| {
        let blob = index.view().blobs().stored(digest);
        blob.map_or(true, |blob| blob.is_some())
    };
    blobs.recover(&rows.plan(), rows.complete, &is_fact)?;
    if rows.logged.is_empty() {
        return Ok(rows.publications.len());
    }
    checkpoint::checkpoint(index, blobs)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn digest(bytes: &[u8]) -> Digest {
        Digest::of(Algorithm::Sha256, bytes)
    }

    fn draft(id: u64, logged: Option<&[u8]>) -> PendingDraft<'_> {
        PendingDraft {
            id,
            blob: None,
            logged,
        }
    }

    #[test]
    fn a_blob_gets_the_logged_bytes_only_if_they_have_its_digest() {
        let rows = RecoveryRows {
            publications: vec![(digest(b"layer"), 1), (digest(b"other"), 2)],
            logged: BTreeMap::from([(1, b"layer".to_vec()), (2, b"torn".to_vec())]),
            uploads: BTreeSet::new(),
            complete: true,
        };
        let blob = |id, bytes, logged| PendingDraft {
            id,
            blob: Some(digest(bytes)),
            logged,
        };
        let plan = [
            blob(1, b"layer", Some(&b"layer"[..])),
            blob(2, b"other", None),
        ];
        assert_eq!(rows.plan(), plan);
    }

    #[test]
    fn logged_bytes_without_an_upload_are_recovered_only_if_a_row_cannot_be_read() {
        let mut rows = RecoveryRows {
            publications: Vec::new(),
            logged: BTreeMap::from([(1, b"begun".to_vec()), (2, b"lost".to_vec())]),
            uploads: BTreeSet::from([1, 3]),
            complete: true,
        };
        let known = [draft(1, Some(b"begun")), draft(3, None)];
        assert_eq!(rows.plan(), known);
        rows.complete = false;
        let all = [known[0], draft(2, Some(b"lost")), known[1]];
        assert_eq!(rows.plan(), all);
    }
}
