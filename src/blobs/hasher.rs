//! The hasher: the sha256 of bytes that are still being written, computed behind the writer.
//!
//! One thread follows drafts that have grown by a megabyte or more, reading back what was
//! written (it is in the page cache). Whoever wants the digest takes over and hashes what is
//! left. A write or cut below what was hashed starts the hash anew. It publishes nothing.
//!
//! Holes are hashed and not read. A file that was removed is followed no more, nor is any once
//! the store is closed: that waits for the step at hand, and not for a disk that does not answer.
//!
//! A file can be lent to others who write it without telling. Then the thread looks now and
//! then how far they have come, and since they may have changed what was hashed already, a
//! checksum of that, much faster than the hash, is compared before the digest is given.

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

mod follower;

pub(super) use follower::{Follower, Message};

/// Bytes hashed under one hold of the lock, and how far a writer may run ahead unfollowed.
const STEP: usize = 1 << 20;

/// Zeros, hashed for a hole.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file's hash in the making.
#[derive(Debug)]
pub(super) struct Following {
    file: File,
    progress: Mutex<HashProgress>,
    /// Up to where bytes were read, or are being read: a write below this makes the hash stale.
    claimed: AtomicU64,
    /// Up to where the writer has come.
    written: AtomicU64,
    queued: AtomicBool,
    /// How many have the file, to whom it was lent.
    lent: Mutex<usize>,
    returned: Condvar,
    /// Whether anybody ever had it.
    outside: AtomicBool,
}

/// A file in the hands of others, until this is dropped.
#[derive(Debug)]
pub struct SharedFile(Arc<Following>);

impl SharedFile {
    /// The file.
    pub fn file(&self) -> &File {
        &self.0.file
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        *self.0.lent.lock() -= 1;
        self.0.returned.notify_all();
    }
}

struct HashProgress {
    hasher: Hasher,
    hashed: u64,
    /// The checksum of what was hashed, by a secret: nobody can change bytes so that it stays.
    sum: Xxh3,
}

impl std::fmt::Debug for HashProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashProgress")
            .field("hashed", &self.hashed)
            .finish_non_exhaustive()
    }
}

/// A checksum of nothing yet, by a secret of this process.
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

impl Following {
    /// Nothing of this file is hashed yet; it has `written` bytes.
    pub(super) fn new(file: File, written: u64) -> Self {
        Self {
            file,
            progress: Mutex::new(HashProgress::new()),
            claimed: AtomicU64::new(0),
            written: AtomicU64::new(written),
            queued: AtomicBool::new(false),
            lent: Mutex::new(0),
            returned: Condvar::new(),
            outside: AtomicBool::new(false),
        }
    }

    /// Lends the file, and has it followed.
    pub(super) fn share(self: &Arc<Self>, follower: &Sender<Message>) -> SharedFile {
        let mut lent = self.lent.lock();
        *lent += 1;
        self.outside.store(true, Ordering::SeqCst);
        if !self.queued.swap(true, Ordering::SeqCst) {
            // Without a follower the publication hashes everything by itself.
            let _gone = follower.send(Message::Follow(Arc::downgrade(self)));
        }
        SharedFile(Arc::clone(self))
    }

    /// Whether anybody was ever lent the file, and may have written it without telling.
    pub(super) fn was_lent(&self) -> bool {
        self.outside.load(Ordering::SeqCst)
    }

    /// Whether the thread must look again by itself: somebody has the file. If not, it is told
    /// when somebody has it again.
    fn stays(&self) -> bool {
        let lent = self.lent.lock();
        self.queued.store(*lent > 0, Ordering::SeqCst);
        *lent > 0
    }

    /// Waits until nobody has the file any more; whether it was so in time.
    pub(super) fn wait_for_return(&self, time: Duration) -> bool {
        let mut lent = self.lent.lock();
        let until = Instant::now() + time;
        while *lent > 0 {
            if self.returned.wait_until(&mut lent, until).timed_out() {
                break;
            }
        }
        *lent == 0
    }

    /// Looks how long the file is, if others may have written it.
    fn look(&self) -> io::Result<()> {
        if self.was_lent() {
            let len = self.file.metadata()?.len();
            if len < self.written.swap(len, Ordering::SeqCst) {
                self.changed(len);
            }
        }
        Ok(())
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Something was written from `offset` to `end`, or everything behind `offset` was cut off
    /// or filled up to `end`.
    fn changed(&self, offset: u64) {
        if offset < self.claimed.load(Ordering::SeqCst) {
            let mut progress = self.progress.lock();
            *progress = HashProgress::new();
            self.claimed.store(0, Ordering::SeqCst);
        }
    }

    /// Bytes were written, which end at `end`.
    pub(super) fn wrote(self: &Arc<Self>, offset: u64, end: u64, follower: &Sender<Message>) {
        self.changed(offset);
        let written = self.written.fetch_max(end, Ordering::SeqCst).max(end);
        let ahead = written.saturating_sub(self.claimed.load(Ordering::SeqCst));
        if ahead >= STEP as u64 && !self.queued.swap(true, Ordering::SeqCst) {
            // Without a follower the publication hashes everything by itself.
            let _gone = follower.send(Message::Follow(Arc::downgrade(self)));
        }
    }

    /// The file has `len` bytes now, more or fewer than before.
    pub(super) fn cut(&self, len: u64) {
        self.changed(len);
        self.written.store(len, Ordering::SeqCst);
    }

    /// Hashes at most one step; whether there may be more.
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
        let (summed, hashed) = (self.was_lent(), progress.hashed);
        let read = self.read_part(hashed, buffer, |bytes| {
            progress.hasher.update(bytes);
            if summed {
                progress.sum.update(bytes);
            }
        })?;
        progress.hashed += read as u64;
        Ok(read > 0)
    }

