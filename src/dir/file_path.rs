//! A file beneath an open directory as one value: its directory and its path.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, RenameFlags, Stat, fstat};

use super::Dir;

/// A path beneath an open directory.
#[derive(Clone, Debug)]
pub struct FilePath {
    dir: Dir,
    path: PathBuf,
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dir.shown(&self.path).display().fmt(f)
    }
}

impl FilePath {
    /// The path `path` beneath `dir`.
    pub fn new(dir: &Dir, path: impl Into<PathBuf>) -> Self {
        let (dir, path) = (dir.clone(), path.into());
        Self { dir, path }
    }

    /// The directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The path beneath it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same path with another extension.
    #[must_use]
    pub fn with_extension(&self, extension: &str) -> Self {
        Self::new(&self.dir, self.path.with_extension(extension))
    }

    /// Opens the file as [`Dir::open_file`] does.
    ///
    /// # Errors
    /// Those of [`Dir::open_file`].
    pub fn open(&self, flags: OFlags, mode: Mode) -> io::Result<File> {
        self.dir.open_file(&self.path, flags, mode)
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// Those of [`Dir::open_file`].
    pub fn read(&self) -> io::Result<File> {
        self.open(OFlags::RDONLY, Mode::empty())
    }

    /// Creates a file with this mode, for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists`, and those of [`Dir::open_file`].
    pub fn create(&self, mode: Mode) -> io::Result<File> {
        self.open(OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode)
    }

    /// Removes the file. Returns `false` if it did not exist.
    ///
    /// # Errors
    /// Those of [`Dir::remove_file`].
    pub fn remove(&self) -> io::Result<bool> {
        match self.dir.remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    /// Renames the file; `flags` are those of renameat2(2).
    ///
    /// # Errors
    /// Those of [`Dir::rename`].
    pub fn rename(&self, to: &Self, flags: RenameFlags) -> io::Result<()> {
        self.dir.rename(&self.path, &to.dir, &to.path, flags)
    }

    /// Creates a hard link to the file.
    ///
    /// # Errors
    /// Those of [`Dir::hard_link`].
    pub fn hard_link(&self, to: &Self) -> io::Result<()> {
        self.dir.hard_link(&self.path, &to.dir, &to.path)
    }

    /// Returns the status of the file as lstat(2) does.
    ///
    /// # Errors
    /// Those of [`Dir::metadata`].
    pub fn metadata(&self) -> io::Result<Stat> {
        self.dir.metadata(&self.path)
    }

    /// Returns `true` if this is a name of an open file.
    pub fn is_name_of(&self, file: &File) -> bool {
        let (Ok(file), Ok(there)) = (fstat(file), self.metadata()) else {
            return false;
        };
        (file.st_dev, file.st_ino) == (there.st_dev, there.st_ino)
    }
}
