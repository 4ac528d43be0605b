//! A queue: one processor's `io_uring`, and the memory that requests and replies pass through
//! (`fuse_uring_cmd_req` and `fuse_uring_req_header` of Linux 6.14's
//! `include/uapi/linux/fuse.h`).
//!
//! It knows entries and bytes, not their meaning. All unsafe code for rings is here: the kernel
//! writes to an entry from its registration or last reply until it reports a request in it, and
//! not from then until the reply is submitted.
#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::decode::RequestFrame;
use super::encode::{EncodedBody, EncodedReply};
use crate::fuse::negotiation::WRITE_BYTES;

/// Bytes of a request's header, and of a reply's.
const HEADER: usize = 128;
/// The largest payload, in bytes: that of the largest write.
const PAYLOAD: usize = WRITE_BYTES as usize;
/// Bytes from one entry to the next.
const STRIDE: usize = PAGE + PAYLOAD;
const PAGE: usize = 4096;
/// Entries whose memory is not freed after a large payload. The kernel uses the entry that was
/// answered last, so that further ones come into use only with that many requests under way.
const RETAINED: usize = 16;
/// The largest payload, in bytes, after which the memory of the other entries is not freed either.
const CLEARED: u32 = 1 << 16;
/// The user data of the wake-up's completion, to tell it from those of entries.
const WOKEN: u64 = u64::MAX;
/// `FUSE_IO_URING_CMD_REGISTER`
const REGISTER: u32 = 1;
/// `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`
const COMMIT_AND_FETCH: u32 = 2;
/// The positions of `addr` and `len` in a submission. The builder does not set a length.
const ADDRESS_OFFSET: usize = 16;
const LEN_OFFSET: usize = 24;

/// `fuse_uring_req_header`
#[repr(C)]
struct RingHeader {
    in_out: [u8; HEADER],
    operation: [u8; HEADER],
    flags: u64,
    /// The number of the request, which the reply must carry.
    commit: u64,
    payload: u32,
    padding: u32,
    reserved: u64,
}

/// An encoded request without its payload.
#[derive(Debug)]
pub(super) struct RawRequest {
    /// `fuse_in_header`
    header: [u8; HEADER],
    /// The operation's own structure.
    operation: [u8; HEADER],
}

impl RawRequest {
    /// Returns the request with its payload.
    pub(super) fn frame<'a>(&'a self, payload: &'a [u8]) -> RequestFrame<'a> {
        RequestFrame::of(&self.header, &self.operation, payload)
    }
}

/// The memory of a request's payload (names, bytes to write), and of its reply's. It belongs to
/// the daemon until the request is answered, and must be dropped before. Each request has one.
pub(super) struct RingPayload {
    memory: Arc<RingMemory>,
    entry: usize,
    len: usize,
}

impl RingPayload {
    /// Returns the entry that the request is in.
    pub(super) fn entry(&self) -> usize {
        self.entry
    }

    /// Returns the payload of the request.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the kernel has handed the entry over, and nothing writes to it while this is
        // borrowed.
        unsafe { std::slice::from_raw_parts(self.memory.payload(self.entry), self.len) }
    }

    /// Returns up to `len` bytes of room for the start of the reply.
    pub(super) fn buffer(&mut self, len: usize) -> &mut [u8] {
        let place = self.memory.payload(self.entry);
        // SAFETY: the same; the memory is initialized, and that long.
        unsafe { std::slice::from_raw_parts_mut(place, len.min(PAYLOAD)) }
    }
}

/// Zeroed memory for entries. Pages are allocated as they are used, and none is reserved: most
/// are never used.
struct RingMemory {
    start: NonNull<u8>,
    len: usize,
}

impl RingMemory {
    fn new(entries: usize) -> io::Result<Self> {
        let len = entries * STRIDE;
        let (access, flags) = (
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        );
        // SAFETY: the kernel chooses where, so that nothing else is there.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, flags) }?;
        let memory = Self {
            start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?,
            len,
        };
        // SAFETY: nothing uses the memory yet. A kernel without huge pages refuses this.
        let _small = unsafe { madvise(start, len, Advice::LinuxNoHugepage) };
        Ok(memory)
    }

