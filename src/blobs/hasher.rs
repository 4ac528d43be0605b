//! The hasher: the sha256 of bytes that are still being written, computed behind the writer.
//!
//! One thread follows drafts that have grown by a megabyte or more, reading back what was
//! written (it is in the page cache). Whoever wants the digest takes over and hashes what is
//! left. A write or cut below what was hashed starts the hash anew. It publishes nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::digest::{Algorithm, Digest, Hasher};

/// Bytes hashed under one hold of the lock, and how far a writer may run ahead unfollowed.
const STEP: usize = 1 << 20;

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
}

#[derive(Debug)]
struct Progress {
    hasher: Hasher,
    hashed: u64,
}

impl Progress {
    fn new() -> Self {
        Self {
            hasher: Hasher::new(Algorithm::Sha256),
            hashed: 0,
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
        }
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
        progress
            .hasher
            .update(buffer.get(..read).unwrap_or_default());
        progress.hashed += read as u64;
        Ok(read > 0)
    }

    /// The digest of the whole file, which nobody may write meanwhile.
    pub(super) fn digest(&self, algorithm: Algorithm) -> io::Result<Digest> {
        let mut buffer = vec![0; STEP];
        if algorithm == Algorithm::Sha256 {
            let mut progress = self.progress.lock();
            while self.step(&mut progress, &mut buffer)? {}
            return Ok(progress.hasher.clone().finish());
        }
        let mut hasher = Hasher::new(algorithm);
        let mut offset = 0;
        loop {
            let read = self.file.read_at(&mut buffer, offset)?;
            hasher.update(buffer.get(..read).unwrap_or_default());
            offset += read as u64;
            if read == 0 {
                return Ok(hasher.finish());
            }
        }
    }

    /// Hashes until less than a step is left.
    fn follow(&self, buffer: &mut [u8]) {
        loop {
            let mut progress = self.progress.lock();
            let left = self
                .written
                .load(Ordering::SeqCst)
                .saturating_sub(progress.hashed);
            if left < STEP as u64 {
                self.queued.store(false, Ordering::SeqCst);
                return;
            }
            // A read that fails here fails again, and is reported, at publication.
            if !matches!(self.step(&mut progress, buffer), Ok(true)) {
                return;
            }
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
    let mut buffer = vec![0; STEP];
    while let Ok(Message::Follow(following)) = messages.recv() {
        if let Some(following) = following.upgrade() {
            following.follow(&mut buffer);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let stopped = self.sender.send(Message::Stop);
        if let (Ok(()), Some(thread)) = (stopped, self.thread.take()) {
            let _ended = thread.join();
        }
    }
}
