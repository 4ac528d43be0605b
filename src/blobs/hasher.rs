//! The hasher: the sha256 of files that are still being written, computed as they grow.
//!
//! One thread reads back the bytes of drafts that have grown by a mebibyte or more (they are in the
//! page cache). A caller that wants the digest hashes the rest. A write or a truncation below the
//! hashed bytes starts the hash again. Nothing is published here.
//!
//! Holes are hashed without reading them. The thread skips files that were removed, and ends when
//! the store is closed: closing waits for the current step, but not for a disk that does not
//! answer.
//!
//! A file can be [shared](SharedFile) with others, who write it without a message. The thread then
//! looks at its length from time to time. Since they may have changed hashed bytes, a checksum of
//! those, much faster than the hash, is compared before the digest is returned.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::Errno;
use xxhash_rust::xxh3::Xxh3;

use crate::digest::{Algorithm, Digest, Hasher};

mod thread;

pub(super) use thread::{HasherMessage, HasherThread};

/// Bytes that are hashed while the lock is held once, and by which a file grows before the thread
/// is told.
const STEP: usize = 1 << 20;

/// The bytes of a hole.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file, and the hash of its first bytes.
#[derive(Debug)]
pub(super) struct TrackedFile {
    file: File,
    progress: Mutex<HashProgress>,
    /// The end of the bytes that were hashed or are being read: a write below it makes the hash
    /// stale.
    claimed: AtomicU64,
    /// The end of the written bytes.
    written: AtomicU64,
    /// Set while the thread knows of growth that it has not hashed.
    queued: AtomicBool,
    /// The number of [`SharedFile`]s.
    shares: Mutex<usize>,
    returned: Condvar,
    /// Set once the file was shared.
    was_shared: AtomicBool,
}

/// A file that others read and write until this is dropped.
#[derive(Debug)]
pub struct SharedFile(Arc<TrackedFile>);

impl SharedFile {
    /// Returns the file.
    pub fn file(&self) -> &File {
        &self.0.file
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        *self.0.shares.lock() -= 1;
        self.0.returned.notify_all();
    }
}

struct HashProgress {
    hasher: Hasher,
    hashed: u64,
    /// The checksum of the hashed bytes, seeded by a secret: nobody can change bytes without
    /// changing it.
    sum: Xxh3,
}

impl std::fmt::Debug for HashProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashProgress")
            .field("hashed", &self.hashed)
            .finish_non_exhaustive()
    }
}

/// Returns the checksum of no bytes, seeded by a secret of this process.
fn checksum() -> Xxh3 {
    static SECRET: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    Xxh3::with_seed(*SECRET)
}

impl HashProgress {
    fn new() -> Self {
        Self {
            hasher: Hasher::new(Algorithm::Sha256),
            hashed: 0,
            sum: checksum(),
        }
    }
}

impl TrackedFile {
    /// A file of `written` bytes, none of them hashed.
    pub(super) fn new(file: File, written: u64) -> Self {
        Self {
            file,
            progress: Mutex::new(HashProgress::new()),
            claimed: AtomicU64::new(0),
            written: AtomicU64::new(written),
            queued: AtomicBool::new(false),
            shares: Mutex::new(0),
            returned: Condvar::new(),
            was_shared: AtomicBool::new(false),
        }
    }

    /// Shares the file, and has the thread hash it.
    pub(super) fn share(self: &Arc<Self>, hasher: &Sender<HasherMessage>) -> SharedFile {
        let mut shares = self.shares.lock();
        *shares += 1;
        self.was_shared.store(true, Ordering::SeqCst);
        if !self.queued.swap(true, Ordering::SeqCst) {
            // Without a thread the publication hashes everything by itself.
            let _ended = hasher.send(HasherMessage::Grown(Arc::downgrade(self)));
        }
        SharedFile(Arc::clone(self))
    }

    /// Returns `true` if the file was ever shared: others may have written it.
    pub(super) fn was_shared(&self) -> bool {
        self.was_shared.load(Ordering::SeqCst)
    }

    /// Returns `true` if the file is shared, so that the thread must look at it again by itself.
    /// Otherwise the thread gets a message when it is shared again.
    fn is_shared(&self) -> bool {
        let shares = self.shares.lock();
        self.queued.store(*shares > 0, Ordering::SeqCst);
        *shares > 0
    }

    /// Waits until the file is not shared any more. Returns `false` after `time`.
    pub(super) fn wait_for_return(&self, time: Duration) -> bool {
        let mut shares = self.shares.lock();
        let until = Instant::now() + time;
        while *shares > 0 {
            if self.returned.wait_until(&mut shares, until).timed_out() {
                break;
            }
        }
        *shares == 0
    }

