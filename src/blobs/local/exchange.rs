//! Exchange: blobs that come from files elsewhere, and are given out as such.
//!
//! Nothing here verifies bytes: who takes a file in says that it trusts it, or has read it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, RenameFlags, ioctl_ficlone, linkat, renameat_with};
use rustix::io::Errno;

use super::{COPY, Local, about, remove_file};
use crate::blobs::{BlobsError, Way};
use crate::digest::Digest;

/// What says that two names cannot share one file: too many names, or a filesystem or policy
/// without hard links.
pub(super) const UNLINKABLE: [Errno; 4] =
    [Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS];

/// Gives a file another name, or its only other one; whether the filesystem can.
fn rename_or_link(from: &Path, to: &Path, way: Way) -> io::Result<bool> {
    let done = match way {
        Way::Link => linkat(CWD, from, CWD, to, AtFlags::empty()),
        Way::Move => renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE),
        Way::Reflink | Way::Copy => return Ok(false),
    };
    match done {
        Err(Errno::XDEV) => Ok(false),
        Err(error) if way == Way::Link && UNLINKABLE.contains(&error) => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

/// Copies a file to where none is, by reference if that is asked for; how it was done.
fn copy(from: &Path, to: &Path, way: Way) -> io::Result<Way> {
    let (source, mut target) = (File::open(from)?, File::create_new(to)?);
    let done = if way == Way::Reflink {
        ioctl_ficlone(&target, &source)?;
        Way::Reflink
    } else {
        io::copy(&mut &source, &mut target)?;
        Way::Copy
    };
    keep_time(&source, &target)?;
    Ok(done)
}

/// The time of a copy is that of what was copied.
fn keep_time(source: &File, target: &File) -> io::Result<()> {
    target.set_modified(source.metadata()?.modified()?)
}

impl Local {
    /// Takes in a file; the way in which it was done.
    pub(super) fn take_file(
        &self,
        source: &Path,
        digest: &Digest,
        way: Way,
    ) -> Result<Way, BlobsError> {
        self.make_shard(digest)?;
        let path = self.blob_path(digest);
        // No fact names what may be here: it is what a crash has left.
        remove_file(&path)?;
        if rename_or_link(source, &path, way).map_err(about(source))? {
            return Ok(way);
        }
        // What is copied is there by its name when it is whole.
        let staged = self.directory.join("staging");
        let staged = staged.join(format!("{}.{COPY}", digest.hex()));
        remove_file(&staged)?;
        let done = copy(source, &staged, way).map_err(|error| {
            // What there was no room for takes none.
            let _gone = fs::remove_file(&staged);
            about(source)(error)
        })?;
        fs::rename(&staged, &path).map_err(about(&path))?;
        Ok(done)
    }

    /// Gives a blob out as a file, which must not exist; also one that was retired.
    pub(super) fn give_file(
        &self,
        digest: &Digest,
        target: &Path,
        way: Way,
    ) -> Result<Way, BlobsError> {
        // A blob is never given away.
        let way = if way == Way::Move { Way::Copy } else { way };
        for path in [self.blob_path(digest), self.retired_path(digest)] {
            let given = match rename_or_link(&path, target, way) {
                Ok(true) => Ok(way),
                Ok(false) => copy(&path, target, way),
                Err(error) => Err(error),
            };
            match given {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => return done.map_err(about(target)),
            }
        }
        Err(BlobsError::Missing(*digest))
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
        synced.map_err(|error| about(&self.directory)(error.into()))
    }
}
