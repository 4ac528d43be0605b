//! Rings: requests by `io_uring` (Linux 6.14 and later, if `fuse.enable_uring` is Y), beside
//! `/dev/fuse`, by which forgets still come.
//!
//! Each processor has a ring and a thread that runs on it, so that a request reaches the daemon
//! and returns without waking another processor, which takes a quarter of the time. Tasks that may
//! block run on the ring's workers.
//!
//! The kernel uses no ring until all are registered, and stays with `/dev/fuse` if one cannot be.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use fuser::Errno;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::decode;
use super::encode::EncodedReply;
use super::queue::{RingPayload, RingQueue};
use crate::fuse::dispatch;
use crate::fuse::guard::guarded;
use crate::fuse::reply::{Reply, ReplySlot};
use crate::fuse::service::Service;
use crate::fuse::task::{BlockingTask, Executor, TaskKind};
use crate::fuse::workers::Workers;

/// The number of requests under way on one processor. While so many wait for a disk the kernel
/// sends no others, not even lookups. The number cannot grow later: new entries get none of the
/// requests that the kernel holds back. Each entry takes as much memory as the largest reply that
/// it ever had; the kernel uses the same few entries again and again.
const ENTRIES: usize = 256;
/// The limit of a ring's workers that read, and of those that change something or flush.
const WORKERS: usize = 32;
/// The priority of ring threads, as a nice(2) value.
const PRIORITY: i32 = -10;
/// Lists the processors that may ever be online: each must have a ring.
const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
/// Tells whether the kernel offers FUSE over `io_uring`.
const ENABLED: &str = "/sys/module/fuse/parameters/enable_uring";

/// What a ring thread serves, once there is a mount.
type RingStart = (Arc<OwnedFd>, Arc<Service>);

/// The rings of a mount.
#[derive(Debug)]
pub(in crate::fuse) struct Rings {
    threads: Vec<(Sender<RingStart>, JoinHandle<()>)>,
}

impl Rings {
    /// Makes a ring for every processor.
    ///
    /// # Errors
    /// `Unsupported` if the kernel does not offer this, or why a ring cannot be made.
    pub(in crate::fuse) fn prepare() -> io::Result<Self> {
        let enabled = std::fs::read_to_string(ENABLED).unwrap_or_default();
        if enabled.trim() != "Y" {
            let why = format!("{ENABLED} is not Y");
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let (made, results) = channel();
        let mut threads = Vec::new();
        for number in processors()? {
            let (start, started) = channel();
            let made = made.clone();
            let thread = std::thread::Builder::new().name(format!("ring-{number}"));
            let thread = thread.spawn(move || run(number, &made, &started))?;
            threads.push((start, thread));
        }
        drop(made);
        for result in results.iter().take(threads.len()) {
            result?;
        }
        Ok(Self { threads })
    }

    /// Serves a connection. Requests may come by the rings from now on.
    pub(in crate::fuse) fn start(&self, device: OwnedFd, service: &Arc<Service>) {
        let device = Arc::new(device);
        for (start, _) in &self.threads {
            // A thread that has ended has logged why; the kernel then uses no rings.
            let _gone = start.send((Arc::clone(&device), Arc::clone(service)));
        }
    }

    /// Waits until the ring threads have ended, which they do with the mount.
    pub(in crate::fuse) fn join(self) {
        for (start, thread) in self.threads {
            drop(start);
            // A panic was logged already.
            let _ended = thread.join();
        }
    }
}

/// Returns the numbers of all processors that may ever be online, which begin with 0.
fn processors() -> io::Result<std::ops::Range<u16>> {
    let text = std::fs::read_to_string(POSSIBLE)?;
    let last = text.trim().rsplit(['-', ',']).next();
    let last = last.and_then(|last| last.parse::<u16>().ok());
    let last = last.ok_or_else(|| io::Error::other(format!("{POSSIBLE}: {text:?}")))?;
    Ok(0..last + 1)
}

/// The replies that wait for the ring's thread, which alone may submit them.
struct Mailbox {
    replies: Mutex<Vec<(usize, EncodedReply)>>,
    asleep: AtomicBool,
    wake: OwnedFd,
}

impl Mailbox {
    fn put(&self, entry: usize, reply: EncodedReply) {
        self.replies.lock().push((entry, reply));
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It cannot fail: the counter is far from its maximum.
            let _woken = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Swaps the replies with the empty `taken`, whose memory is used again.
    fn take(&self, taken: &mut Vec<(usize, EncodedReply)>) {
        std::mem::swap(&mut *self.replies.lock(), taken);
    }

    /// Returns `true` if the thread may sleep, since there are no replies.
    fn sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.replies.lock().is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::SeqCst);
        false
    }
}