    /// Reads the length of a file that others may have written.
    fn update_length(&self) -> io::Result<()> {
        if self.was_shared() {
            let len = self.file.metadata()?.len();
            if len < self.written.swap(len, Ordering::SeqCst) {
                self.changed(len);
            }
        }
        Ok(())
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Starts the hash again if bytes behind `offset` that changed are hashed.
    fn changed(&self, offset: u64) {
        if offset < self.claimed.load(Ordering::SeqCst) {
            let mut progress = self.progress.lock();
            *progress = HashProgress::new();
            self.claimed.store(0, Ordering::SeqCst);
        }
    }

    /// Called after bytes from `offset` to `end` were written.
    pub(super) fn wrote(self: &Arc<Self>, offset: u64, end: u64, hasher: &Sender<HasherMessage>) {
        self.changed(offset);
        let written = self.written.fetch_max(end, Ordering::SeqCst).max(end);
        let ahead = written.saturating_sub(self.claimed.load(Ordering::SeqCst));
        if ahead >= STEP as u64 && !self.queued.swap(true, Ordering::SeqCst) {
            // Without a thread the publication hashes everything by itself.
            let _ended = hasher.send(HasherMessage::Grown(Arc::downgrade(self)));
        }
    }

    /// Called after the length of the file became `len`.
    pub(super) fn cut(&self, len: u64) {
        self.changed(len);
        self.written.store(len, Ordering::SeqCst);
    }

    /// Hashes at most one step. Returns `true` if there may be more.
    fn step(&self, progress: &mut HashProgress, buffer: &mut [u8]) -> io::Result<bool> {
        let left = self
            .written
            .load(Ordering::SeqCst)
            .saturating_sub(progress.hashed);
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        self.claimed
            .store(progress.hashed + want as u64, Ordering::SeqCst);
        let buffer = buffer.get_mut(..want).unwrap_or_default();
        let (summed, hashed) = (self.was_shared(), progress.hashed);
        let read = self.read_part(hashed, buffer, |bytes| {
            progress.hasher.update(bytes);
            if summed {
                progress.sum.update(bytes);
            }
        })?;
        progress.hashed += read as u64;
        Ok(read > 0)
    }

    /// Passes the bytes at `offset` to `take`, at most as many as the buffer holds, and returns
    /// their count. Holes are not read.
    fn read_part(
        &self,
        offset: u64,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let hole = self.hole(offset, buffer.len());
        if hole == 0 {
            let read = self.file.read_at(buffer, offset)?;
            take(buffer.get(..read).unwrap_or_default());
            return Ok(read);
        }
        let mut left = hole;
        while let Some(zeros) = ZEROS.get(..left.min(ZEROS.len())).filter(|_| left > 0) {
            take(zeros);
            left -= zeros.len();
        }
        Ok(hole)
    }

    /// Returns how many of `want` bytes at `offset` are in a hole.
    fn hole(&self, offset: u64, want: usize) -> usize {
        // A file that has all its blocks has no holes.
        let Ok(stat) = fstat(&self.file) else {
            return 0;
        };
        let (size, blocks) = (stat.st_size.cast_unsigned(), stat.st_blocks.cast_unsigned());
        if blocks.saturating_mul(512) >= size {
            return 0;
        }
        let data = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => data,
            Err(Errno::NXIO) => size,
            // Not every filesystem implements SEEK_DATA.
            Err(_) => return 0,
        };
        let hole = data.saturating_sub(offset);
        usize::try_from(hole).unwrap_or(usize::MAX).min(want)
    }

