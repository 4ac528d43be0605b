//! Reading a plain tree: directories and small files by descriptor. A symbolic link is followed
//! only where the caller asks for it, and opening a FIFO does not block.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, RawDir, Stat, fstat};

use crate::dir::Dir;

/// The size of the buffer for getdents64(2), in bytes.
const DIRENT_BUFFER_BYTES: usize = 16 << 10;

/// An open directory, and its path below the tree.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    pub(super) dir: Dir,
    pub(super) path: PathBuf,
    /// The directory that holds it.
    above: Option<Arc<OpenDirectory>>,
}

/// The bytes of a file, and its time of modification in seconds since 1970.
#[derive(Debug)]
pub(super) struct FileContent {
    pub(super) bytes: Vec<u8>,
    pub(super) modified: u32,
}

/// Returns the time of modification in seconds since 1970; 0 if it is out of range.
fn modified(stat: &Stat) -> u32 {
    u32::try_from(stat.st_mtime).unwrap_or_default()
}

impl OpenDirectory {
    /// Returns the top of a tree.
    pub(super) fn top(dir: &Dir) -> Self {
        Self {
            dir: dir.clone(),
            path: PathBuf::new(),
            above: None,
        }
    }

    /// Returns the directory that holds this one; `None` for the top.
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

    /// Opens a directory in this one.
    pub(super) fn directory(self: &Arc<Self>, name: &OsStr) -> io::Result<Self> {
        Ok(self.below(name, self.dir.open_dir(name)?))
    }

    /// Opens the directory that a symbolic link in this one leads to. Returns `None` if it leads
    /// to no directory, or to this one or one above, which would make the walk endless.
    pub(super) fn follow(self: &Arc<Self>, name: &OsStr) -> io::Result<Option<Self>> {
        let dir = match self.dir.open_through(name) {
            Err(error) if leads_nowhere(&error) => return Ok(None),
            opened => opened?,
        };
        let (identity, mut above) = (dir.identity()?, Some(self));
        while let Some(one) = above {
            if one.dir.identity()? == identity {
                return Ok(None);
            }
            above = one.above();
        }
        Ok(Some(self.below(name, dir)))
    }

    /// Returns all names with their kinds, in no order.
    pub(super) fn list(&self) -> io::Result<Vec<(OsString, FileType)>> {
        let mut buffer = [MaybeUninit::uninit(); DIRENT_BUFFER_BYTES];
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

    /// Returns what lstat(2) says of a name.
    pub(super) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        self.dir.metadata(name)
    }

    /// Reads a regular file of at most `max` bytes. Of a longer file the first `max` + 1 bytes are
    /// returned, so that the caller can tell.
    pub(super) fn read(&self, name: &OsStr, max: usize) -> io::Result<FileContent> {
        let file = self.dir.open_file(name, OFlags::RDONLY, Mode::empty())?;
        let stat = fstat(&file)?;
        let mut bytes = vec![0; max + 1];
        let mut len = 0;
        while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(&file, rest)? {
                0 => break,
                read => len += read,
            }
            // One read is enough for a short file.
            if i64::try_from(len).is_ok_and(|len| len == stat.st_size) {
                break;
            }
        }
        bytes.truncate(len);
        Ok(FileContent {
            bytes,
            modified: modified(&stat),
        })
    }
}

/// Returns `true` if an error means that a link leads to no directory.
fn leads_nowhere(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
