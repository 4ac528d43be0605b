//! Staged bytes: a file that is still being written, and hashed as it grows.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};

use super::directories::StoreDirectories;
use super::{about, read_full};
use crate::blobs::hasher::{HasherMessage, TrackedFile};
use crate::blobs::{BlobsError, Draft, Published, SharedFile, StoredBytes, Vouched};
use crate::digest::{Algorithm, Digest};
use crate::dir::FilePath;

/// The modification time and length of a file: they change with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) len: u64,
    modified: SystemTime,
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let now = file.metadata()?;
        Ok(Self {
            len: now.len(),
            modified: now.modified()?,
        })
    }
}

/// Staged bytes.
#[derive(Debug)]
pub(super) struct LocalDraft {
    pub(super) directories: Arc<StoreDirectories>,
    pub(super) id: u64,
    pub(super) path: FilePath,
    /// The file, and its hash so far.
    pub(super) tracked: Arc<TrackedFile>,
    pub(super) len: AtomicU64,
    /// Held shared while writing, and exclusively while the content must not change.
    pub(super) writers: RwLock<()>,
    /// The stamp when the content was last made durable, or when the file was made: an empty file
    /// has nothing to lose. A stamp is compared because a [shared](SharedFile) file is written
    /// without this draft.
    pub(super) synced: Mutex<Option<Stamp>>,
    /// The digest of the bytes that were last logged, and the stamp at that time. The stamp is
    /// compared too: content that changed and changed back may not be logged any more.
    pub(super) logged: Mutex<Option<(Digest, Stamp)>>,
    pub(super) published: AtomicBool,
    pub(super) hasher: Sender<HasherMessage>,
}

impl LocalDraft {
    /// A draft in an open file, which is `new` if nobody ever wrote to it. `hasher` is told when
    /// the file grows.
    pub(super) fn new(
        directories: Arc<StoreDirectories>,
        id: u64,
        file: File,
        path: FilePath,
        new: bool,
        hasher: Sender<HasherMessage>,
    ) -> Result<Self, BlobsError> {
        let stamp = Stamp::of(&file).map_err(about(&path))?;
        Ok(Self {
            directories,
            id,
            path,
            tracked: Arc::new(TrackedFile::new(file, stamp.len)),
            len: AtomicU64::new(stamp.len),
            writers: RwLock::new(()),
            synced: Mutex::new(new.then_some(stamp)),
            logged: Mutex::default(),
            published: AtomicBool::new(false),
            hasher,
        })
    }

    /// Makes the content durable, unless it is.
    pub(super) fn make_durable(&self) -> Result<(), BlobsError> {
        let mut synced = self.synced.lock();
        self.check_sync_failed()?;
        let now = self.stamp()?;
        if *synced != Some(now) {
            *synced = None;
            self.file_ref().sync_data().map_err(|error| {
                self.directories.failed_drafts.lock().insert(self.id);
                about(&self.path)(error)
            })?;
            *synced = Some(now);
        }
        Ok(())
    }

    /// Fails if a flush of this draft has failed before. The kernel reports lost pages once; the
    /// next flush would succeed although the page cache holds bytes that the disk does not.
    fn check_sync_failed(&self) -> Result<(), BlobsError> {
        if self.directories.failed_drafts.lock().contains(&self.id) {
            let reason = "an earlier flush has failed, and bytes may be lost: upload them anew";
            return Err(about(&self.path)(io::Error::other(reason)));
        }
        Ok(())
    }

    fn stamp(&self) -> Result<Stamp, BlobsError> {
        Stamp::of(self.file_ref()).map_err(about(&self.path))
    }

    /// Returns `true` if all of the content is logged.
    pub(super) fn is_logged(&self) -> Result<bool, BlobsError> {
        let logged = *self.logged.lock();
        Ok(logged.is_some() && logged == Some((self.hash(Algorithm::Sha256)?, self.stamp()?)))
    }

    pub(super) fn file_ref(&self) -> &File {
        self.tracked.file()
    }

    /// Returns the digest of the content. The caller holds `writers` exclusively.
    pub(super) fn hash(&self, algorithm: Algorithm) -> Result<Digest, BlobsError> {
        self.tracked.digest(algorithm).map_err(about(&self.path))
    }

    /// Called before a change: the new content is neither durable nor logged.
    fn changes(&self) {
        *self.synced.lock() = None;
        *self.logged.lock() = None;
    }

    fn writable(&self) -> Result<(), BlobsError> {
        if self.published.load(Ordering::SeqCst) {
            Err(BlobsError::Published)
        } else {
            Ok(())
        }
    }
}

impl StoredBytes for LocalDraft {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobsError> {
        read_full(self.file_ref(), offset, buffer).map_err(about(&self.path))
    }

    fn len(&self) -> u64 {
        let known = self.len.load(Ordering::SeqCst);
        if !self.tracked.was_shared() {
            return known;
        }
        // fstat(2) of an open file on a local filesystem does not fail.
        self.file_ref().metadata().map_or(known, |now| now.len())
    }

    fn file(&self) -> Option<&File> {
        Some(self.file_ref())
    }
}

impl Draft for LocalDraft {
    fn id(&self) -> u64 {
        self.id
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), BlobsError> {
        let _shared = self.writers.read();
        self.writable()?;
        self.changes();
        let written = self.file_ref().write_all_at(bytes, offset);
        let mut end = offset + bytes.len() as u64;
        if written.is_err() {
            // A part may be written.
            end = end.min(self.stamp()?.len).max(offset);
        }
        if end > offset {
            self.len.fetch_max(end, Ordering::SeqCst);
            self.tracked.wrote(offset, end, &self.hasher);
        }
        written.map_err(about(&self.path))
    }

    fn truncate(&self, len: u64) -> Result<(), BlobsError> {
        let _alone = self.writers.write();
        self.writable()?;
        if len == self.len() {
            // Distribution truncates every upload that it begins.
            return Ok(());
        }
        self.changes();
        self.file_ref().set_len(len).map_err(about(&self.path))?;
        let old = self.len.swap(len, Ordering::SeqCst);
        self.tracked.cut(len.min(old));
        self.tracked.wrote(len.min(old), len, &self.hasher);
        Ok(())
    }

    fn sync(&self) -> Result<(), BlobsError> {
        self.make_durable()
    }

    fn log(&self, max: u64, log: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, BlobsError> {
        let mut logged = self.logged.lock();
        self.check_sync_failed()?;
        let now = self.stamp()?;
        if now.len > max {
            return Ok(false);
        }
        if *self.synced.lock() == Some(now) {
            return Ok(true);
        }
        let mut bytes = vec![0; usize::try_from(now.len).unwrap_or_default()];
        let read = self.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        let these = (Digest::of(Algorithm::Sha256, &bytes), now);
        if *logged != Some(these) {
            *logged = log(&bytes).then_some(these);
        }
        Ok(logged.is_some())
    }

    fn digest(&self, algorithm: Algorithm) -> Result<Digest, BlobsError> {
        let _alone = self.writers.write();
        self.hash(algorithm)
    }

    fn publish(&self, digest: &Digest, vouched: Vouched) -> Result<Published, BlobsError> {
        self.publish_file(digest, vouched)
    }

    fn unpublish(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.unpublish_file(digest)
    }

    fn share(&self) -> Option<SharedFile> {
        let _shared = self.writers.read();
        self.writable().ok()?;
        Some(self.tracked.share(&self.hasher))
    }
}
