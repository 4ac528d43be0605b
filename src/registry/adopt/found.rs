//! A file of another storage that was found and opened: what is taken over is what was opened,
//! whatever stands at its name meanwhile.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{Mode, OFlags};

use crate::blobs::BlobsError;
use crate::digest::Digest;
use crate::dir::Dir;
use crate::printable::printable;

/// A file of another storage, open for reading, and where it was found.
#[derive(Debug)]
pub struct Found {
    pub(super) file: File,
    pub(super) directory: Dir,
    pub(super) name: OsString,
    len: u64,
    pub(super) modified: u32,
    pub(super) inode: (u64, u64),
}

impl Found {
    /// Opens a file in a directory.
    ///
    /// # Errors
    /// As [`Dir::open_file`]: what is no regular file is not read.
    pub fn open(directory: &Dir, name: &OsStr) -> io::Result<Self> {
        let file = directory.open_file(name, OFlags::RDONLY, Mode::empty())?;
        let metadata = file.metadata()?;
        Ok(Self {
            len: metadata.len(),
            modified: u32::try_from(metadata.mtime()).unwrap_or_default(),
            inode: (metadata.dev(), metadata.ino()),
            file,
            directory: directory.clone(),
            name: name.to_owned(),
        })
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its length in bytes when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns `true` if there was nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says of an error that it is about this file.
    pub(super) fn about(&self) -> impl Fn(io::Error) -> BlobsError + use<> {
        let path = printable(self.directory.shown(&self.name));
        move |error| BlobsError::System {
            path: path.clone(),
            error,
        }
    }

    /// All of its bytes, which are not many.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or_default()];
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, done as u64)? {
                0 => break,
                read => done += read,
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    /// The digest that it has.
    pub(super) fn hash(&self, like: &Digest) -> io::Result<Digest> {
        let mut offset = 0;
        Digest::of_parts(like.algorithm(), |buffer| {
            let read = self.file.read_at(buffer, offset)?;
            offset += read as u64;
            Ok(read)
        })
    }
}
