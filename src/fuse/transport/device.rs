//! The device: requests read from /dev/fuse, and answers written to it. Where there are rings,
//! only what the kernel wants no answer to comes this way.
//!
//! A thread does what it has read by itself, so that no request goes from one thread to another.
//! Before it does what may wait, it sees to it that another one reads.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use fuser::Errno;
use parking_lot::{Condvar, Mutex};

use super::decode::{self, RequestFrame};
use super::encode::{EncodedBody, EncodedReply};
use crate::fuse::connection;
use crate::fuse::dispatch;
use crate::fuse::negotiation::WRITE_BYTES;
use crate::fuse::reply::{Reply, ReplySlot};
use crate::fuse::request::{FileOperation, Operation};
use crate::fuse::service::{Service, guarded};
use crate::fuse::task::{Executor, Task, TaskKind};

/// Threads that read at first.
const READERS: usize = 8;
/// Threads that read at least, so that one does while another one is started.
const READERS_MIN: usize = 2;
/// Threads that read at most; others end when they have nothing to do.
const READERS_MAX: usize = 16;
/// Tasks of a kind that are done at once; others of the kind come after them.
const TASKS_MAX: usize = 64;
/// Bytes of the largest request: what is written, and what comes before it.
const REQUEST_BYTES: usize = WRITE_BYTES as usize + 4096;

/// What the threads share.
struct Device {
    service: Arc<Service>,
    connection: OwnedFd,
    threads: Mutex<DeviceThreads>,
    /// Wakes who waits for the end.
    ended: Condvar,
    buffers: Mutex<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct DeviceThreads {
    /// How many there are, how many of them were not seen yet, and how many read or are about to.
    alive: usize,
    starting: usize,
    reading: usize,
    reads: Lane,
    changes: Lane,
    failed: Option<io::Error>,
}

/// Tasks of a kind.
#[derive(Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<Task>,
}

impl DeviceThreads {
    fn lane(&mut self, kind: TaskKind) -> &mut Lane {
        match kind {
            TaskKind::Read => &mut self.reads,
            TaskKind::Change => &mut self.changes,
        }
    }
}

/// Serves a connection until it ends.
pub(in crate::fuse) fn serve(connection: OwnedFd, service: &Arc<Service>) -> io::Result<()> {
    let device = Arc::new(Device {
        service: Arc::clone(service),
        connection,
        threads: Mutex::default(),
        ended: Condvar::new(),
        buffers: Mutex::default(),
    });
    for started in 0..READERS {
        if let Err(error) = device.start() {
            if started == 0 {
                return Err(error);
            }
            log::warn!("only {started} threads read requests: {error}");
            break;
        }
    }
    let mut threads = device.threads.lock();
    while threads.alive > 0 {
        device.ended.wait(&mut threads);
    }
    threads.failed.take().map_or(Ok(()), Err)
}

impl Device {
    /// Starts a thread that reads. Nobody waits for it: that may take a while.
    fn start(self: &Arc<Self>) -> io::Result<()> {
        let mut threads = self.threads.lock();
        threads.alive += 1;
        threads.starting += 1;
        drop(threads);
        let device = Arc::clone(self);
        let thread = std::thread::Builder::new().name("device".into());
        let started = thread.spawn(move || device.read());
        started.map(drop).inspect_err(|_| {
            let mut threads = self.threads.lock();
            threads.alive -= 1;
            threads.starting -= 1;
        })
    }

    /// A thread: reads requests and does what they ask for.
    fn read(self: Arc<Self>) {
        let mut threads = self.threads.lock();
        threads.starting -= 1;
        threads.reading += 1;
        drop(threads);
        let channel = self.channel().map(Arc::new);
        let read = channel.and_then(|channel| self.read_from(&channel));
        let mut threads = self.threads.lock();
        threads.alive -= 1;
        if let Err(error) = read {
            log::error!("a thread reads no more requests: {error}");
            threads.reading -= 1;
            threads.failed.get_or_insert(error);
        }
        self.ended.notify_all();
    }

    /// A descriptor of the thread's own, or the one that all have.
    fn channel(&self) -> io::Result<OwnedFd> {
        connection::reopen(&self.connection).or_else(|error| {
            log::debug!("a thread shares its descriptor of /dev/fuse: {error}");
            self.connection.try_clone()
        })
    }

    /// Reads until the mount ends, or there are enough others that do.
    fn read_from(self: &Arc<Self>, channel: &Arc<OwnedFd>) -> io::Result<()> {
        let mut buffer = self.buffer();
        while !self.is_spare()
            && let Some(len) = receive(channel, &mut buffer)?
        {
            let frame = RequestFrame::split(buffer.get(..len).unwrap_or_default());
            if let Some(forgotten) = frame.forgotten() {
                for (ino, count) in forgotten {
                    self.service.inodes.forget(ino, count);
                }
                continue;
            }
            let (request, payload) = (decode::request(&frame), frame.payload_range());
            let mut slot = DeviceSlot {
                device: Arc::clone(self),
                channel: Arc::clone(channel),
                unique: frame.unique(),
                buffer: None,
                payload,
                answered: false,
            };
            if matches!(
                request.operation,
                Operation::File(_, FileOperation::Write { .. })
            ) {
                slot.buffer = Some(std::mem::replace(&mut buffer, self.buffer()));
            }
            // A panic drops the slot, which tells the kernel.
            let _told = guarded(|| {
                dispatch::serve(&self.service, &mut DeviceThread(self), request, slot);
                Ok(())
            });
        }
        Ok(())
    }

