//! The hasher's thread: it hashes all files that grow, one after the other.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::setpriority_process;

use super::{STEP, TrackedFile};

/// How long closing the store waits for the thread.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The nice value of the thread.
const NICE: i32 = 5;
/// The pause between looks at shared files, which grow without a message: the shortest, while they
/// grow, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A message to the thread.
pub(in crate::blobs) enum HasherMessage {
    /// This file has grown.
    Grown(Weak<TrackedFile>),
    /// The store is closed.
    Stop,
}

/// The thread that hashes files as they grow.
#[derive(Debug)]
pub(in crate::blobs) struct HasherThread {
    sender: Sender<HasherMessage>,
    /// Set when the store is being closed.
    stopping: Arc<AtomicBool>,
    /// Disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HasherThread {
    /// Starts the thread.
    pub(in crate::blobs) fn start() -> io::Result<Self> {
        let (sender, messages) = channel();
        let (ends, ended) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("hasher".into());
        let stop = Arc::clone(&stopping);
        let thread = thread.spawn(move || {
            run(&messages, &stop);
            drop(ends);
        })?;
        Ok(Self {
            sender,
            stopping,
            ended: Mutex::new(ended),
            thread: Some(thread),
        })
    }

    /// Returns where drafts announce growth.
    pub(in crate::blobs) fn sender(&self) -> Sender<HasherMessage> {
        self.sender.clone()
    }
}

fn run(messages: &Receiver<HasherMessage>, stopping: &AtomicBool) {
    // Writers come first: a publication hashes the rest by itself. On Linux this call changes the
    // calling thread alone.
    if let Err(error) = setpriority_process(None, NICE) {
        log::debug!("the hasher runs at normal priority: {error}");
    }
    let mut buffer = vec![0; STEP];
    // Shared files, which are looked at again after a pause.
    let mut shared: Vec<Weak<TrackedFile>> = Vec::new();
    let mut pause = PAUSE_MIN;
    loop {
        let message = if shared.is_empty() {
            messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            messages.recv_timeout(pause)
        };
        let mut any = false;
        match message {
            Ok(HasherMessage::Grown(file)) => {
                // A file that was just shared may grow fast.
                any = true;
                if hash(&file, &mut buffer, &mut any, stopping) {
                    shared.push(file);
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                shared.retain(|file| hash(file, &mut buffer, &mut any, stopping));
            }
            Ok(HasherMessage::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        pause = if any {
            PAUSE_MIN
        } else {
            (pause * 2).min(PAUSE_MAX)
        };
    }
}

/// Hashes the bytes by which a file has grown, and sets `any` if there were some. Returns `true` if
/// the file must be looked at again without a message.
fn hash(
    file: &Weak<TrackedFile>,
    buffer: &mut [u8],
    any: &mut bool,
    stopping: &AtomicBool,
) -> bool {
    file.upgrade().is_some_and(|file| {
        *any |= file.catch_up(buffer, stopping);
        file.is_shared()
    })
}

impl Drop for HasherThread {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // The thread may have ended already.
        let _ended = self.sender.send(HasherMessage::Stop);
        if let Err(RecvTimeoutError::Timeout) = self.ended.get_mut().recv_timeout(STOP_TIMEOUT) {
            log::warn!("the disk does not answer the hasher, whose thread is abandoned");
        } else if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
