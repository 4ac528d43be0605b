//! An open directory of the host, and access to files beneath it by descriptor.
//!
//! A path given to a [`Dir`] is resolved beneath that directory: `..` out of it, absolute paths,
//! symbolic links and magic links are errors and never followed, so that a user who can write below
//! the directory cannot redirect the daemon. A directory that is renamed, or replaced at its path,
//! stays the same directory here. This module does not decide what is stored where.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fstat, fsync, mkdirat,
    openat, openat2, renameat_with, statat, unlinkat,
};

mod file_path;
mod foreign_owner;
mod links;
mod pinned;

pub use file_path::FilePath;
use foreign_owner::ForeignOwner;
pub use pinned::Pinned;

/// Longest path passed to the kernel in one call, in bytes; the kernel's limit is 4,096.
const PATH_BYTES_MAX: usize = 2_048;
/// How paths are resolved below a directory.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// An open directory. Clones share the descriptor.
#[derive(Clone, Debug)]
pub struct Dir {
    descriptor: Arc<OwnedFd>,
    /// The path at which it was opened, for messages.
    path: Arc<Path>,
    /// The owner of files created beneath it, if not the process.
    foreign_owner: Option<ForeignOwner>,
}

/// One name in a directory, and the kind of file: `Unknown` if the filesystem does not tell.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// The name.
    pub name: OsString,
    /// The kind of file.
    pub kind: FileType,
}

/// The directory from which a call resolves a path: this one, or one opened on the way.
enum ResolveBase<'a> {
    Own(BorrowedFd<'a>),
    Opened(OwnedFd),
}

