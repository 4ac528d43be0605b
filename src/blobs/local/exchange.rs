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

/// What says that two names cannot share one file: other filesystems, too many names, or a
/// filesystem or policy without hard links.
const UNLINKABLE: [Errno; 5] = [
    Errno::XDEV,
    Errno::MLINK,
    Errno::PERM,
    Errno::OPNOTSUPP,
    Errno::NOSYS,
];

/// Makes `to`, which must not exist, hold the bytes of `from`; the way in which it was done.
fn transfer(from: &Path, to: &Path, way: Way) -> io::Result<Way> {
    match way {
        Way::Link => match linkat(CWD, from, CWD, to, AtFlags::empty()) {
            Err(error) if UNLINKABLE.contains(&error) => transfer(from, to, Way::Copy),
            linked => Ok(linked.map(|()| Way::Link)?),
        },
        Way::Reflink => {
            let (source, target) = (File::open(from)?, File::create_new(to)?);
            ioctl_ficlone(&target, &source)?;
            keep_time(&source, &target)?;
            Ok(Way::Reflink)
        }
        Way::Copy => {
            let (source, mut target) = (File::open(from)?, File::create_new(to)?);
            io::copy(&mut &source, &mut target)?;
            keep_time(&source, &target)?;
            Ok(Way::Copy)
        }
        Way::Move => match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::XDEV) => transfer(from, to, Way::Copy),
            moved => Ok(moved.map(|()| Way::Move)?),
        },
    }
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
        if matches!(way, Way::Link | Way::Move) {
            match transfer(source, &path, way) {
                Ok(Way::Copy) => {}
                done => return done.map_err(about(source)),
            }
        }
        // What is copied is there by its name when it is whole.
        let staged = self.directory.join("staging");
        let staged = staged.join(format!("{}.{COPY}", digest.hex()));
        remove_file(&path)?;
        remove_file(&staged)?;
        let way = if way == Way::Reflink { way } else { Way::Copy };
        let done = transfer(source, &staged, way).map_err(about(source))?;
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
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let way = if way == Way::Move { Way::Copy } else { way };
        match transfer(&self.blob_path(digest), target, way) {
            Err(error) if gone(&error) => {}
            done => return done.map_err(about(target)),
        }
        match transfer(&self.retired_path(digest), target, way) {
            Err(error) if gone(&error) => Err(BlobsError::Missing(*digest)),
            done => done.map_err(about(target)),
        }
    }

    /// Makes everything durable that was taken in before.
    pub(super) fn settle_files(&self) -> Result<(), BlobsError> {
        let directory = File::open(&self.directory).map_err(about(&self.directory))?;
        let synced = rustix::fs::syncfs(&directory);
        synced.map_err(|error| about(&self.directory)(error.into()))
    }
}
