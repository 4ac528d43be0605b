//! Staged bytes: bytes that are still being written.
//!
//! They are no blob: publication makes them one, and otherwise they are removed when the last
//! holder drops them.

use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Error, OpenBlob, Registry};
pub use crate::blobs::SharedFile;
use crate::blobs::{Blobs, Draft, DraftState};
use crate::digest::{Algorithm, Digest};

/// Bytes that are copied by one call.
const COPIED_AT_ONCE: usize = 1 << 20;

/// Staged bytes. Dropping this discards them, unless they are those of an upload.
pub struct StagedUpload {
    draft: Arc<dyn Draft>,
    /// Where they are discarded; `None` for an upload, which outlives this process.
    discard: Option<Arc<dyn Blobs>>,
}

impl std::fmt::Debug for StagedUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedUpload")
            .field("id", &self.draft.id())
            .finish_non_exhaustive()
    }
}

impl StagedUpload {
    /// The bytes of an upload, which stay until the upload is removed.
    pub(super) fn lasting(draft: Arc<dyn Draft>) -> Self {
        Self {
            draft,
            discard: None,
        }
    }

    /// Returns all bytes that are staged; the caller knows that they are not many.
    ///
    /// # Errors
    /// The failure of a read.
    pub fn read_all(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; usize::try_from(self.len()).unwrap_or_default()];
        let read = self.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Writes a copy of a blob.
    ///
    /// # Errors
    /// The failure of a read or write.
    pub fn copy_from(&self, blob: &OpenBlob) -> Result<(), Error> {
        self.fill(|offset, buffer| blob.read_at(offset, buffer))
    }

    /// Writes all bytes that `read` returns for increasing offsets, until it returns none.
    pub(super) fn fill(
        &self,
        read: impl Fn(u64, &mut [u8]) -> Result<usize, Error>,
    ) -> Result<(), Error> {
        let mut buffer = vec![0; COPIED_AT_ONCE];
        let mut offset = 0;
        loop {
            let count = read(offset, &mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.write_at(offset, buffer.get(..count).unwrap_or_default())?;
            offset += count as u64;
        }
    }

    /// Returns the draft.
    pub(super) fn draft(&self) -> &Arc<dyn Draft> {
        &self.draft
    }

    /// Reads from byte `offset` on and returns the count: fewer than the buffer holds only at the
    /// end.
    ///
    /// # Errors
    /// The failure of the read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(self.draft.read_at(offset, buffer)?)
    }

    /// Writes all of `bytes` at byte `offset`.
    ///
    /// # Errors
    /// The failure of the write; published bytes cannot be written.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.draft.write_at(offset, bytes)?)
    }

    /// Cuts the bytes to `len`, or extends them with zeros.
    ///
    /// # Errors
    /// The failure of the change; published bytes cannot be changed.
    pub fn truncate(&self, len: u64) -> Result<(), Error> {
        Ok(self.draft.truncate(len)?)
    }

    /// Returns the digest of all bytes.
    ///
    /// # Errors
    /// The failure of a read.
    pub fn digest(&self, algorithm: Algorithm) -> Result<Digest, Error> {
        Ok(self.draft.digest(algorithm)?)
    }

    /// Returns the file itself, so that others can read and write it without this process; `None`
    /// if the bytes are published or in memory.
    pub fn share(&self) -> Option<SharedFile> {
        self.draft.share()
    }

    /// Returns the file that holds the bytes, or `None` if they are not in a file.
    pub fn file(&self) -> Option<&File> {
        self.draft.file()
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> u64 {
        self.draft.len()
    }

    /// Sets the time of the last write, if the bytes are in a file.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn set_modified(&self, when: SystemTime) -> std::io::Result<()> {
        let file = self.draft.file();
        file.map_or(Ok(()), |file| file.set_modified(when))
    }

    /// Closes the file, and returns what opens it again. Returns `None` for the bytes of an upload,
    /// which are cached open anyway.
    pub fn park(&mut self) -> Option<Parked> {
        Some(Parked {
            number: self.draft.id(),
            len: self.draft.len(),
            discard: Some(self.discard.take()?),
        })
    }

    /// Returns the time of the last write, if the bytes are in a file.
    pub fn modified(&self) -> Option<SystemTime> {
        self.draft.file()?.metadata().ok()?.modified().ok()
    }

    /// Returns `true` if the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for StagedUpload {
    fn drop(&mut self) {
        if let Some(blobs) = &self.discard {
            discard(blobs.as_ref(), self.draft.id());
        }
    }
}

/// Discards staged bytes. [Recovery](super::recovery) removes those that cannot be removed now.
fn discard(blobs: &dyn Blobs, number: u64) {
    if let Err(error) = blobs.discard(number) {
        log::warn!("staged bytes stay until the next start: {error}");
    }
}

/// Staged bytes whose file is closed. Dropping this discards them.
pub struct Parked {
    number: u64,
    len: u64,
    /// Where they are discarded; `None` once they are open again.
    discard: Option<Arc<dyn Blobs>>,
}

impl std::fmt::Debug for Parked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parked")
            .field("id", &self.number)
            .finish_non_exhaustive()
    }
}

impl Parked {
    /// Returns the length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns `true` if the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Opens them again.
    ///
    /// # Errors
    /// [`Error::Missing`] after the first call; the failure to open the file.
    pub fn resume(&mut self) -> Result<StagedUpload, Error> {
        let blobs = self.discard.as_ref().ok_or(Error::Missing)?;
        let draft = blobs.draft(self.number, DraftState::Existing)?;
        let discard = self.discard.take();
        Ok(StagedUpload { draft, discard })
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some(blobs) = &self.discard {
            discard(blobs.as_ref(), self.number);
        }
    }
}

impl Registry {
    /// Stages bytes that the caller publishes later, or discards by dropping them.
    ///
    /// # Errors
    /// [`Error::Full`] if only the reserve of the disk is left; the failure to create the file.
    pub fn stage(&self) -> Result<StagedUpload, Error> {
        self.room().require()?;
        let draft = self
            .blobs
            .draft(self.index.allocate_staging()?, DraftState::New)?;
        Ok(StagedUpload {
            draft,
            discard: Some(Arc::clone(&self.blobs)),
        })
    }
}
