//! A file of any kind, held by an `O_PATH` descriptor without being opened.
//!
//! Operations apply to the file that was found, wherever its name leads now; a symbolic link is
//! held itself. Only regular files can be opened, so that neither a FIFO nor a device blocks the
//! caller.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, chmodat, chownat, fstat,
    openat, utimensat,
};
use rustix::io::Errno;

/// A file of any kind that was found and is not open.
#[derive(Debug)]
pub struct Pinned(pub(super) OwnedFd);

impl Pinned {
    /// A path by which the kernel reaches the file, for calls that do not take an `O_PATH`
    /// descriptor. It is valid in this process while this value exists.
    pub fn through(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Returns the status of the file.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn metadata(&self) -> io::Result<Stat> {
        Ok(fstat(&self.0)?)
    }

    fn kind(&self) -> io::Result<FileType> {
        Ok(FileType::from_raw_mode(self.metadata()?.st_mode))
    }

    /// Opens the file, which must be regular.
    ///
    /// # Errors
    /// `EISDIR` for a directory, `ELOOP` for a symbolic link, `EPERM` for other kinds, and those of
    /// open(2).
    pub fn open_file(&self, flags: OFlags) -> io::Result<File> {
        match self.kind()? {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR.into()),
            FileType::Symlink => return Err(Errno::LOOP.into()),
            _ => return Err(Errno::PERM.into()),
        }
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(File::from(openat(
            CWD,
            self.through(),
            flags,
            Mode::empty(),
        )?))
    }

    /// Sets the permission bits.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a symbolic link, which has none, and those of chmod(2).
    pub fn set_mode(&self, mode: Mode) -> io::Result<()> {
        if self.kind()? == FileType::Symlink {
            return Err(Errno::OPNOTSUPP.into());
        }
        Ok(chmodat(CWD, self.through(), mode, AtFlags::empty())?)
    }

    /// Sets owner and group; `None` leaves one unchanged.
    ///
    /// # Errors
    /// Those of fchownat(2).
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(chownat(&self.0, "", uid, gid, AtFlags::EMPTY_PATH)?)
    }

    /// Sets the access and modification times.
    ///
    /// # Errors
    /// Those of utimensat(2).
    pub fn set_times(&self, times: &Timestamps) -> io::Result<()> {
        // For a symbolic link this path leads to the link itself.
        Ok(utimensat(CWD, self.through(), times, AtFlags::empty())?)
    }
}
