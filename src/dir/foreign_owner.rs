//! The owner of a directory in which root works: new files are given to that user, and files that
//! the user may have linked from elsewhere are not written.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Gid, OFlags, Stat, Uid, fchown, fstat};

/// A user other than root.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForeignOwner {
    uid: Uid,
    gid: Gid,
}

impl ForeignOwner {
    /// The owner of a directory, if the process is root and the owner is not.
    pub(super) fn of(stat: &Stat) -> Option<Self> {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let foreign = rustix::process::geteuid().is_root() && !uid.is_root();
        foreign.then_some(Self { uid, gid })
    }

    /// Gives a new, empty file or directory to the owner.
    pub(super) fn chown_new(self, made: impl AsFd) -> io::Result<()> {
        if fstat(&made)?.st_uid == 0 {
            fchown(&made, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// Checks a file that was opened. A file opened for writing must have no further names: another
    /// name may be of a file that only root may write.
    pub(super) fn check_opened(self, file: &File, stat: &Stat, flags: OFlags) -> io::Result<()> {
        if !flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
            return Ok(());
        }
        if stat.st_nlink > 1 {
            let text = "it has other names, which may belong to another user";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        if flags.contains(OFlags::CREATE) && stat.st_size == 0 {
            self.chown_new(file)?;
        }
        Ok(())
    }
}
