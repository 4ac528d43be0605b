//! The device: requests are read from `/dev/fuse`, and replies written to it. If there are rings,
//! only requests without a reply come this way.
//!
//! A thread serves the request that it has read, so that no request passes from one thread to
//! another. Before a task that may block, it makes sure that another thread reads.

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
use crate::fuse::guard::guarded;
use crate::fuse::negotiation::WRITE_BYTES;
use crate::fuse::reply::{Reply, ReplySlot};
use crate::fuse::request::{FileOperation, Operation};
use crate::fuse::service::Service;
use crate::fuse::task::{BlockingTask, Executor, TaskKind};

/// Reading threads at the start.
const READERS: usize = 8;
/// The least number of reading threads, so that one reads while another is started.
const READERS_MIN: usize = 2;
/// The largest number of reading threads. Others end when their task is done.
const READERS_MAX: usize = 16;
/// The number of tasks of a kind that run at once. Further ones wait for these.
const TASKS_MAX: usize = 64;
/// Bytes of the largest request: a write, and the structures before its payload.
const REQUEST_BYTES: usize = WRITE_BYTES as usize + 4096;

/// The state that the threads share.
struct Device {
    service: Arc<Service>,
    connection: OwnedFd,
    threads: Mutex<DeviceThreads>,
    /// Notified when a thread ends.
    ended: Condvar,
    buffers: Mutex<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct DeviceThreads {
    /// The number of threads, of those that were started and do not run yet, and of those that
    /// read or are about to.
    alive: usize,
    starting: usize,
    reading: usize,
    reads: Lane,
    changes: Lane,
    failed: Option<io::Error>,
}

/// The tasks of a kind.
#[derive(Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<BlockingTask>,
}

impl DeviceThreads {
    fn lane(&mut self, kind: TaskKind) -> &mut Lane {
        match kind {
            TaskKind::Read => &mut self.reads,
            TaskKind::Change => &mut self.changes,
        }
    }
}

/// Serves a connection until the mount ends.
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
    /// Starts a reading thread, and does not wait until it runs: that may take a while.
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

    /// The main function of a thread: reads and serves requests.
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
            log::error!("a thread stopped reading requests: {error}");
            threads.reading -= 1;
            threads.failed.get_or_insert(error);
        }
        self.ended.notify_all();
    }

    /// Returns a descriptor for this thread alone, or a copy of the shared one.
    fn channel(&self) -> io::Result<OwnedFd> {
        connection::reopen(&self.connection).or_else(|error| {
            log::debug!("a thread shares its descriptor of /dev/fuse: {error}");
            self.connection.try_clone()
        })
    }

    /// Reads requests until the mount ends, or enough other threads read.
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
            // A panic drops the slot, which replies EIO.
            let _told = guarded(|| {
                dispatch::serve(&self.service, &mut DeviceThread(self), request, slot);
                Ok(())
            });
        }
        Ok(())
    }

    /// Returns `true` if this thread is to end, since enough others read.
    fn is_spare(&self) -> bool {
        let mut threads = self.threads.lock();
        let spare = threads.reading > READERS_MAX;
        threads.reading -= usize::from(spare);
        spare
    }

    /// Returns a buffer for a request, or for a reply to a read.
    fn buffer(&self) -> Vec<u8> {
        let unused = self.buffers.lock().pop();
        unused.unwrap_or_else(|| vec![0; REQUEST_BYTES])
    }

    fn return_buffer(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.lock();
        if buffers.len() < READERS {
            buffers.push(buffer);
        }
    }

    /// Returns the task if this thread may run it now, since others read. Otherwise the task waits
    /// until another one of its kind is done.
    fn stop_reading(self: &Arc<Self>, kind: TaskKind, task: BlockingTask) -> Option<BlockingTask> {
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
            return self.stop_reading_unreplaced(kind, task, &error);
        }
        Some(task)
    }

    /// Does the same when no thread can be started.
    fn stop_reading_unreplaced(
        &self,
        kind: TaskKind,
        task: BlockingTask,
        error: &io::Error,
    ) -> Option<BlockingTask> {
        log::error!("no new thread for a request that may block: {error}");
        let mut threads = self.threads.lock();
        // If no other thread could take the task later, it runs here, even if then nobody reads.
        if threads.reading + threads.starting > 0 || threads.lane(kind).running == 1 {
            return Some(task);
        }
        threads.reading += 1;
        let lane = threads.lane(kind);
        lane.running -= 1;
        lane.waiting.push_back(task);
        None
    }

    /// Returns the next task of a kind. Without one this thread reads again.
    fn next(&self, kind: TaskKind) -> Option<BlockingTask> {
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

/// A thread that serves the request that it has read.
struct DeviceThread<'a>(&'a Arc<Device>);

impl Executor for DeviceThread<'_> {
    fn run(&mut self, kind: TaskKind, task: BlockingTask) {
        let mut next = self.0.stop_reading(kind, task);
        while let Some(task) = next {
            // A panic drops the slot, which replies EIO.
            let _told = guarded(|| {
                task();
                Ok(())
            });
            next = self.0.next(kind);
        }
    }
}

/// Reads one request. Returns its length, or `None` if the mount has ended.
fn receive(channel: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    use rustix::io::Errno;
    loop {
        match rustix::io::read(channel, &mut *buffer) {
            Ok(len) => return Ok(Some(len)),
            // The request was interrupted before it was read.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
            // Unmounted, or aborted by the administrator.
            Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The slot for the reply to a request.
struct DeviceSlot {
    device: Arc<Device>,
    channel: Arc<OwnedFd>,
    unique: u64,
    /// The request if it is a write, else room for the reply.
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
            // The request was interrupted, or the mount has ended.
            log::debug!("a reply was not taken: {error}");
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
            self.device.return_buffer(buffer);
        }
    }
}
