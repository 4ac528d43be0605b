//! The filesystem that holds the bytes: to whom they belong, how much room is left, and how it
//! can share the bytes of other files. It knows nothing about blobs.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{Mode, fstat, fstatvfs, syncfs};
use rustix::io::Errno;

use super::{BLOB_MODE, BlobsError, Shareable, TransferMode, beneath, remove_file, transfer};
use crate::dir::{Dir, FilePath};

/// The space of a filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// The free part.
    pub free: u64,
    /// The part of it that the daemon may use.
    pub available: u64,
}

/// What [`Filesystem::in_memory`] claims to have.
const IN_MEMORY: DiskSpace = DiskSpace {
    total: 1 << 30,
    free: 1 << 29,
    available: 1 << 29,
};

/// A filesystem.
#[derive(Debug)]
pub struct Filesystem {
    /// `None` in memory. The descriptor was opened for this alone: syncfs(2) reports to it every
    /// write-back that failed since.
    directory: Option<Dir>,
    /// Where files are made to try something; `None` if nothing may be written.
    scratch: Option<Dir>,
    /// Set once a sync has failed.
    sync_failed: Mutex<bool>,
}

impl Filesystem {
    /// The filesystem of a store's directory; files are tried in `scratch`, if any may be.
    ///
    /// # Errors
    /// [`BlobsError::System`] if the directory cannot be opened.
    pub(super) fn new(directory: &Dir, scratch: Option<Dir>) -> Result<Self, BlobsError> {
        let own = directory.open_dir("").map_err(beneath(directory, ""))?;
        Ok(Self {
            directory: Some(own),
            scratch,
            sync_failed: Mutex::default(),
        })
    }

    /// The main memory.
    pub(super) fn in_memory() -> Self {
        Self {
            directory: None,
            scratch: None,
            sync_failed: Mutex::default(),
        }
    }

    /// Returns the user to whom the bytes belong.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    pub fn owner(&self) -> Result<u32, BlobsError> {
        let Some(directory) = &self.directory else {
            return Ok(rustix::process::geteuid().as_raw());
        };
        let stat = fstat(directory).map_err(|error| beneath(directory, "")(error.into()))?;
        Ok(stat.st_uid)
    }

    /// Returns the space.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    pub fn space(&self) -> Result<DiskSpace, BlobsError> {
        let Some(directory) = &self.directory else {
            return Ok(IN_MEMORY);
        };
        let space = fstatvfs(directory).map_err(|error| beneath(directory, "")(error.into()))?;
        Ok(DiskSpace {
            total: space.f_blocks.saturating_mul(space.f_frsize),
            free: space.f_bfree.saturating_mul(space.f_frsize),
            available: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }

    /// Returns how an open file could become a blob without a copy of its bytes. Tries it, and
    /// removes what that made.
    ///
    /// # Errors
    /// [`BlobsError::System`]: always if nothing may be written.
    pub fn shareable(&self, source: &File) -> Result<Shareable, BlobsError> {
        static TRIED: AtomicU64 = AtomicU64::new(0);
        let Some(scratch) = &self.scratch else {
            return match &self.directory {
                Some(directory) => Err(beneath(directory, "")(Errno::ROFS.into())),
                None => Ok(Shareable {
                    by_reference: false,
                    by_link: false,
                }),
            };
        };
        let number = TRIED.fetch_add(1, Ordering::Relaxed);
        let path = FilePath::new(scratch, format!("tried-{number}.{}", super::COPY));
        let undo = |done: bool| remove_file(&path).map(|_| done);
        let mode = Mode::from_raw_mode(BLOB_MODE);
        let reflink = transfer(source, path.dir(), path.path(), TransferMode::Reflink, mode);
        let by_reference = undo(reflink.is_ok())?;
        let by_link = undo(path.dir().link(source, path.path()).is_ok())?;
        Ok(Shareable {
            by_reference,
            by_link,
        })
    }

    /// Waits until everything that was written before is durable.
    ///
    /// # Errors
    /// [`BlobsError::System`]; from then on always, since syncfs(2) reports a failure to one
    /// caller only.
    pub(super) fn sync(&self) -> Result<(), BlobsError> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let mut failed = self.sync_failed.lock();
        let synced = if *failed {
            Err(Errno::IO)
        } else {
            syncfs(directory)
        };
        *failed = synced.is_err();
        synced.map_err(|error| beneath(directory, "")(error.into()))
    }
}
