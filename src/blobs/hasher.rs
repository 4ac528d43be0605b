//! The hasher: the sha256 of bytes that are still being written, computed behind the writer.
//!
//! One thread follows drafts that have grown by a megabyte or more, reading back what was
//! written (it is in the page cache). Whoever wants the digest takes over and hashes what is
//! left. A write or cut below what was hashed starts the hash anew. It publishes nothing.
//!
//! A file can be lent to others who write it without telling. Then the thread looks now and
//! then how far they have come, and since they may have changed what was hashed already, a
//! checksum of that, much faster than the hash, is compared before the digest is given.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::process::setpriority_process;
use xxhash_rust::xxh3::Xxh3;

use crate::digest::{Algorithm, Digest, Hasher};

/// Bytes hashed under one hold of the lock, and how far a writer may run ahead unfollowed.
const STEP: usize = 1 << 20;

/// Behind whom the thread runs, as nice(2) has it.
const PRIORITY: i32 = 5;
/// How long files that others write are left alone: while they grow, and when they do not.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A file's hash in the making.
#[derive(Debug)]
pub(super) struct Following {
    file: File,
    progress: Mutex<Progress>,
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
pub struct Lent(Arc<Following>);

impl Lent {
    /// The file.
    pub fn file(&self) -> &File {
        &self.0.file
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.0.lent.lock() -= 1;
        self.0.returned.notify_all();
    }
}

struct Progress {
    hasher: Hasher,
    hashed: u64,
    /// The checksum of what was hashed, by a secret: nobody can change bytes so that it stays.
    sum: Xxh3,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress")
            .field("hashed", &self.hashed)
            .finish_non_exhaustive()
    }
}

/// A checksum of nothing yet, by a secret of this process.
fn checksum() -> Xxh3 {
    static SECRET: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    Xxh3::with_seed(*SECRET)
}

impl Progress {
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
            progress: Mutex::new(Progress::new()),
            claimed: AtomicU64::new(0),
            written: AtomicU64::new(written),
            queued: AtomicBool::new(false),
            lent: Mutex::new(0),
            returned: Condvar::new(),
            outside: AtomicBool::new(false),
        }
    }

    /// Lends the file, and has it followed.
    pub(super) fn lend(self: &Arc<Self>, follower: &Sender<Message>) -> Lent {
        let mut lent = self.lent.lock();
        *lent += 1;
        self.outside.store(true, Ordering::SeqCst);
        if !self.queued.swap(true, Ordering::SeqCst) {
            // Without a follower the publication hashes everything by itself.
            let _gone = follower.send(Message::Follow(Arc::downgrade(self)));
        }
        Lent(Arc::clone(self))
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
            *progress = Progress::new();
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
    fn step(&self, progress: &mut Progress, buffer: &mut [u8]) -> io::Result<bool> {
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
        let read = self.file.read_at(buffer, progress.hashed)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        progress.hasher.update(bytes);
        if self.was_lent() {
            progress.sum.update(bytes);
        }
        progress.hashed += read as u64;
        Ok(read > 0)
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
            let read = self.file.read_at(part, offset)?;
            if read == 0 {
                break;
            }
            take(part.get(..read).unwrap_or_default());
            offset += read as u64;
        }
        Ok(offset)
    }

    /// Begins anew if what was hashed is not what is there.
    fn check(&self, progress: &mut Progress, buffer: &mut [u8]) -> io::Result<()> {
        let mut sum = checksum();
        let read = self.read_up_to(progress.hashed, buffer, |bytes| sum.update(bytes))?;
        if sum.digest128() != progress.sum.digest128() || read != progress.hashed {
            *progress = Progress::new();
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

    /// Hashes until less than a step is left; whether it was anything.
    fn follow(&self, buffer: &mut [u8]) -> bool {
        let mut any = false;
        if self.look().is_err() {
            return any;
        }
        loop {
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

/// What the follower is told.
pub(super) enum Message {
    /// This file has grown.
    Follow(Weak<Following>),
    /// The store is closed.
    Stop,
}

/// The thread that hashes behind writers.
#[derive(Debug)]
pub(super) struct Follower {
    sender: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, messages) = channel();
        let thread = std::thread::Builder::new().name("hasher".into());
        let thread = Some(thread.spawn(move || run(&messages))?);
        Ok(Self { sender, thread })
    }

    /// Where to announce growth.
    pub(super) fn sender(&self) -> Sender<Message> {
        self.sender.clone()
    }
}

fn run(messages: &Receiver<Message>) {
    // Writers and their disk come first: who needs a hash at once computes what is left itself.
    // On Linux this is the thread that asks.
    if let Err(error) = setpriority_process(None, PRIORITY) {
        log::debug!("the hasher runs like others: {error}");
    }
    let mut buffer = vec![0; STEP];
    // Those that are written without our being told, and how long to leave them alone.
    let mut lent: Vec<Weak<Following>> = Vec::new();
    let mut pause = PAUSE_MIN;
    loop {
        let message = if lent.is_empty() {
            messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            messages.recv_timeout(pause)
        };
        let mut any = false;
        match message {
            Ok(Message::Follow(following)) => {
                // Somebody new may write much.
                any = true;
                if follow(&following, &mut buffer, &mut any) {
                    lent.push(following);
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                lent.retain(|following| follow(following, &mut buffer, &mut any));
            }
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        pause = if any {
            PAUSE_MIN
        } else {
            (pause * 2).min(PAUSE_MAX)
        };
    }
}

/// Hashes what a file has grown by, and notes if that was anything; whether to look again.
fn follow(following: &Weak<Following>, buffer: &mut [u8], any: &mut bool) -> bool {
    following.upgrade().is_some_and(|following| {
        *any |= following.follow(buffer);
        following.stays()
    })
}

impl Drop for Follower {
    fn drop(&mut self) {
        let stopped = self.sender.send(Message::Stop);
        if let (Ok(()), Some(thread)) = (stopped, self.thread.take()) {
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until something holds.
    fn wait(holds: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < until, "it did not come to hold");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_file_that_is_lent_again_is_followed_again() {
        let follower = Follower::start().unwrap();
        let following = Arc::new(Following::new(tempfile::tempfile().unwrap(), 0));
        for round in 1..=3 {
            let end = round * STEP as u64;
            let lent = following.lend(&follower.sender());
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
