//! Blobs of a store that is open read-only. Bytes that recovery would move are read where they
//! are, and logged bytes from memory.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::memory::MemoryBytes;
use super::{
    Area, Blobs, BlobsError, Draft, DraftState, Filesystem, ImportSource, LocalBlobs, PendingDraft,
    Published, StoredBlob, StoredBytes, TransferMode, Vouched,
};
use crate::digest::{Algorithm, Digest};
use crate::dir::Dir;

/// Blobs that cannot be changed.
#[derive(Debug)]
pub struct ReadOnlyBlobs {
    local: LocalBlobs,
    /// Blobs whose bytes are in staging, and the numbers.
    staged: Mutex<HashMap<Digest, u64>>,
    /// The logged bytes of blobs and of drafts.
    blobs: Mutex<HashMap<Digest, Arc<[u8]>>>,
    drafts: Mutex<HashMap<u64, Arc<[u8]>>>,
}

/// Returns the error of a change.
fn refused(what: &str) -> BlobsError {
    BlobsError::System {
        path: what.to_owned(),
        error: Errno::ROFS.into(),
    }
}

/// A draft that cannot be changed.
struct ReadOnlyDraft {
    id: u64,
    content: Arc<dyn StoredBytes>,
}

impl StoredBytes for ReadOnlyDraft {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobsError> {
        self.content.read_at(offset, buffer)
    }

    fn len(&self) -> u64 {
        self.content.len()
    }

    fn file(&self) -> Option<&File> {
        self.content.file()
    }
}

