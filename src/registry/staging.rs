//! Open bytes: staged ones, which are still being written, and those of blobs.
//!
//! Staged bytes are no fact: publication makes them one, and otherwise they are removed when the
//! last holder drops them.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::verified::Verified;
use super::{Error, Registry, now};
pub use crate::blobs::SharedFile;
use crate::blobs::{Area, Blobs, BlobsError, Draft, DraftState, StoredBytes, read_held};
use crate::digest::{Algorithm, Digest};
use crate::index::Index;

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

/// A blob that is open for reading. It stays readable after its removal.
#[derive(Clone)]
pub struct OpenBlob(Source);

#[derive(Clone)]
enum Source {
    /// A file, or memory.
    File(Arc<dyn StoredBytes>),
    /// The index.
    Inline(Arc<[u8]>),
}

impl std::fmt::Debug for OpenBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OpenBlob").field(&self.len()).finish()
    }
}

impl OpenBlob {
    /// Reads from byte `offset` on and returns the count: fewer than the buffer holds only at the
    /// end.
    ///
    /// # Errors
    /// The failure of the read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(match &self.0 {
            Source::File(content) => content.read_at(offset, buffer)?,
            Source::Inline(bytes) => read_held(bytes, offset, buffer),
        })
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Source::File(content) => content.len(),
            Source::Inline(bytes) => bytes.len() as u64,
        }
    }

    /// Returns `true` if the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all bytes; the caller knows that they are not many.
    ///
    /// # Errors
    /// The failure of a read.
    pub fn read_all(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; usize::try_from(self.len()).unwrap_or_default()];
        let read = self.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Returns the file that holds the bytes, or `None` if they are not in a file.
    pub fn file(&self) -> Option<&File> {
        match &self.0 {
            Source::File(content) => content.file(),
            Source::Inline(_) => None,
        }
    }
}

/// The bytes of small blobs that are open, shared by all who have the same one open.
#[derive(Debug, Default)]
pub(super) struct InlineOpen(Mutex<HashMap<Digest, Weak<[u8]>>>);

/// The number of entries below which closed blobs are not looked for.
const INLINE_OPEN_MIN: usize = 256;

impl InlineOpen {
    /// Returns these bytes of a blob, or the equal ones that somebody has open already.
    fn share(&self, digest: &Digest, bytes: &Arc<[u8]>) -> Arc<[u8]> {
        let mut open = self.0.lock();
        if let Some(shared) = open.get(digest).and_then(Weak::upgrade)
            && shared == *bytes
        {
            return shared;
        }
        if open.len() >= INLINE_OPEN_MIN && open.len() == open.capacity() {
            open.retain(|_, bytes| bytes.strong_count() > 0);
        }
        open.insert(*digest, Arc::downgrade(bytes));
        Arc::clone(bytes)
    }
}

impl Registry {
    /// A place for bytes whose use is not decided yet.
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

    /// A blob's bytes, which stay readable through this even after the blob's removal.
    pub fn read_blob(&self, digest: &Digest) -> Result<OpenBlob, Error> {
        let read = read_in(&self.index, &self.verified, digest, |digest| {
            self.blobs.open(Area::Live, digest)
        });
        let read = read.inspect_err(|error| {
            if matches!(error, Error::Corrupt { .. }) {
                self.condemn_inline(digest);
            }
        })?;
        Ok(match read.0 {
            Source::Inline(bytes) => {
                OpenBlob(Source::Inline(self.inline_open.share(digest, &bytes)))
            }
            Source::File(_) => read,
        })
    }

    /// The bytes that a blob had at a moment that is held.
    pub(super) fn read_as_of(&self, index: &Index, digest: &Digest) -> Result<OpenBlob, Error> {
        let open = |digest: &Digest| match self.blobs.open(Area::Live, digest) {
            Err(BlobsError::Missing(_)) => self.blobs.open(Area::Trash, digest),
            opened => opened,
        };
        read_in(index, &self.verified, digest, open)
    }

    /// Marks a small blob as damaged, unless its bytes are right or it is marked.
    fn condemn_inline(&self, digest: &Digest) {
        let marked = self.index.transact(|facts| {
            let blob = facts.blob(digest)?;
            if !blob.is_some_and(|blob| blob.present && blob.inline && !blob.damaged) {
                return Ok(false);
            }
            // Somebody may have pushed it again meanwhile.
            let bytes = facts.inline(digest)?.unwrap_or_default();
            let wrong = Digest::of(digest.algorithm(), &bytes) != *digest;
            if wrong {
                facts.put_verified(digest, now(), true)?;
            }
            Ok::<_, Error>(wrong)
        });
        match marked {
            Ok(false) => {}
            Ok(true) => log::error!(
                "small blob {digest} is damaged in the index: regfs fsck says what needs it"
            ),
            Err(error) => log::error!("small blob {digest} is damaged, and not marked: {error}"),
        }
    }
}

/// A blob's bytes, by the facts of an index; `open` opens its file.
fn read_in(
    index: &Index,
    verified: &Verified,
    digest: &Digest,
    open: impl FnOnce(&Digest) -> Result<Arc<dyn StoredBytes>, BlobsError>,
) -> Result<OpenBlob, Error> {
    let mut view = index.view();
    let blob = view.blob(digest)?.filter(|blob| blob.present);
    let blob = blob.ok_or(Error::Missing)?;
    if blob.damaged {
        return Err(Error::Corrupt { digest: *digest });
    }
    let source = if blob.inline {
        let bytes = view.inline(digest)?.unwrap_or_default();
        Source::Inline(bytes.into())
    } else {
        Source::File(open(digest)?)
    };
    let reading = OpenBlob(source);
    if reading.len() != blob.size {
        return Err(Error::Damaged {
            digest: *digest,
            actual: reading.len(),
            expected: blob.size,
        });
    }
    if let Source::Inline(bytes) = &reading.0
        && !verified.holds(blob.id)
    {
        if Digest::of(digest.algorithm(), bytes) != *digest {
            return Err(Error::Corrupt { digest: *digest });
        }
        verified.remember(blob.id);
    }
    Ok(reading)
}
