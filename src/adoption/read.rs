//! Reading a plain tree: directories and small files by open descriptors, never through a
//! symbolic link, never waiting for a pipe.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, fstat, openat, statat};

/// Bytes that one call may list.
const LISTED_AT_ONCE: usize = 16 << 10;

/// An open directory, and where it is below the tree.
#[derive(Debug)]
pub(super) struct Open {
    file: OwnedFd,
    pub(super) path: PathBuf,
}

/// A file's bytes, and when they were written, in seconds since 1970.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) modified: u32,
}

/// When a file was written, in seconds since 1970.
pub(super) fn modified(stat: &Stat) -> u32 {
    u32::try_from(stat.st_mtime).unwrap_or_default()
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

impl Open {
    /// The top of a tree.
    pub(super) fn top(path: &Path) -> io::Result<Self> {
        // The top itself may be a symbolic link: whoever named it meant what it leads to.
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        Ok(Self {
            file: rustix::fs::open(path, flags, Mode::empty())?,
            path: PathBuf::new(),
        })
    }

    /// A directory in this one.
    pub(super) fn directory(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self {
            file: openat(&self.file, name, DIRECTORY, Mode::empty())?,
            path: self.path.join(name),
        })
    }

    /// All names, and what they are; in no order.
    pub(super) fn list(&self) -> io::Result<Vec<(OsString, FileType)>> {
        let mut buffer = [MaybeUninit::uninit(); LISTED_AT_ONCE];
        let mut rows = RawDir::new(&self.file, &mut buffer);
        let mut names = Vec::new();
        while let Some(row) = rows.next() {
            let row = row?;
            let name = OsStr::from_bytes(row.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            names.push((name.to_owned(), row.file_type()));
        }
        for (name, kind) in &mut names {
            if *kind == FileType::Unknown {
                *kind = FileType::from_raw_mode(self.stat(name)?.st_mode);
            }
        }
        Ok(names)
    }

    /// What stat says of a name.
    pub(super) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// A regular file's bytes, one more than `max` if there are more.
    pub(super) fn read(&self, name: &OsStr, max: usize) -> io::Result<Content> {
        let file = openat(&self.file, name, FILE, Mode::empty())?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = vec![0; max + 1];
        let mut len = 0;
        while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(&file, rest)? {
                0 => break,
                read => len += read,
            }
            // Of a short file one read is enough.
            if i64::try_from(len).is_ok_and(|len| len == stat.st_size) {
                break;
            }
        }
        bytes.truncate(len);
        Ok(Content {
            bytes,
            modified: modified(&stat),
        })
    }
}
