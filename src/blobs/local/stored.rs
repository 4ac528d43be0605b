//! Stored files: a file of the store that is open for reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::about;
use crate::blobs::{BlobsError, StoredBytes};
use crate::digest::Digest;
use crate::dir::FilePath;

/// How often opening a file is tried while a lease on it is held.
const LEASED: usize = 1_000;

/// Opens the file of a blob.
///
/// # Errors
/// [`BlobsError::Missing`] if it does not exist.
pub(super) fn open_stored(
    path: FilePath,
    digest: &Digest,
) -> Result<Arc<dyn StoredBytes>, BlobsError> {
    open_content(path)?.ok_or(BlobsError::Missing(*digest))
}

/// Opens a file. Returns `None` if it does not exist.
pub(super) fn open_content(path: FilePath) -> Result<Option<Arc<dyn StoredBytes>>, BlobsError> {
    let file = match open_unleased(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(about(&path))?,
    };
    let len = file.metadata().map_err(about(&path))?.len();
    Ok(Some(Arc::new(StoredFile { file, len, path })))
}

/// Opens a file for reading. While a publication holds a [lease](super::lease), which takes
/// microseconds, the kernel refuses to open the file without waiting.
fn open_unleased(path: &FilePath) -> io::Result<File> {
    for _ in 0..LEASED {
        match path.read() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            opened => return opened,
        }
    }
    path.read()
}

/// An open file.
#[derive(Debug)]
struct StoredFile {
    file: File,
    len: u64,
    path: FilePath,
}

impl StoredBytes for StoredFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobsError> {
        read_full(&self.file, offset, buffer).map_err(about(&self.path))
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }
}

/// Reads until the buffer is full or the file ends, and returns the count.
pub(super) fn read_full(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