    fn header(&self, entry: usize) -> *mut RingHeader {
        debug_assert!((entry + 1) * STRIDE <= self.len);
        // SAFETY: the entry is one of those that the memory was made for.
        unsafe { self.start.as_ptr().add(entry * STRIDE) }.cast()
    }

    fn payload(&self, entry: usize) -> *mut u8 {
        // SAFETY: behind the header's page there is the payload's place.
        unsafe { self.header(entry).cast::<u8>().add(PAGE) }
    }

    /// Frees the pages of a payload that is not used any more.
    fn clear(&self, entry: usize) {
        // SAFETY: the entry is the daemon's until it is answered, and its payload was dropped.
        let cleared =
            unsafe { madvise(self.payload(entry).cast(), PAYLOAD, Advice::LinuxDontNeed) };
        if let Err(error) = cleared {
            log::debug!("the memory of a payload was not freed: {error}");
        }
    }
}

// SAFETY: it is memory like any other. At any time each entry belongs to the kernel, to the thread
// of the queue or to the one payload.
unsafe impl Send for RingMemory {}
// SAFETY: the same.
unsafe impl Sync for RingMemory {}

impl Drop for RingMemory {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and the ring that used it is gone.
        let _unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A queue. The ring is dropped before the memory that it uses.
pub(super) struct RingQueue {
    ring: IoUring<squeue::Entry128, cqueue::Entry>,
    memory: Arc<RingMemory>,
    number: u16,
    entries: usize,
    /// The number of entries that the kernel still uses.
    live: usize,
    wake: OwnedFd,
    /// The target of reads from `wake`.
    count: Box<u64>,
}

impl RingQueue {
    /// Returns a queue for the processor of this number, with an entry for each request that may
    /// be under way on it. Only the calling thread may use it.
    pub(super) fn new(number: u16, entries: usize, wake: OwnedFd) -> io::Result<Self> {
        let submissions = u32::try_from(entries * 2).unwrap_or(u32::MAX);
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun();
        Ok(Self {
            ring: builder.build(submissions)?,
            memory: Arc::new(RingMemory::new(entries)?),
            number,
            entries,
            live: entries,
            wake,
            count: Box::new(0),
        })
    }

    /// Registers every entry with the kernel, which may send requests from now on.
    pub(super) fn register(&mut self, device: &OwnedFd) -> io::Result<()> {
        self.listen()?;
        let parts: Vec<_> = (0..self.entries)
            .map(|entry| {
                let part = |base: *mut libc::c_void, len| libc::iovec {
                    iov_base: base,
                    iov_len: len,
                };
                let header = part(self.memory.header(entry).cast(), size_of::<RingHeader>());
                [header, part(self.memory.payload(entry).cast(), PAYLOAD)]
            })
            .collect();
        for (entry, parts) in parts.iter().enumerate() {
            let mut submission = self.command(device, REGISTER, 0, entry);
            submission = Self::with_parts(submission, parts);
            self.push(&submission)?;
        }
        // The parts are read before this returns.
        self.ring.submit()?;
        Ok(())
    }

    /// Returns `true` if the kernel uses no entry any more, since the mount has ended.
    pub(super) fn is_over(&self) -> bool {
        self.live == 0
    }

