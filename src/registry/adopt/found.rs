//! Found file: a file of another storage, opened once. Its content is adopted from the open file,
//! even if its name is given to another file meanwhile.

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
pub struct FoundFile {
    pub(super) file: File,
    pub(super) directory: Dir,
    pub(super) name: OsString,
    len: u64,
    pub(super) modified: u32,
    pub(super) inode: (u64, u64),
}

impl FoundFile {
    /// Opens a file in a directory.
    ///
    /// # Errors
    /// As of [`Dir::open_file`]: only regular files are opened.
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

    /// Returns the open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the file's length in bytes when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns `true` if the file was empty when it was opened.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns a function that adds the file's path to an I/O error.
    pub(super) fn about(&self) -> impl Fn(io::Error) -> BlobsError + use<> {
        let path = printable(self.directory.shown(&self.name));
        move |error| BlobsError::System {
            path: path.clone(),
            error,
        }
    }

    /// Returns the whole content. The caller checks the length before.
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

    /// Returns the digest of the content, by the algorithm of `like`.
    pub(super) fn hash(&self, like: &Digest) -> io::Result<Digest> {
        let mut offset = 0;
        Digest::of_parts(like.algorithm(), |buffer| {
            let read = self.file.read_at(buffer, offset)?;
            offset += read as u64;
            Ok(read)
        })
    }
}
