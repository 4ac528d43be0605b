//! A file of any kind held by descriptor without being opened.
//!
//! What is read or changed through it is the file that was found, wherever its name leads by
//! then; a symbolic link is held as the link itself. Nothing is opened but regular files, so that
//! neither a FIFO nor a device has anybody waiting for it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, chmodat, chownat, fstat,
    openat, utimensat,
};
use rustix::io::Errno;

/// A file of any kind that was found, and is not open.
#[derive(Debug)]
pub struct Pinned(pub(super) OwnedFd);

impl Pinned {
    /// A path by which the kernel leads to the file itself, for calls that take no bare
    /// descriptor of this kind. It is valid in this process, and while this is held.
    pub fn through(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// What stat shows.
    ///
    /// # Errors
    /// What fstat(2) says.
    pub fn metadata(&self) -> io::Result<Stat> {
        Ok(fstat(&self.0)?)
    }

    fn kind(&self) -> io::Result<FileType> {
        Ok(FileType::from_raw_mode(self.metadata()?.st_mode))
    }

    /// Opens it, if it is a regular file.
    ///
    /// # Errors
    /// `EISDIR` for a directory, `ELOOP` for a symbolic link, `EPERM` for other kinds, and what
    /// open(2) says.
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
    /// `EOPNOTSUPP` for a symbolic link, which has none, and what chmod(2) says.
    pub fn set_mode(&self, mode: Mode) -> io::Result<()> {
        if self.kind()? == FileType::Symlink {
            return Err(Errno::OPNOTSUPP.into());
        }
        Ok(chmodat(CWD, self.through(), mode, AtFlags::empty())?)
    }

    /// Sets owner and group, as far as they are given.
    ///
    /// # Errors
    /// What fchownat(2) says.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(chownat(&self.0, "", uid, gid, AtFlags::EMPTY_PATH)?)
    }

    /// Sets the times of access and modification.
    ///
    /// # Errors
    /// What utimensat(2) says.
    pub fn set_times(&self, times: &Timestamps) -> io::Result<()> {
        // Of a symbolic link this name leads to the link.
        Ok(utimensat(CWD, self.through(), times, AtFlags::empty())?)
    }
}