    /// Submits the replies, and waits for requests or a wake-up. Adds the entries that requests
    /// are in to `requests`.
    pub(super) fn wait(&mut self, requests: &mut Vec<usize>) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(_) | Err(_) => {}
        }
        // One at a time, since `listen` needs the ring as well.
        while let Some(completion) = self.completion() {
            let entry = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
            if completion.user_data() == WOKEN {
                self.listen()?;
            } else if completion.result() == 0 && entry < self.entries {
                requests.push(entry);
            } else {
                self.live = self.live.saturating_sub(1);
                if completion.result() != -libc::ENOTCONN {
                    let error = io::Error::from_raw_os_error(-completion.result());
                    log::error!("the kernel dropped an entry of a ring: {error}");
                }
            }
        }
        Ok(())
    }

    fn completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Returns the request in an entry. The kernel must have reported it, and it must not have been
    /// taken before.
    pub(super) fn request(&self, entry: usize) -> (RawRequest, RingPayload) {
        let header = self.memory.header(entry);
        // SAFETY: the kernel has handed the entry over, and takes it back with the reply only.
        let (raw, len) = unsafe {
            let raw = RawRequest {
                header: (*header).in_out,
                operation: (*header).operation,
            };
            (raw, (*header).payload)
        };
        let payload = RingPayload {
            memory: Arc::clone(&self.memory),
            entry,
            len: usize::try_from(len).map_or(PAYLOAD, |len| len.min(PAYLOAD)),
        };
        (raw, payload)
    }

    /// Replies to the request in an entry, and offers the entry to the kernel again, with the next
    /// wait. The payload must have been dropped.
    pub(super) fn answer(
        &mut self,
        device: &OwnedFd,
        entry: usize,
        reply: &EncodedReply,
    ) -> io::Result<()> {
        let header = self.memory.header(entry);
        // SAFETY: as for reading the request.
        let wrote = unsafe { (*header).payload } > CLEARED;
        if wrote && entry >= RETAINED && matches!(reply.body, EncodedBody::Bytes(_)) {
            self.memory.clear(entry);
        }
        // SAFETY: the same; a reply is at most as long as the room for a payload.
        let commit = unsafe {
            let commit = (*header).commit;
            let out = reply.header(commit);
            (&raw mut (*header).in_out).cast::<[u8; 16]>().write(out);
            if let EncodedBody::Bytes(bytes) = &reply.body {
                let bytes = bytes.get(..PAYLOAD).unwrap_or(bytes);
                let place = self.memory.payload(entry);
                place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
            (*header).payload = u32::try_from(reply.body.len().min(PAYLOAD)).unwrap_or_default();
            commit
        };
        let submission = self.command(device, COMMIT_AND_FETCH, commit, entry);
        self.push(&submission)
    }

    /// Returns a command (`fuse_uring_cmd_req`).
    fn command(
        &self,
        device: &OwnedFd,
        command: u32,
        commit: u64,
        entry: usize,
    ) -> squeue::Entry128 {
        let mut request = [0; 80];
        let fields = [
            &0u64.to_ne_bytes()[..],
            &commit.to_ne_bytes(),
            &self.number.to_ne_bytes(),
        ];
        for (to, from) in request.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        let fd = types::Fd(device.as_raw_fd());
        let command = opcode::UringCmd80::new(fd, command).cmd(request);
        command.build().user_data(entry as u64)
    }

    /// Returns a command with the addresses of an entry's header and payload.
    fn with_parts(mut command: squeue::Entry128, parts: &[libc::iovec; 2]) -> squeue::Entry128 {
        let bytes = (&raw mut command).cast::<u8>();
        // SAFETY: a submission is 128 bytes, of which these are its `addr` and `len`.
        unsafe {
            let address = (parts.as_ptr() as u64).to_ne_bytes();
            bytes.add(ADDRESS_OFFSET).cast::<[u8; 8]>().write(address);
            let len = 2u32.to_ne_bytes();
            bytes.add(LEN_OFFSET).cast::<[u8; 4]>().write(len);
        }
        command
    }

    /// Submits a read that completes with a wake-up.
    fn listen(&mut self) -> io::Result<()> {
        let fd = types::Fd(self.wake.as_raw_fd());
        let count: *mut u64 = &raw mut *self.count;
        let read = opcode::Read::new(fd, count.cast(), 8).build();
        self.push(&squeue::Entry128::from(read.user_data(WOKEN)))
    }

    fn push(&mut self, submission: &squeue::Entry128) -> io::Result<()> {
        // SAFETY: what it points to lives as long as the ring, or until the submission is read.
        let pushed = unsafe { self.ring.submission().push(submission) };
        if pushed.is_ok() {
            return Ok(());
        }
        self.ring.submit()?;
        // SAFETY: the same.
        unsafe { self.ring.submission().push(submission) }.map_err(io::Error::other)
    }
}

// The layout is that of the kernel.
const _: () = assert!(size_of::<RingHeader>() == 288 && offset_of!(RingHeader, payload) == 272);
