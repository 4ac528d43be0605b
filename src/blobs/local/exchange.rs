//! Exchange: blobs that come from files elsewhere, and are given out as such.
//!
//! Nothing here verifies bytes: who takes a file in says that it trusts it, or has read it.

use std::fs::File;
use std::io;

use rustix::fs::{Mode, RenameFlags, ioctl_ficlone};
use rustix::io::Errno;

use super::{COPY, IMMUTABLE, Local, about, beneath, remove_file};
use crate::blobs::{BlobsError, Way};
use crate::digest::Digest;
use crate::dir::FilePath;

/// What says that two names cannot share one file: too many names, or a filesystem or policy
/// without hard links.
const UNLINKABLE: [Errno; 4] = [Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS];

/// Of a file that is given out, less the umask.
const GIVEN: Mode = Mode::from_raw_mode(0o666);

/// Returns `true` if an error says that two names cannot share one file.
pub(super) fn is_unlinkable(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| UNLINKABLE.contains(&error))
}

/// Gives a file another name, or its only other one; whether the filesystem can.
fn rename_or_link(from: &FilePath, to: &FilePath, way: Way) -> io::Result<bool> {
    let done = match way {
        Way::Link => from.hard_link(to),
        Way::Move => from.rename(to, RenameFlags::NOREPLACE),
        Way::Reflink | Way::Copy => return Ok(false),
    };
    match done {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
        Err(error) if way == Way::Link && is_unlinkable(&error) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Copies a file to where none is, by reference if that is asked for; how it was done.
fn copy(from: &FilePath, to: &FilePath, mode: Mode, way: Way) -> io::Result<Way> {
    let (source, mut target) = (from.read()?, to.create(mode)?);
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
        source: &FilePath,
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
        let staged = FilePath::new(&self.staging, format!("{}.{COPY}", digest.hex()));
        remove_file(&staged)?;
        let done = copy(source, &staged, IMMUTABLE, way).map_err(|error| {
            // What there was no room for takes none.
            let _gone = staged.remove();
            about(source)(error)
        })?;
        let renamed = staged.rename(&path, RenameFlags::empty());
        renamed.map_err(about(&path))?;
        Ok(done)
    }

    /// Gives a blob out as a file, which must not exist; also one that was retired.
    pub(super) fn give_file(
        &self,
        digest: &Digest,
        target: &FilePath,
        way: Way,
    ) -> Result<Way, BlobsError> {
        // A blob is never given away.
        let way = if way == Way::Move { Way::Copy } else { way };
        for path in [self.blob_path(digest), self.retired_path(digest)] {
            let given = match rename_or_link(&path, target, way) {
                Ok(true) => Ok(way),
                Ok(false) => copy(&path, target, GIVEN, way),
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
        synced.map_err(|error| beneath(&self.filesystem, "")(error.into()))
    }
}
