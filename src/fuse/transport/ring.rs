//! Rings: requests by `io_uring` (Linux 6.14 and later, where `fuse.enable_uring` is Y), beside
//! /dev/fuse, by which forgets go on to come.
//!
//! Each processor has a ring and a thread of ours that runs on it, so that a request goes to
//! the daemon and back without waking another processor: a quarter of the time. What may wait
//! is done by the ring's workers.
//!
//! The kernel sends nothing until every ring is registered, and goes back to /dev/fuse if one
//! cannot be.

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
use crate::fuse::reply::{Reply, ReplySlot};
use crate::fuse::service::{Service, guarded};
use crate::fuse::task::{Executor, Task, TaskKind};
use crate::fuse::workers::Workers;

/// Requests that may be under way on one processor. The kernel does not send a lookup while so
/// many others wait there for a disk, and it cannot be told to send more later: new entries get
/// none of the requests that it holds back. Each takes as much memory as the largest answer that
/// it ever gave; the kernel uses the same few again and again.
const ENTRIES: usize = 256;
/// Threads of a ring that read, and threads that change something or flush, at most.
const WORKERS: usize = 32;
/// Before whom the threads of rings run, as nice(2) has it.
const PRIORITY: i32 = -10;
/// Says which processors there may ever be: each must have a ring.
const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
/// Says whether the kernel offers this.
const ENABLED: &str = "/sys/module/fuse/parameters/enable_uring";

/// What the threads of rings are to serve, once there is a mount.
type RingStart = (Arc<OwnedFd>, Arc<Service>);

/// The rings of a mount.
#[derive(Debug)]
pub(in crate::fuse) struct Rings {
    threads: Vec<(Sender<RingStart>, JoinHandle<()>)>,
}

impl Rings {
    /// Makes a ring for every processor; why not, if there can be none.
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

    /// Serves a connection; when this returns, requests come by the rings or will.
    pub(in crate::fuse) fn start(&self, device: OwnedFd, service: &Arc<Service>) {
        let device = Arc::new(device);
        for (start, _) in &self.threads {
            // A thread that is gone has said why; the kernel then does without rings.
            let _gone = start.send((Arc::clone(&device), Arc::clone(service)));
        }
    }

    /// Waits until the mount has ended, for those that were started.
    pub(in crate::fuse) fn join(self) {
        for (start, thread) in self.threads {
            drop(start);
            // One that panicked has said so.
            let _ended = thread.join();
        }
    }
}

/// The numbers of all processors that there may ever be: from 0 on.
fn processors() -> io::Result<std::ops::Range<u16>> {
    let text = std::fs::read_to_string(POSSIBLE)?;
    let last = text.trim().rsplit(['-', ',']).next();
    let last = last.and_then(|last| last.parse::<u16>().ok());
    let last = last.ok_or_else(|| io::Error::other(format!("{POSSIBLE}: {text:?}")))?;
    Ok(0..last + 1)
}

/// Where answers wait for the thread of the ring, which alone may submit them.
struct Mailbox {
    answers: Mutex<Vec<(usize, EncodedReply)>>,
    asleep: AtomicBool,
    wake: OwnedFd,
}

impl Mailbox {
    fn put(&self, entry: usize, reply: EncodedReply) {
        self.answers.lock().push((entry, reply));
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It cannot fail: the count is far from its end.
            let _woken = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Takes the answers, for which `taken` is the place, so that none is made for each.
    fn take(&self, taken: &mut Vec<(usize, EncodedReply)>) {
        std::mem::swap(&mut *self.answers.lock(), taken);
    }

    /// Whether the thread may sleep: there is nothing for it.
    fn sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.answers.lock().is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::SeqCst);
        false
    }
}

/// The place for an answer. One that is given up, by a panic, answers that.
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
    fn run(&mut self, kind: TaskKind, task: Task) {
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
        // One that is not there now; its ring must be there all the same.
        log::debug!("ring {number} runs anywhere: {error}");
    }
    // Whoever waits for us may hold a directory that others wait for.
    // On Linux the priority is of the thread that asks.
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
        answers: Mutex::default(),
        asleep: AtomicBool::new(false),
        wake,
    });
    if let Err(error) = serve(&mut queue, &device, &service, &mailbox) {
        // Whoever asks on this processor would wait for ever. What was acknowledged is durable,
        // as after kill -9.
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
    let (mut answers, mut entries) = (Vec::new(), Vec::new());
    while !queue.is_over() {
        mailbox.take(&mut answers);
        for (entry, reply) in answers.drain(..) {
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
            // A panic drops the slot, which tells the kernel.
            let _told = guarded(|| {
                dispatch::serve(service, &mut workers, request, slot);
                Ok(())
            });
        }
    }
    Ok(())
}