    /// Returns `true` if the file has no name any more.
    fn is_removed(&self) -> bool {
        fstat(&self.file).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Passes the bytes up to `end`, or up to the end of the file, to `take`, and returns where
    /// they ended.
    fn read_up_to(
        &self,
        end: u64,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<u64> {
        let mut offset = 0;
        while offset < end {
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let want = left.min(buffer.len());
            let part = buffer.get_mut(..want).unwrap_or_default();
            let read = self.read_part(offset, part, &mut take)?;
            if read == 0 {
                break;
            }
            offset += read as u64;
        }
        Ok(offset)
    }

    /// Starts the hash again if the hashed bytes have changed.
    fn check_hashed(&self, progress: &mut HashProgress, buffer: &mut [u8]) -> io::Result<()> {
        let mut sum = checksum();
        let read = self.read_up_to(progress.hashed, buffer, |bytes| sum.update(bytes))?;
        if sum.digest128() != progress.sum.digest128() || read != progress.hashed {
            *progress = HashProgress::new();
            self.claimed.store(0, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Returns the digest of the whole file. The caller keeps writers away.
    pub(super) fn digest(&self, algorithm: Algorithm) -> io::Result<Digest> {
        self.update_length()?;
        let written = usize::try_from(self.written.load(Ordering::SeqCst));
        let mut buffer = vec![0; written.unwrap_or(STEP).clamp(1, STEP)];
        if algorithm == Algorithm::Sha256 {
            let mut progress = self.progress.lock();
            if self.was_shared() {
                self.check_hashed(&mut progress, &mut buffer)?;
            }
            while self.step(&mut progress, &mut buffer)? {}
            return Ok(progress.hasher.clone().finish());
        }
        let mut hasher = Hasher::new(algorithm);
        self.read_up_to(u64::MAX, &mut buffer, |bytes| hasher.update(bytes))?;
        Ok(hasher.finish())
    }

    /// Hashes until less than a step is left, nobody needs the hash any more, or the thread is
    /// `stopping`. Returns `true` if anything was hashed.
    fn catch_up(self: &Arc<Self>, buffer: &mut [u8], stopping: &AtomicBool) -> bool {
        let mut any = false;
        if self.update_length().is_err() {
            return any;
        }
        loop {
            let unwanted = Arc::strong_count(self) == 1 || self.is_removed();
            if unwanted || stopping.load(Ordering::Relaxed) {
                return any;
            }
            let mut progress = self.progress.lock();
            let left = self
                .written
                .load(Ordering::SeqCst)
                .saturating_sub(progress.hashed);
            if left < STEP as u64 {
                return any;
            }
            // A read that fails here fails again at publication, which reports it.
            if !matches!(self.step(&mut progress, buffer), Ok(true)) {
                return any;
            }
            any = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::thread::STOP_TIMEOUT;
    use super::*;

    /// Waits until a condition holds.
    fn wait(holds: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < until, "timed out");
            std::thread::yield_now();
        }
    }

    /// A named file without data: reading a long one would take minutes.
    fn sparse(len: u64) -> (tempfile::NamedTempFile, Arc<TrackedFile>) {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = named.reopen().unwrap();
        file.set_len(len).unwrap();
        (named, Arc::new(TrackedFile::new(file, len)))
    }

    #[test]
    fn closing_the_store_does_not_wait_for_a_file_to_be_hashed() {
        let thread = HasherThread::start().unwrap();
        let (_named, tracked) = sparse(1 << 40);
        let _shared = tracked.share(&thread.sender());
        wait(|| tracked.claimed.load(Ordering::SeqCst) > 0);
        let began = Instant::now();
        drop(thread);
        assert!(began.elapsed() < STOP_TIMEOUT, "{:?}", began.elapsed());
    }

    #[test]
    fn a_removed_file_is_not_hashed_any_more() {
        let thread = HasherThread::start().unwrap();
        let (named, tracked) = sparse(1 << 40);
        let shared = tracked.share(&thread.sender());
        wait(|| tracked.claimed.load(Ordering::SeqCst) > 0);
        named.close().unwrap();
        // The next file is hashed.
        let (_other, second) = sparse(8 * STEP as u64);
        let other = second.share(&thread.sender());
        wait(|| second.claimed.load(Ordering::SeqCst) == 8 * STEP as u64);
        drop((shared, other));
    }

    #[test]
    fn holes_are_hashed_as_zeros() {
        for shared in [false, true] {
            let (named, tracked) = sparse(5 << 20);
            let file = named.reopen().unwrap();
            file.write_all_at(b"in the middle", (2 << 20) + 5).unwrap();
            file.write_all_at(b"the end", 5 << 20).unwrap();
            tracked.cut((5 << 20) + 7);
            let thread = HasherThread::start().unwrap();
            let held = shared.then(|| tracked.share(&thread.sender()));
            drop(held);
            let whole = std::fs::read(named.path()).unwrap();
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let digest = tracked.digest(algorithm).unwrap();
                assert_eq!(digest, Digest::of(algorithm, &whole), "shared: {shared}");
            }
        }
    }

    #[test]
    fn a_file_that_is_shared_again_is_followed_again() {
        let thread = HasherThread::start().unwrap();
        let (_named, tracked) = sparse(0);
        for round in 1..=3 {
            let end = round * STEP as u64;
            let shared = tracked.share(&thread.sender());
            shared
                .file()
                .write_all_at(&vec![7; STEP], end - STEP as u64)
                .unwrap();
            wait(|| tracked.claimed.load(Ordering::SeqCst) == end);
            drop(shared);
            wait(|| !tracked.queued.load(Ordering::SeqCst));
        }
        let digest = tracked.digest(Algorithm::Sha256).unwrap();
        assert_eq!(digest, Digest::of(Algorithm::Sha256, &vec![7; 3 * STEP]));
    }
}