impl AsFd for ResolveBase<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(descriptor) => *descriptor,
            Self::Opened(descriptor) => descriptor.as_fd(),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Dir {
    /// Opens the directory at a path of the host and follows symbolic links: the path is the
    /// administrator's.
    ///
    /// # Errors
    /// Those of open(2): it does not exist, is no directory, or may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = openat(CWD, path, flags, Mode::empty())?;
        Ok(Self::of(descriptor, path))
    }

    fn of(descriptor: OwnedFd, path: &Path) -> Self {
        Self {
            descriptor: Arc::new(descriptor),
            path: path.into(),
            foreign_owner: None,
        }
    }

    /// The same directory, whose owner is preserved: what root creates beneath it, also through
    /// directories opened from it, is given to its owner, and files with further names are not
    /// opened for writing. For other users than root nothing changes.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn preserving_owner(self) -> io::Result<Self> {
        let foreign_owner = ForeignOwner::of(&fstat(&self)?);
        Ok(Self {
            foreign_owner,
            ..self
        })
    }

    /// The path at which the directory was opened. For messages only, never to open anything.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something below this directory, for messages.
    pub fn shown(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }

    /// Opens a directory beneath this one; an empty path opens this one again.
    ///
    /// # Errors
    /// `ELOOP` for a symbolic link on the way, `EXDEV` for a path that leads out, and those of
    /// openat2(2).
    pub fn open_dir(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let (start, rest) = self.approach(path)?;
        let rest = if rest.as_os_str().is_empty() {
            Path::new(".")
        } else {
            rest
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = openat2(start, rest, flags, Mode::empty(), BENEATH)?;
        Ok(Self {
            foreign_owner: self.foreign_owner,
            ..Self::of(descriptor, &self.shown(path))
        })
    }

    /// Opens a directory beneath this one, and creates it with this mode (less the umask) if it
    /// does not exist. Its parent must exist.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) and [`make_dir`](Self::make_dir).
    pub fn ensure_dir(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<Self> {
        match self.open_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.make_dir(&path, mode) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    Ok(()) | Err(_) => self.open_dir(&path),
                }
            }
            opened => opened,
        }
    }

    /// Opens a regular file beneath this directory. With `CREATE`, a new file gets `mode` less the
    /// umask. Opening a FIFO does not block.
    ///
    /// # Errors
    /// `ELOOP` for a symbolic link, also as the last name, `EXDEV` for a path that leads out,
    /// `InvalidInput` for a file that is not regular, and those of openat2(2).
    pub fn open_file(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> io::Result<File> {
        let (start, rest) = self.approach(path.as_ref())?;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let descriptor = openat2(start, rest, flags, mode, BENEATH)?;
        let opened = fstat(&descriptor)?;
        if FileType::from_raw_mode(opened.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        let file = File::from(descriptor);
        if let Some(foreign_owner) = self.foreign_owner {
            foreign_owner.check_opened(&file, &opened, flags)?;
        }
        Ok(file)
    }

    /// Holds a file of any kind beneath this directory by an `O_PATH` descriptor, without opening
    /// it; an empty path is this directory.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on the way, and those of openat2(2).
    pub fn pin(&self, path: impl AsRef<Path>) -> io::Result<Pinned> {
        let (start, rest) = self.approach(path.as_ref())?;
        let rest = if rest.as_os_str().is_empty() {
            Path::new(".")
        } else {
            rest
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = openat2(start, rest, flags, Mode::empty(), BENEATH)?;
        Ok(Pinned(descriptor))
    }

    /// Returns the status of a path beneath this directory as lstat(2) does; an empty path is this
    /// directory.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on the way, and those of fstatat(2).
    pub fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() {
            return Ok(fstat(self)?);
        }
        let (parent, name) = self.parent(path)?;
        Ok(statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Creates a directory with this mode less the umask.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on the way, and those of mkdirat(2).
    pub fn make_dir(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        mkdirat(parent, name, mode)?;
        match self.foreign_owner {
            Some(foreign_owner) => foreign_owner.chown_new(self.open_dir(path)?),
            None => Ok(()),
        }
    }

    /// Removes a file that is no directory.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on the way, and those of unlinkat(2).
    pub fn remove_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        Ok(unlinkat(parent, name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on the way, and those of unlinkat(2).
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }

    /// Renames a path beneath this directory to one beneath `other`; `flags` are those of
    /// renameat2(2).
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir) on both ways, and those of renameat2(2).
    pub fn rename(
        &self,
        from: impl AsRef<Path>,
        other: &Self,
        to: impl AsRef<Path>,
        flags: RenameFlags,
    ) -> io::Result<()> {
        let (old, old_name) = self.parent(from.as_ref())?;
        let (new, new_name) = other.parent(to.as_ref())?;
        Ok(renameat_with(old, old_name, new, new_name, flags)?)
    }

    /// Returns the device and the inode number of this directory, which are unique while it is
    /// open.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let this = fstat(self)?;
        Ok((this.st_dev, this.st_ino))
    }

    /// Returns the names in this directory, unordered and without `.` and `..`.
    ///
    /// # Errors
    /// Those of getdents(2), as an item for the name that cannot be read.
    pub fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<DirEntry>>> {
        let rows = rustix::fs::Dir::read_from(self)?;
        Ok(rows.filter_map(|row| {
            let row = match row {
                Ok(row) => row,
                Err(error) => return Some(Err(error.into())),
            };
            let name = OsStr::from_bytes(row.file_name().to_bytes()).to_owned();
            let own = name == "." || name == "..";
            let kind = row.file_type();
            (!own).then_some(Ok(DirEntry { name, kind }))
        }))
    }

    /// Makes the names in this directory durable.
    ///
    /// # Errors
    /// Those of fsync(2); it is unknown then which names are durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(fsync(self)?)
    }

    /// Returns `true` if this directory is the one at `path` now.
    ///
    /// # Errors
    /// Those of stat(2), except that the path does not exist.
    pub fn stands_at(&self, path: &Path) -> io::Result<bool> {
        let there = match rustix::fs::stat(path) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(false),
            there => there?,
        };
        Ok((there.st_dev, there.st_ino) == self.identity()?)
    }

    /// Opens the parent of a path. Returns it and the last name.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(ResolveBase<'_>, &'a OsStr)> {
        let Some(Component::Normal(name)) = path.components().next_back() else {
            return Err(io::Error::from(rustix::io::Errno::INVAL));
        };
        let above = path.parent().unwrap_or(Path::new(""));
        if above.as_os_str().is_empty() {
            return Ok((ResolveBase::Own(self.as_fd()), name));
        }
        let (start, rest) = self.approach(above)?;
        let opened = openat2(start, rest, Self::PASSING, Mode::empty(), BENEATH)?;
        Ok((ResolveBase::Opened(opened), name))
    }

    /// Returns `true` if the kernel can resolve a path from its caches, without reading a disk.
    pub fn is_cached(&self, path: impl AsRef<Path>) -> bool {
        let resolve = BENEATH | ResolveFlags::CACHED;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        openat2(self, path.as_ref(), flags, Mode::empty(), resolve).is_ok()
    }

    /// A path that leads through this descriptor, for calls that take a path only (such as the
    /// address of a socket). It is valid in this process while the directory is open.
    pub fn through(&self, path: impl AsRef<Path>) -> PathBuf {
        let number = self.descriptor.as_raw_fd();
        PathBuf::from(format!("/proc/self/fd/{number}")).join(path)
    }

    /// Flags that open a directory for path resolution only, which needs no read permission.
    const PASSING: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

    /// Opens leading directories of a path until the rest is short enough for one call.
    fn approach<'a>(&self, path: &'a Path) -> io::Result<(ResolveBase<'_>, &'a Path)> {
        let (mut start, mut rest) = (ResolveBase::Own(self.as_fd()), path);
        while rest.as_os_str().len() > PATH_BYTES_MAX {
            let (first, left) = split(rest)?;
            start = ResolveBase::Opened(openat2(
                start,
                first,
                Self::PASSING,
                Mode::empty(),
                BENEATH,
            )?);
            rest = left;
        }
        Ok((start, rest))
    }
}