/// The slot for the reply to a request.
struct RingSlot {
    mailbox: Arc<Mailbox>,
    payload: RingPayload,
    answered: bool,
}

impl ReplySlot for RingSlot {
    fn payload(&self) -> &[u8] {
        self.payload.bytes()
    }

    fn buffer(&mut self, len: usize) -> &mut [u8] {
        self.payload.buffer(len)
    }

    fn reply(mut self, reply: Reply) {
        self.answered = true;
        self.mailbox.put(self.payload.entry(), reply.into());
    }
}

impl Drop for RingSlot {
    fn drop(&mut self) {
        if !self.answered {
            self.mailbox.put(self.payload.entry(), Errno::EIO.into());
        }
    }
}

/// The workers of a ring.
struct RingWorkers {
    reads: Workers,
    changes: Workers,
}

impl Executor for RingWorkers {
    fn run(&mut self, kind: TaskKind, task: BlockingTask) {
        match kind {
            TaskKind::Read => self.reads.run(task),
            TaskKind::Change => self.changes.run(task),
        }
    }
}

/// The thread of a ring.
fn run(number: u16, made: &Sender<io::Result<()>>, started: &Receiver<RingStart>) {
    let mut processor = CpuSet::new();
    processor.set(usize::from(number));
    if let Err(error) = sched_setaffinity(None, &processor) {
        // The processor is offline. Its ring must exist all the same.
        log::debug!("ring {number} runs anywhere: {error}");
    }
    // A process that waits for a reply may hold the lock of a directory that others wait for.
    // On Linux this sets the priority of the calling thread only.
    if let Err(error) = setpriority_process(None, PRIORITY) {
        log::debug!("ring {number} has no priority: {error}");
    }
    let prepared = || {
        let wake = eventfd(0, EventfdFlags::CLOEXEC)?;
        let queue = RingQueue::new(number, ENTRIES, wake.try_clone()?)?;
        Ok((queue, wake))
    };
    let (mut queue, wake) = match prepared() {
        Ok(prepared) => prepared,
        Err(error) => {
            let _gone = made.send(Err(error));
            return;
        }
    };
    let _gone = made.send(Ok(()));
    let Ok((device, service)) = started.recv() else {
        return;
    };
    let mailbox = Arc::new(Mailbox {
        replies: Mutex::default(),
        asleep: AtomicBool::new(false),
        wake,
    });
    if let Err(error) = serve(&mut queue, &device, &service, &mailbox) {
        // Requests on this processor would never be answered. Acknowledged changes are durable, as
        // after kill -9.
        log::error!("ring {number} failed, and the mount ends with it: {error}");
        std::process::exit(1);
    }
}

fn serve(
    queue: &mut RingQueue,
    device: &OwnedFd,
    service: &Arc<Service>,
    mailbox: &Arc<Mailbox>,
) -> io::Result<()> {
    queue.register(device)?;
    let mut workers = RingWorkers {
        reads: Workers::new("ring-reads", WORKERS),
        changes: Workers::new("ring-changes", WORKERS),
    };
    let (mut replies, mut entries) = (Vec::new(), Vec::new());
    while !queue.is_over() {
        mailbox.take(&mut replies);
        for (entry, reply) in replies.drain(..) {
            queue.answer(device, entry, &reply)?;
        }
        if !mailbox.sleep() {
            continue;
        }
        queue.wait(&mut entries)?;
        mailbox.asleep.store(false, Ordering::SeqCst);
        for entry in entries.drain(..) {
            let (raw, payload) = queue.request(entry);
            let request = decode::request(&raw.frame(payload.bytes()));
            let slot = RingSlot {
                mailbox: Arc::clone(mailbox),
                payload,
                answered: false,
            };
            // A panic drops the slot, which replies EIO.
            let _told = guarded(|| {
                dispatch::serve(service, &mut workers, request, slot);
                Ok(())
            });
        }
    }
    Ok(())
}
