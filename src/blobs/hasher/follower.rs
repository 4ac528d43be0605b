//! The follower: one thread that hashes behind all writers.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::setpriority_process;

use super::{Following, STEP};

/// How long whoever closes the store waits for the thread.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Behind whom the thread runs, as nice(2) has it.
const PRIORITY: i32 = 5;
/// How long files that others write are left alone: while they grow, and when they do not.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// What the follower is told.
pub(in crate::blobs) enum Message {
    /// This file has grown.
    Follow(Weak<Following>),
    /// The store is closed.
    Stop,
}

/// The thread that hashes behind writers.
#[derive(Debug)]
pub(in crate::blobs) struct Follower {
    sender: Sender<Message>,
    /// Whether the store is being closed.
    over: Arc<AtomicBool>,
    /// Closed when the thread has ended.
    ended: Mutex<Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts the thread.
    pub(in crate::blobs) fn start() -> io::Result<Self> {
        let (sender, messages) = channel();
        let (ends, ended) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("hasher".into());
        let closing = Arc::clone(&over);
        let thread = thread.spawn(move || {
            run(&messages, &closing);
            drop(ends);
        })?;
        Ok(Self {
            sender,
            over,
            ended: Mutex::new(ended),
            thread: Some(thread),
        })
    }

    /// Where to announce growth.
    pub(in crate::blobs) fn sender(&self) -> Sender<Message> {
        self.sender.clone()
    }
}

fn run(messages: &Receiver<Message>, over: &AtomicBool) {
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
                if follow(&following, &mut buffer, &mut any, over) {
                    lent.push(following);
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                lent.retain(|following| follow(following, &mut buffer, &mut any, over));
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
fn follow(
    following: &Weak<Following>,
    buffer: &mut [u8],
    any: &mut bool,
    over: &AtomicBool,
) -> bool {
    following.upgrade().is_some_and(|following| {
        *any |= following.follow(buffer, over);
        following.stays()
    })
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // One that has ended already needs no telling.
        let _ended = self.sender.send(Message::Stop);
        if let Err(RecvTimeoutError::Timeout) = self.ended.get_mut().recv_timeout(PATIENCE) {
            log::warn!("a disk does not answer whoever hashes: it is left to itself");
        } else if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
