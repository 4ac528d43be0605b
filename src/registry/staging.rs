//! Staging and reading: bytes on their way in, and bytes that are there.
//!
//! Neither is a fact: staged bytes become one by publication, or vanish with their last holder.

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

/// Bytes that are copied at once.
const COPIED_AT_ONCE: usize = 1 << 20;

/// Bytes on their way in. Dropped without publication, they are gone.
pub struct StagedUpload {
    draft: Arc<dyn Draft>,
    /// Where to discard what was not published; nothing for an upload, which outlives us.
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
    /// An upload's bytes, which stay until the upload is removed.
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

    /// The draft itself.
    pub(super) fn draft(&self) -> &Arc<dyn Draft> {
        &self.draft
    }

    /// Bytes from `offset` on, fewer at the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(self.draft.read_at(offset, buffer)?)
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.draft.write_at(offset, bytes)?)
    }

    /// Cuts off or fills up with zeros.
    pub fn truncate(&self, len: u64) -> Result<(), Error> {
        Ok(self.draft.truncate(len)?)
    }

    /// The digest of all that was written.
    pub fn digest(&self, algorithm: Algorithm) -> Result<Digest, Error> {
        Ok(self.draft.digest(algorithm)?)
    }

    /// The file itself, for others to read and write it without us, where there is one.
    pub fn share(&self) -> Option<SharedFile> {
        self.draft.share()
    }

    /// The file that holds the bytes, where there is one.
    pub fn file(&self) -> Option<&File> {
        self.draft.file()
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.draft.len()
    }

    /// Sets when they were last written, where a file tells.
    pub fn set_modified(&self, when: SystemTime) -> std::io::Result<()> {
        let file = self.draft.file();
        file.map_or(Ok(()), |file| file.set_modified(when))
    }

    /// The same bytes without an open file, in place of this; not of an upload's, which are kept
    /// open as they are.
    pub fn park(&mut self) -> Option<Parked> {
        Some(Parked {
            number: self.draft.id(),
            len: self.draft.len(),
            discard: Some(self.discard.take()?),
        })
    }

    /// When they were last written, where a file tells.
    pub fn modified(&self) -> Option<SystemTime> {
        self.draft.file()?.metadata().ok()?.modified().ok()
    }

    /// Whether nothing was written.
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

/// What cannot be discarded now is cleared away when the store is next opened.
fn discard(blobs: &dyn Blobs, number: u64) {
    if let Err(error) = blobs.discard(number) {
        log::warn!("staged bytes stay until the next start: {error}");
    }
}

/// Bytes on their way in that nobody reads or writes. Dropped, they are gone.
pub struct Parked {
    number: u64,
    len: u64,
    /// Where to discard them; nothing once they are open again.
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
    /// How many they are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Opens them again, in place of this.
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

/// A blob's bytes.
#[derive(Clone)]
pub struct OpenBlob(Source);

#[derive(Clone)]
enum Source {
    /// Among the blobs.
    File(Arc<dyn StoredBytes>),
    /// In the index.
    Inline(Arc<[u8]>),
}

impl std::fmt::Debug for OpenBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OpenBlob").field(&self.len()).finish()
    }
}

impl OpenBlob {
    /// Bytes from `offset` on, fewer at the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(match &self.0 {
            Source::File(content) => content.read_at(offset, buffer)?,
            Source::Inline(bytes) => read_held(bytes, offset, buffer),
        })
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Source::File(content) => content.len(),
            Source::Inline(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there are no bytes.
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

    /// The file that holds the bytes, where there is one.
    pub fn file(&self) -> Option<&File> {
        match &self.0 {
            Source::File(content) => content.file(),
            Source::Inline(_) => None,
        }
    }
}

/// Bytes of small blobs that are open: all who have one open share them.
#[derive(Debug, Default)]
pub(super) struct InlineOpen(Mutex<HashMap<Digest, Weak<[u8]>>>);

/// Small blobs of which those that nobody has open any more are not looked for yet.
const INLINE_OPEN_MIN: usize = 256;

impl InlineOpen {
    /// These bytes of a blob; the same that others have open, if somebody has.
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
