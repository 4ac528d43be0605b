//! Staged bytes: a file that is still being written, and hashed behind its writer.

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
use crate::blobs::hasher::{Following, Message};
use crate::blobs::{BlobsError, Draft, Published, SharedFile, StoredBytes, Vouched};
use crate::digest::{Algorithm, Digest};
use crate::dir::FilePath;

/// When and how far a file was last written.
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
    pub(super) following: Arc<Following>,
    pub(super) len: AtomicU64,
    /// Writers share it; whoever needs the content to stand still takes it alone.
    pub(super) writers: RwLock<()>,
    /// What the file was like when it was last made durable, or when it was made, since of
    /// nothing there is nothing to lose: who was lent it writes without telling.
    pub(super) synced: Mutex<Option<Stamp>>,
    /// The content that somebody else last logged, and what the file was like then: what changed
    /// since, and back again, may be logged no more.
    pub(super) logged: Mutex<Option<(Digest, Stamp)>>,
    pub(super) published: AtomicBool,
    pub(super) follower: Sender<Message>,
}

impl LocalDraft {
    /// A draft in an open file, which is `new` if nobody ever wrote to it. Growth is announced to
    /// `follower`.
    pub(super) fn new(
        directories: Arc<StoreDirectories>,
        id: u64,
        file: File,
        path: FilePath,
        new: bool,
        follower: Sender<Message>,
    ) -> Result<Self, BlobsError> {
        let stamp = Stamp::of(&file).map_err(about(&path))?;
        Ok(Self {
            directories,
            id,
            path,
            following: Arc::new(Following::new(file, stamp.len)),
            len: AtomicU64::new(stamp.len),
            writers: RwLock::new(()),
            synced: Mutex::new(new.then_some(stamp)),
            logged: Mutex::default(),
            published: AtomicBool::new(false),
            follower,
        })
    }

    /// Makes the bytes durable, unless they are.
    pub(super) fn make_durable(&self) -> Result<(), BlobsError> {
        let mut synced = self.synced.lock();
        self.intact()?;
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

    /// Refuses bytes of which a flush has failed. The system says so once; the next flush it
    /// would let pass, though what it lost is in memory only.
    fn intact(&self) -> Result<(), BlobsError> {
        if self.directories.failed_drafts.lock().contains(&self.id) {
            let reason = "an earlier flush has failed, and bytes may be lost: upload them anew";
            return Err(about(&self.path)(io::Error::other(reason)));
        }
        Ok(())
    }

    fn stamp(&self) -> Result<Stamp, BlobsError> {
        Stamp::of(self.file_ref()).map_err(about(&self.path))
    }

    /// Whether somebody else keeps all of the content.
    pub(super) fn is_logged(&self) -> Result<bool, BlobsError> {
        let logged = *self.logged.lock();
        Ok(logged.is_some() && logged == Some((self.hash(Algorithm::Sha256)?, self.stamp()?)))
    }

    pub(super) fn file_ref(&self) -> &File {
        self.following.file()
    }

    /// The digest, while the caller keeps writers away.
    pub(super) fn hash(&self, algorithm: Algorithm) -> Result<Digest, BlobsError> {
        self.following.digest(algorithm).map_err(about(&self.path))
    }

    /// What is durable or logged is not what will be there.
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
        if !self.following.was_lent() {
            return known;
        }
        // Asking an open file of a local filesystem does not fail.
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
            // A part of it may be there.
            end = end.min(self.stamp()?.len).max(offset);
        }
        if end > offset {
            self.len.fetch_max(end, Ordering::SeqCst);
            self.following.wrote(offset, end, &self.follower);
        }
        written.map_err(about(&self.path))
    }

    fn truncate(&self, len: u64) -> Result<(), BlobsError> {
        let _alone = self.writers.write();
        self.writable()?;
        if len == self.len() {
            // Distribution cuts every upload that it begins.
            return Ok(());
        }
        self.changes();
        self.file_ref().set_len(len).map_err(about(&self.path))?;
        let old = self.len.swap(len, Ordering::SeqCst);
        self.following.cut(len.min(old));
        self.following.wrote(len.min(old), len, &self.follower);
        Ok(())
    }

    fn sync(&self) -> Result<(), BlobsError> {
        self.make_durable()
    }

    fn log(&self, max: u64, log: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, BlobsError> {
        let mut logged = self.logged.lock();
        self.intact()?;
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
        Some(self.following.share(&self.follower))
    }
}