/// Splits a long path into a part for one call, and the rest.
fn split(path: &Path) -> io::Result<(&Path, &Path)> {
    let bytes = path.as_os_str().as_bytes();
    let at = bytes
        .iter()
        .take(PATH_BYTES_MAX)
        .rposition(|byte| *byte == b'/');
    let parts = at.and_then(|at| bytes.split_at_checked(at));
    let (first, left) = parts.ok_or(rustix::io::Errno::NAMETOOLONG)?;
    let left = left.strip_prefix(b"/").unwrap_or(left);
    let path = |bytes| Path::new(OsStr::from_bytes(bytes));
    Ok((path(first), path(left)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const READ: OFlags = OFlags::RDONLY;

    fn opened() -> (tempfile::TempDir, Dir) {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir::open(directory.path()).unwrap();
        (directory, dir)
    }

    fn errno(result: io::Result<impl Sized>) -> Option<i32> {
        result.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn a_symbolic_link_is_never_followed() {
        let (top, dir) = opened();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "theirs").unwrap();
        symlink(outside.path(), top.path().join("way")).unwrap();
        symlink(outside.path().join("file"), top.path().join("last")).unwrap();
        let read = |path: &str| errno(dir.open_file(path, READ, Mode::empty()));
        let looped = Some(rustix::io::Errno::LOOP.raw_os_error());
        assert_eq!(read("last"), looped);
        assert_eq!(read("way/file"), looped);
        assert_eq!(errno(dir.open_dir("way")), looped);
        assert_eq!(errno(dir.remove_file("way/file")), looped);
        assert_eq!(errno(dir.make_dir("way/new", Mode::RWXU)), looped);
        assert_eq!(errno(dir.metadata("way/file")), looped);
        assert_eq!(dir.read_link("way").unwrap(), outside.path());
        assert!(outside.path().join("file").exists());
    }

    #[test]
    fn a_path_does_not_lead_out_of_the_directory() {
        let (top, dir) = opened();
        fs::create_dir(top.path().join("in")).unwrap();
        let inner = dir.open_dir("in").unwrap();
        fs::write(top.path().join("beside"), "").unwrap();
        let read = |path: &Path| errno(inner.open_file(path, READ, Mode::empty()));
        let out = Some(rustix::io::Errno::XDEV.raw_os_error());
        assert_eq!(read(Path::new("../beside")), out);
        assert_eq!(read(&top.path().join("beside")), out);
        assert!(inner.remove_file("..").is_err());
    }

    #[test]
    fn only_regular_files_are_opened_and_a_fifo_does_not_block() {
        let (top, dir) = opened();
        let fifo = top.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let error = dir.open_file("fifo", READ, Mode::empty()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_renamed_directory_is_still_the_same() {
        let (top, dir) = opened();
        let (old, new) = (top.path().join("old"), top.path().join("new"));
        fs::create_dir(&old).unwrap();
        let inner = dir.open_dir("old").unwrap();
        assert!(inner.stands_at(&old).unwrap());
        fs::rename(&old, &new).unwrap();
        fs::create_dir(&old).unwrap();
        assert!(!inner.stands_at(&old).unwrap());
        assert!(inner.stands_at(&new).unwrap());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        inner.open_file("file", flags, Mode::RUSR).unwrap();
        assert!(new.join("file").exists());
    }

    #[test]
    fn a_path_may_be_longer_than_the_kernel_accepts() {
        let (_top, dir) = opened();
        let name = "d".repeat(200);
        let mut path = PathBuf::new();
        for _ in 0..40 {
            path.push(&name);
            dir.ensure_dir(&path, Mode::RWXU).unwrap();
        }
        assert!(path.as_os_str().len() > 8_000);
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = path.join("file");
        dir.open_file(&file, flags, Mode::RUSR).unwrap();
        assert_eq!(dir.metadata(&file).unwrap().st_size, 0);
        let deepest = dir.open_dir(&path).unwrap();
        let names: Vec<_> = deepest
            .entries()
            .unwrap()
            .map(|row| row.unwrap().name)
            .collect();
        assert_eq!(names, ["file"]);
        dir.remove_file(&file).unwrap();
        while path.pop() && !path.as_os_str().is_empty() {
            dir.remove_dir(path.join(&name)).unwrap();
        }
    }
}
