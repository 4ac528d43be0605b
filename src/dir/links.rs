//! Links below an open directory: second names of files, and symbolic links made, read, and, on
//! the administrator's word alone, followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, readlinkat, symlinkat};

use super::Dir;

impl Dir {
    /// Gives a file beneath this directory a second name beneath `other`.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) for the ways there, and what linkat(2) says.
    pub fn hard_link(
        &self,
        from: impl AsRef<Path>,
        other: &Self,
        to: impl AsRef<Path>,
    ) -> io::Result<()> {
        let (old, old_name) = self.parent(from.as_ref())?;
        let (new, new_name) = other.parent(to.as_ref())?;
        Ok(linkat(old, old_name, new, new_name, AtFlags::empty())?)
    }

    /// Gives a file that is open another name beneath this directory.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) for the way there, and what linkat(2) says: `EXDEV` for
    /// a file of another filesystem or mount, `EMLINK` and `EPERM` where it can have no more
    /// names.
    pub fn link(&self, file: &File, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        // By its descriptor: what was opened is what gets the name.
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(linkat(CWD, open, parent, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Makes a symbolic link that says `target`.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) for the way there, and what symlinkat(2) says.
    pub fn make_link(&self, target: &Path, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        Ok(symlinkat(target, parent, name)?)
    }

    /// Opens the directory that a name in this directory leads to, through symbolic links: only
    /// where the administrator has said that links are to be followed.
    ///
    /// # Errors
    /// What open(2) says: it does not exist, is no directory, or may not be read.
    pub fn open_through(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = openat(self, name, flags, Mode::empty())?;
        Ok(Self::of(descriptor, &self.shown(name)))
    }

    /// What a symbolic link beneath this directory says.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) for the way there, and what readlinkat(2) says.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let (parent, name) = self.parent(path.as_ref())?;
        let target = readlinkat(parent, name, Vec::new())?;
        Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }
}
