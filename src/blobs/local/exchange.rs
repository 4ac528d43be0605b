//! Exchange: blobs that come from files elsewhere.
//!
//! Nothing here verifies bytes: who takes a file in says that it trusts it, or has read it.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::{COPY, IMMUTABLE, Local, about, beneath, remove_file};
use crate::blobs::{BlobsError, Shareable, Way, transfer};
use crate::digest::Digest;
use crate::dir::FilePath;

/// What says that two names cannot share one file: too many names, or a filesystem or policy
/// without hard links.
const UNLINKABLE: [Errno; 4] = [Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS];

/// Returns `true` if an error says that two names cannot share one file.
pub(super) fn is_unlinkable(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| UNLINKABLE.contains(&error))
}

impl Local {
    /// How a file could become a blob: tried under a name that is removed at once.
    pub(super) fn shareable_file(&self, source: &File) -> Result<Shareable, BlobsError> {
        static TRIED: AtomicU64 = AtomicU64::new(0);
        let name = format!("tried-{}.{COPY}", TRIED.fetch_add(1, Ordering::Relaxed));
        let tried = FilePath::new(&self.staging, name);
        let undo = |done: bool| remove_file(&tried).map(|_| done);
        let try_way = |way| transfer(source, tried.dir(), tried.path(), way, IMMUTABLE);
        Ok(Shareable {
            by_reference: undo(try_way(Way::Reflink).is_ok())?,
            by_link: undo(tried.dir().link(source, tried.path()).is_ok())?,
        })
    }

    /// Takes in a file; the way in which it was done.
    pub(super) fn take_file(
        &self,
        source: &File,
        digest: &Digest,
        way: Way,
    ) -> Result<Way, BlobsError> {
        self.make_shard(digest)?;
        let path = self.blob_path(digest);
        // No fact names what may be here: it is what a crash has left.
        remove_file(&path)?;
        // What comes is there by its name when it is whole.
        let staged = FilePath::new(&self.staging, format!("{}.{COPY}", digest.hex()));
        remove_file(&staged)?;
        let done = transfer(source, staged.dir(), staged.path(), way, IMMUTABLE);
        let done = done.map_err(about(&staged))?;
        let renamed = staged.rename(&path, RenameFlags::empty());
        renamed.map_err(about(&path))?;
        Ok(done)
    }

    /// Makes everything durable that was written before.
    pub(super) fn settle_files(&self) -> Result<(), BlobsError> {
        // Of several who ask at once only one hears of a failure.
        let mut torn = self.torn.lock();
        let synced = if *torn {
            Err(Errno::IO)
        } else {
            rustix::fs::syncfs(&self.filesystem)
        };
        *torn = synced.is_err();
        synced.map_err(|error| beneath(&self.filesystem, "")(error.into()))
    }
}