    /// Whether so many others read that this thread, which is about to, is to end.
    fn is_spare(&self) -> bool {
        let mut threads = self.threads.lock();
        let spare = threads.reading > READERS_MAX;
        threads.reading -= usize::from(spare);
        spare
    }

    /// Room for a request, or for what is read.
    fn buffer(&self) -> Vec<u8> {
        let kept = self.buffers.lock().pop();
        kept.unwrap_or_else(|| vec![0; REQUEST_BYTES])
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.lock();
        if buffers.len() < READERS {
            buffers.push(buffer);
        }
    }

    /// Whether this thread may do a task of a kind now, since others read. If not, the task
    /// waits for one of its kind that is done.
    fn leave(self: &Arc<Self>, kind: TaskKind, task: Task) -> Option<Task> {
        let mut threads = self.threads.lock();
        if threads.lane(kind).running >= TASKS_MAX {
            threads.lane(kind).waiting.push_back(task);
            return None;
        }
        threads.reading -= 1;
        threads.lane(kind).running += 1;
        let enough = threads.reading + threads.starting >= READERS_MIN;
        drop(threads);
        if !enough && let Err(error) = self.start() {
            return self.stay(kind, task, &error);
        }
        Some(task)
    }

    /// The same where no thread can be started.
    fn stay(&self, kind: TaskKind, task: Task, error: &io::Error) -> Option<Task> {
        log::error!("no thread for a request that may wait: {error}");
        let mut threads = self.threads.lock();
        // Better slow than never.
        if threads.reading + threads.starting > 0 || threads.lane(kind).running == 1 {
            return Some(task);
        }
        threads.reading += 1;
        let lane = threads.lane(kind);
        lane.running -= 1;
        lane.waiting.push_back(task);
        None
    }

    /// The next task of a kind; without one this thread reads again.
    fn next(&self, kind: TaskKind) -> Option<Task> {
        let mut threads = self.threads.lock();
        let lane = threads.lane(kind);
        let task = lane.waiting.pop_front();
        if task.is_none() {
            lane.running -= 1;
            threads.reading += 1;
        }
        task
    }
}

/// A thread that has read a request.
struct DeviceThread<'a>(&'a Arc<Device>);

impl Executor for DeviceThread<'_> {
    fn run(&mut self, kind: TaskKind, task: Task) {
        let mut next = self.0.leave(kind, task);
        while let Some(task) = next {
            // A panic drops the answer, which tells the kernel.
            let _told = guarded(|| {
                task();
                Ok(())
            });
            next = self.0.next(kind);
        }
    }
}

/// Reads one request; its length, or nothing if the mount has ended.
fn receive(channel: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    use rustix::io::Errno;
    loop {
        match rustix::io::read(channel, &mut *buffer) {
            Ok(len) => return Ok(Some(len)),
            // Who asked went away before it was read.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
            // Unmounted, or aborted by the administrator.
            Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The place for an answer.
struct DeviceSlot {
    device: Arc<Device>,
    channel: Arc<OwnedFd>,
    unique: u64,
    /// What was read, if it is a write; else where the answer's bytes are put.
    buffer: Option<Vec<u8>>,
    payload: Range<usize>,
    answered: bool,
}

impl DeviceSlot {
    fn send(&mut self, reply: &EncodedReply) {
        self.answered = true;
        let header = reply.header(self.unique);
        let body = match &reply.body {
            EncodedBody::Bytes(bytes) => bytes.get(..).unwrap_or_default(),
            EncodedBody::InPlace(len) => {
                let buffer = self.buffer.as_deref().unwrap_or_default();
                buffer.get(..*len).unwrap_or_default()
            }
        };
        let parts = [IoSlice::new(&header), IoSlice::new(body)];
        if let Err(error) = rustix::io::writev(&*self.channel, &parts) {
            // Who asked went away, or the mount has.
            log::debug!("nobody takes an answer: {error}");
        }
    }
}

impl ReplySlot for DeviceSlot {
    fn payload(&self) -> &[u8] {
        let buffer = self.buffer.as_deref().unwrap_or_default();
        buffer.get(self.payload.clone()).unwrap_or_default()
    }

    fn buffer(&mut self, len: usize) -> &mut [u8] {
        let buffer = self.buffer.get_or_insert_with(|| self.device.buffer());
        let len = len.min(buffer.len());
        buffer.get_mut(..len).unwrap_or_default()
    }

    fn reply(mut self, reply: Reply) {
        self.send(&reply.into());
    }
}

impl Drop for DeviceSlot {
    fn drop(&mut self) {
        if !self.answered {
            self.send(&Errno::EIO.into());
        }
        if let Some(buffer) = self.buffer.take() {
            self.device.give_back(buffer);
        }
    }
}
