//! Links below an open directory: hard links, and symbolic links, which are followed only where the
//! administrator allows it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, readlinkat, symlinkat};

use super::Dir;

impl Dir {
    /// Creates a hard link beneath `other` to a file beneath this directory.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on both ways, and those of linkat(2).
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

    /// Creates a hard link beneath this directory to an open file.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on the way, and those of linkat(2): `EXDEV` for a file of
    /// another filesystem or mount, `EMLINK` and `EPERM` if the file can have no more links.
    pub fn link(&self, file: &File, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        // By descriptor, so that the link is to the file that was opened.
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(linkat(CWD, open, parent, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Creates a symbolic link to `target`.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on the way, and those of symlinkat(2).
    pub fn make_link(&self, target: &Path, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        Ok(symlinkat(target, parent, name)?)
    }

    /// Opens the directory of a name in this directory and follows symbolic links. For use only
    /// where the administrator allows links to be followed.
    ///
    /// # Errors
    /// Those of open(2): it does not exist, is no directory, or may not be read.
    pub fn open_through(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = openat(self, name, flags, Mode::empty())?;
        Ok(Self::of(descriptor, &self.shown(name)))
    }

    /// Returns the target of a symbolic link beneath this directory.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on the way, and those of readlinkat(2).
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let (parent, name) = self.parent(path.as_ref())?;
        let target = readlinkat(parent, name, Vec::new())?;
        Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }
}