    /// Takes what is at an offset, as much as there is room for; how much that was. A hole is
    /// not read.
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

    /// How many of so many bytes at an offset are of a hole.
    fn hole(&self, offset: u64, want: usize) -> usize {
        // Of a file that has all its blocks nobody asks more.
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
            // Not every filesystem knows.
            Err(_) => return 0,
        };
        let hole = data.saturating_sub(offset);
        usize::try_from(hole).unwrap_or(usize::MAX).min(want)
    }

    /// Whether the file has lost its last name.
    fn is_removed(&self) -> bool {
        fstat(&self.file).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Reads from the beginning up to an end, or that of the file; how far.
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

    /// Begins anew if what was hashed is not what is there.
    fn check(&self, progress: &mut HashProgress, buffer: &mut [u8]) -> io::Result<()> {
        let mut sum = checksum();
        let read = self.read_up_to(progress.hashed, buffer, |bytes| sum.update(bytes))?;
        if sum.digest128() != progress.sum.digest128() || read != progress.hashed {
            *progress = HashProgress::new();
            self.claimed.store(0, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The digest of the whole file, which nobody may write meanwhile.
    pub(super) fn digest(&self, algorithm: Algorithm) -> io::Result<Digest> {
        self.look()?;
        let written = usize::try_from(self.written.load(Ordering::SeqCst));
        let mut buffer = vec![0; written.unwrap_or(STEP).clamp(1, STEP)];
        if algorithm == Algorithm::Sha256 {
            let mut progress = self.progress.lock();
            if self.was_lent() {
                self.check(&mut progress, &mut buffer)?;
            }
            while self.step(&mut progress, &mut buffer)? {}
            return Ok(progress.hasher.clone().finish());
        }
        let mut hasher = Hasher::new(algorithm);
        self.read_up_to(u64::MAX, &mut buffer, |bytes| hasher.update(bytes))?;
        Ok(hasher.finish())
    }

    /// Hashes until less than a step is left, or nobody wants it any more; whether it was
    /// anything.
    fn follow(self: &Arc<Self>, buffer: &mut [u8], over: &AtomicBool) -> bool {
        let mut any = false;
        if self.look().is_err() {
            return any;
        }
        loop {
            let unwanted = Arc::strong_count(self) == 1 || self.is_removed();
            if unwanted || over.load(Ordering::Relaxed) {
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
            // A read that fails here fails again, and is reported, at publication.
            if !matches!(self.step(&mut progress, buffer), Ok(true)) {
                return any;
            }
            any = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::follower::PATIENCE;
    use super::*;

    /// Waits until something holds.
    fn wait(holds: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < until, "it did not come to hold");
            std::thread::yield_now();
        }
    }

    /// A file with a name, and so long that reading its holes would take minutes.
    fn sparse(len: u64) -> (tempfile::NamedTempFile, Arc<Following>) {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = named.reopen().unwrap();
        file.set_len(len).unwrap();
        (named, Arc::new(Following::new(file, len)))
    }

    #[test]
    fn who_closes_the_store_does_not_wait_for_a_file_to_be_hashed() {
        let follower = Follower::start().unwrap();
        let (_named, following) = sparse(1 << 40);
        let _lent = following.share(&follower.sender());
        wait(|| following.claimed.load(Ordering::SeqCst) > 0);
        let began = Instant::now();
        drop(follower);
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }

    #[test]
    fn a_file_that_is_removed_is_followed_no_more() {
        let follower = Follower::start().unwrap();
        let (named, following) = sparse(1 << 40);
        let lent = following.share(&follower.sender());
        wait(|| following.claimed.load(Ordering::SeqCst) > 0);
        named.close().unwrap();
        // Whoever comes next has its turn.
        let (_other, second) = sparse(8 * STEP as u64);
        let other = second.share(&follower.sender());
        wait(|| second.claimed.load(Ordering::SeqCst) == 8 * STEP as u64);
        drop((lent, other));
    }

    #[test]
    fn holes_are_hashed_as_the_zeros_that_they_are() {
        for lent in [false, true] {
            let (named, following) = sparse(5 << 20);
            let file = named.reopen().unwrap();
            file.write_all_at(b"in the middle", (2 << 20) + 5).unwrap();
            file.write_all_at(b"the end", 5 << 20).unwrap();
            following.cut((5 << 20) + 7);
            let follower = Follower::start().unwrap();
            let held = lent.then(|| following.share(&follower.sender()));
            drop(held);
            let whole = std::fs::read(named.path()).unwrap();
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let digest = following.digest(algorithm).unwrap();
                assert_eq!(digest, Digest::of(algorithm, &whole), "lent: {lent}");
            }
        }
    }

    #[test]
    fn a_file_that_is_lent_again_is_followed_again() {
        let follower = Follower::start().unwrap();
        let (_named, following) = sparse(0);
        for round in 1..=3 {
            let end = round * STEP as u64;
            let lent = following.share(&follower.sender());
            lent.file()
                .write_all_at(&vec![7; STEP], end - STEP as u64)
                .unwrap();
            wait(|| following.claimed.load(Ordering::SeqCst) == end);
            drop(lent);
            wait(|| !following.queued.load(Ordering::SeqCst));
        }
        let digest = following.digest(Algorithm::Sha256).unwrap();
        assert_eq!(digest, Digest::of(Algorithm::Sha256, &vec![7; 3 * STEP]));
    }
}
