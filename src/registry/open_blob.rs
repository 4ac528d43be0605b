//! Open blobs: the bytes of stored blobs, in files or in the index.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::verified::Verified;
use super::{Error, Registry, now};
use crate::blobs::{Area, BlobsError, StoredBytes, read_held};
use crate::digest::Digest;
use crate::index::Index;

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
    /// Opens a blob. It stays readable after its removal.
    ///
    /// # Errors
    /// [`Error::Missing`] if the blob is not stored; [`Error::Corrupt`] or [`Error::Damaged`] if
    /// its bytes are known to be wrong.
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

    /// Opens a blob as of a snapshot, whose index this is.
    pub(super) fn read_as_of(&self, index: &Index, digest: &Digest) -> Result<OpenBlob, Error> {
        let open = |digest: &Digest| match self.blobs.open(Area::Live, digest) {
            Err(BlobsError::Missing(_)) => self.blobs.open(Area::Trash, digest),
            opened => opened,
        };
        read_in(index, &self.verified, digest, open)
    }

    /// Marks a small blob as damaged, unless its bytes are right or it is marked already.
    fn condemn_inline(&self, digest: &Digest) {
        let marked = self.index.transact(|tx| {
            let blob = tx.blobs().stored(digest)?;
            if !blob.is_some_and(|blob| blob.inline && !blob.damaged) {
                return Ok(false);
            }
            // Somebody may have pushed it again meanwhile.
            let bytes = tx.blobs().inline(digest)?.unwrap_or_default();
            let wrong = Digest::of(digest.algorithm(), &bytes) != *digest;
            if wrong {
                tx.blobs().put_verified(digest, now(), true)?;
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

/// Opens a blob that an index names; `open` opens its file.
fn read_in(
    index: &Index,
    verified: &Verified,
    digest: &Digest,
    open: impl FnOnce(&Digest) -> Result<Arc<dyn StoredBytes>, BlobsError>,
) -> Result<OpenBlob, Error> {
    let mut view = index.view();
    let blob = view.blobs().stored(digest)?.ok_or(Error::Missing)?;
    if blob.damaged {
        return Err(Error::Corrupt { digest: *digest });
    }
    let source = if blob.inline {
        let bytes = view.blobs().inline(digest)?.unwrap_or_default();
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
        && !verified.contains(blob.id)
    {
        if Digest::of(digest.algorithm(), bytes) != *digest {
            return Err(Error::Corrupt { digest: *digest });
        }
        verified.insert(blob.id);
    }
    Ok(reading)
}
