//! Reading a plain tree: directories and small files by open descriptors, never through a
//! symbolic link unless that is asked for, never waiting for a pipe.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, RawDir, Stat, fstat};

use crate::dir::Dir;

/// Bytes that one call may list.
const LISTED_AT_ONCE: usize = 16 << 10;

/// An open directory, and where it is below the tree.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) dir: Dir,
    pub(super) path: PathBuf,
    /// The directory in which it was found.
    above: Option<Arc<Open>>,
}

/// A file's bytes, and when they were written, in seconds since 1970.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) modified: u32,
}

/// When a file was written, in seconds since 1970.
fn modified(stat: &Stat) -> u32 {
    u32::try_from(stat.st_mtime).unwrap_or_default()
}

impl Open {
    /// The top of a tree.
    pub(super) fn top(dir: &Dir) -> Self {
        Self {
            dir: dir.clone(),
            path: PathBuf::new(),
            above: None,
        }
    }

    /// The directory in which this one was found.
    pub(super) fn above(&self) -> Option<&Arc<Self>> {
        self.above.as_ref()
    }

    fn below(self: &Arc<Self>, name: &OsStr, dir: Dir) -> Self {
        Self {
            dir,
            path: self.path.join(name),
            above: Some(Arc::clone(self)),
        }
    }

    /// A directory in this one.
    pub(super) fn directory(self: &Arc<Self>, name: &OsStr) -> io::Result<Self> {
        Ok(self.below(name, self.dir.open_dir(name)?))
    }

    /// The directory that a symbolic link in this one leads to; nothing if it leads to no
    /// directory, or to one that was passed on the way here.
    pub(super) fn through(self: &Arc<Self>, name: &OsStr) -> io::Result<Option<Self>> {
        let dir = match self.dir.open_through(name) {
            Err(error) if leads_nowhere(&error) => return Ok(None),
            opened => opened?,
        };
        let (identity, mut passed) = (dir.identity()?, Some(self));
        while let Some(one) = passed {
            if one.dir.identity()? == identity {
                return Ok(None);
            }
            passed = one.above();
        }
        Ok(Some(self.below(name, dir)))
    }

    /// All names, and what they are; in no order.
    pub(super) fn list(&self) -> io::Result<Vec<(OsString, FileType)>> {
        let mut buffer = [MaybeUninit::uninit(); LISTED_AT_ONCE];
        let mut rows = RawDir::new(&self.dir, &mut buffer);
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
        self.dir.metadata(name)
    }

    /// A regular file's bytes, one more than `max` if there are more.
    pub(super) fn read(&self, name: &OsStr, max: usize) -> io::Result<Content> {
        let file = self.dir.open_file(name, OFlags::RDONLY, Mode::empty())?;
        let stat = fstat(&file)?;
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

/// Returns `true` if an error says that a link leads to no directory.
fn leads_nowhere(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
