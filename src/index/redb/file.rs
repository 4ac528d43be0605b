//! The database file: reads that miss the page cache prefetch the surrounding data.
//!
//! The pages of a tree are read one at a time in an order that the kernel does not recognize, so it
//! does not read ahead, and a listing from a cold disk would wait for each page. Pages that were
//! written together are stored together.

use std::fs;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Bound;

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};
use rustix::fs::{Advice, fadvise};
use rustix::io::{ReadWriteFlags, preadv2};

/// Bytes that are read at once from the disk; on most disks that is little slower than one page.
const AROUND: NonZeroU64 = NonZeroU64::new(128 << 10).unwrap();

/// A database file.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    file: fs::File,
    /// Locks the file and implements everything else.
    backend: FileBackend,
}

impl DatabaseFile {
    pub(super) fn new(file: fs::File) -> Result<Self, DatabaseError> {
        let backend = FileBackend::new(file.try_clone()?)?;
        Ok(Self { file, backend })
    }

    /// Reads from the page cache only. Returns `true` if everything was cached.
    fn read_cached(&self, offset: u64, out: &mut [u8]) -> bool {
        let len = out.len();
        let mut parts = [IoSliceMut::new(out)];
        let read = preadv2(&self.file, &mut parts, offset, ReadWriteFlags::NOWAIT);
        read == Ok(len)
    }
}

impl StorageBackend for DatabaseFile {
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.read_cached(offset, out) {
            return Ok(());
        }
        let start = offset - offset % AROUND;
        // Advice that is not taken only costs time.
        let _taken = fadvise(&self.file, start, Some(AROUND), Advice::WillNeed);
        self.backend.read(offset, out)
    }

    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn reads_return_the_content_whether_cached_or_not() {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..=250_u8).cycle().take(300_000).collect();
        file.write_all_at(&bytes, 0).unwrap();
        file.sync_all().unwrap();
        let cold = file.try_clone().unwrap();
        let database = DatabaseFile::new(file).unwrap();
        for (offset, len) in [(0, 1), (4096, 4096), (131_000, 200), (295_904, 4096)] {
            fadvise(&cold, 0, None, Advice::DontNeed).unwrap();
            for _ in 0..2 {
                let mut out = vec![0; len];
                database.read(offset, &mut out).unwrap();
                let at = usize::try_from(offset).unwrap();
                assert_eq!(out, bytes[at..at + len]);
            }
        }
        let behind = database.read(299_999, &mut [0; 2]).unwrap_err();
        assert_eq!(behind.kind(), io::ErrorKind::UnexpectedEof);
    }
}