impl Draft for ReadOnlyDraft {
    fn id(&self) -> u64 {
        self.id
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> Result<(), BlobsError> {
        Err(refused("staging"))
    }

    fn truncate(&self, _len: u64) -> Result<(), BlobsError> {
        Err(refused("staging"))
    }

    fn sync(&self) -> Result<(), BlobsError> {
        Ok(())
    }

    fn log(&self, _max: u64, _log: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, BlobsError> {
        Ok(true)
    }

    fn digest(&self, algorithm: Algorithm) -> Result<Digest, BlobsError> {
        let mut offset = 0;
        Digest::of_parts(algorithm, |buffer| {
            let read = self.content.read_at(offset, buffer)?;
            offset += read as u64;
            Ok(read)
        })
    }

    fn publish(&self, _digest: &Digest, _vouched: Vouched) -> Result<Published, BlobsError> {
        Err(refused("blobs"))
    }

    fn unpublish(&self, _digest: &Digest) -> Result<(), BlobsError> {
        Err(refused("blobs"))
    }
}

impl ReadOnlyBlobs {
    /// Opens the blobs below a directory.
    ///
    /// # Errors
    /// [`BlobsError::System`], also if a directory is missing.
    pub fn open(directory: &Dir) -> Result<Self, BlobsError> {
        Ok(Self {
            local: LocalBlobs::open_unwritten(directory)?,
            staged: Mutex::default(),
            blobs: Mutex::default(),
            drafts: Mutex::default(),
        })
    }

    /// Opens a blob that recovery would move. Returns `None` for any other.
    fn elsewhere(&self, digest: &Digest) -> Option<Result<Arc<dyn StoredBytes>, BlobsError>> {
        if let Some(bytes) = self.blobs.lock().get(digest) {
            return Some(Ok(Arc::new(MemoryBytes(Arc::clone(bytes)))));
        }
        let number = *self.staged.lock().get(digest)?;
        let content = self.local.open_staged(number);
        Some(content.and_then(|content| content.ok_or(BlobsError::Missing(*digest))))
    }
}

impl Blobs for ReadOnlyBlobs {
    fn open(&self, area: Area, digest: &Digest) -> Result<Arc<dyn StoredBytes>, BlobsError> {
        match self.elsewhere(digest).filter(|_| area == Area::Live) {
            Some(content) => content,
            None => self.local.open(area, digest),
        }
    }

    fn is_cached(&self, digest: &Digest) -> bool {
        self.local.is_cached(digest)
    }

    fn list(
        &self,
        area: Area,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, BlobsError> {
        self.local.list(area, last, limit)
    }

    fn remove(
        &self,
        _area: Area,
        _digest: &Digest,
        _since: Option<SystemTime>,
    ) -> Result<(), BlobsError> {
        Err(refused("blobs"))
    }

    fn move_to(&self, _area: Area, _digest: &Digest) -> Result<(), BlobsError> {
        Err(refused("blobs"))
    }

    fn import(
        &self,
        _area: Area,
        _digest: &Digest,
        _source: ImportSource<'_>,
    ) -> Result<TransferMode, BlobsError> {
        Err(refused("blobs"))
    }

    fn draft(&self, id: u64, state: DraftState) -> Result<Arc<dyn Draft>, BlobsError> {
        if state == DraftState::New {
            return Err(refused("staging"));
        }
        let content: Arc<dyn StoredBytes> = if let Some(bytes) = self.drafts.lock().get(&id) {
            Arc::new(MemoryBytes(Arc::clone(bytes)))
        } else {
            let staged = self.local.open_staged(id)?;
            staged.ok_or(BlobsError::MissingDraft(id))?
        };
        Ok(Arc::new(ReadOnlyDraft { id, content }))
    }

    fn discard(&self, _id: u64) -> Result<(), BlobsError> {
        Ok(())
    }

    fn recover(
        &self,
        pending: &[PendingDraft<'_>],
        _complete: bool,
        _is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError> {
        for one in pending {
            let there = self.local.open_staged(one.id)?.is_some();
            match (one.blob, one.logged) {
                (Some(digest), Some(bytes)) => {
                    self.blobs.lock().insert(digest, bytes.into());
                }
                (Some(digest), None) if there => {
                    self.staged.lock().insert(digest, one.id);
                }
                (None, None) if there => {}
                (Some(_), None) => {}
                (None, bytes) => {
                    let bytes = bytes.unwrap_or_default();
                    self.drafts.lock().insert(one.id, bytes.into());
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), BlobsError> {
        Ok(())
    }

    fn filesystem(&self) -> &Filesystem {
        self.local.filesystem()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_elsewhere_is_read_and_nothing_is_moved() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir::open(directory.path()).unwrap();
        let local = LocalBlobs::open(&dir).unwrap();
        local
            .draft(1, DraftState::New)
            .unwrap()
            .write_at(0, b"staged")
            .unwrap();
        local
            .draft(2, DraftState::New)
            .unwrap()
            .write_at(0, b"an upload")
            .unwrap();
        drop(local);
        let unwritten = ReadOnlyBlobs::open(&dir).unwrap();
        let digest = |bytes: &[u8]| Digest::of(Algorithm::Sha256, bytes);
        let held = digest(b"held");
        let pending = |id, blob, logged| PendingDraft { id, blob, logged };
        let rows = [
            pending(1, Some(digest(b"staged")), None),
            pending(9, Some(held), Some(&b"held"[..])),
            pending(3, None, Some(b"a draft")),
            // A crash took the file of one to which nothing was written.
            pending(4, None, None),
        ];
        unwritten.recover(&rows, true, &|_| false).unwrap();
        for bytes in [&b"staged"[..], b"held"] {
            let content = unwritten.open(Area::Live, &digest(bytes)).unwrap();
            let mut buffer = vec![0; 99];
            assert_eq!(content.read_at(0, &mut buffer).unwrap(), bytes.len());
            assert!(buffer.starts_with(bytes));
        }
        assert_eq!(unwritten.draft(2, DraftState::Existing).unwrap().len(), 9);
        assert_eq!(unwritten.draft(3, DraftState::Existing).unwrap().len(), 7);
        assert!(unwritten.draft(4, DraftState::Existing).unwrap().is_empty());
        assert!(
            unwritten
                .draft(2, DraftState::Existing)
                .unwrap()
                .write_at(0, b"x")
                .is_err()
        );
        let staged = directory.path().join("staging/1");
        assert_eq!(std::fs::read(staged).unwrap(), b"staged");
        assert!(unwritten.remove(Area::Live, &held, None).is_err());
    }
}
