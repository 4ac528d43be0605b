//! A queue: one processor's `io_uring`, and the memory through which its requests come and its
//! answers go, as `fuse_uring_cmd_req` and `fuse_uring_req_header` of Linux 6.14's
//! `include/uapi/linux/fuse.h` say.
//!
//! It knows entries and bytes, not what they mean. What is unsafe about rings is here: the
//! kernel writes to an entry from its registration or last answer on until it says that a
//! request is in it, and not from then until the answer is submitted.
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

/// Bytes of a request's header, and of an answer's.
const HEADER: usize = 128;
/// The largest payload: as much as a request may write.
const PAYLOAD: usize = WRITE_BYTES as usize;
/// Bytes from one entry to the next.
const STRIDE: usize = PAGE + PAYLOAD;
const PAGE: usize = 4096;
/// Entries that keep the memory of what was written through them. The kernel takes the entry that
/// was answered last, so that others come to be used where that many requests are under way.
const KEPT: usize = 16;
/// Bytes that others keep.
const CLEARED: u32 = 1 << 16;
/// What marks the completion of a wake-up among those of entries.
const WOKEN: u64 = u64::MAX;
/// `FUSE_IO_URING_CMD_REGISTER`
const REGISTER: u32 = 1;
/// `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`
const COMMIT_AND_FETCH: u32 = 2;
/// Where `addr` and `len` stand in a submission, of which the builder sets no length.
const ADDRESS_OFFSET: usize = 16;
const LEN_OFFSET: usize = 24;

/// `fuse_uring_req_header`
#[repr(C)]
struct RingHeader {
    in_out: [u8; HEADER],
    operation: [u8; HEADER],
    flags: u64,
    /// What the answer must name: the request's own number.
    commit: u64,
    payload: u32,
    padding: u32,
    reserved: u64,
}

/// A request as it came, but for what follows it.
#[derive(Debug)]
pub(super) struct RawRequest {
    /// `fuse_in_header`
    header: [u8; HEADER],
    /// The operation's own structure.
    operation: [u8; HEADER],
}

impl RawRequest {
    /// The request with what follows it.
    pub(super) fn frame<'a>(&'a self, payload: &'a [u8]) -> RequestFrame<'a> {
        RequestFrame::of(&self.header, &self.operation, payload)
    }
}

/// The place of what follows a request (names, bytes to write) and of what its answer says: ours
/// for as long as the request is not answered, for which it has to be given up. There is one for
/// each request.
pub(super) struct RingPayload {
    memory: Arc<RingMemory>,
    entry: usize,
    len: usize,
}

impl RingPayload {
    /// In which entry the request is.
    pub(super) fn entry(&self) -> usize {
        self.entry
    }

    /// What follows the request.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the kernel has handed the entry over, and nobody writes to it while this is
        // borrowed.
        unsafe { std::slice::from_raw_parts(self.memory.payload(self.entry), self.len) }
    }

    /// Where the first bytes of the answer may be put, at most so many.
    pub(super) fn buffer(&mut self, len: usize) -> &mut [u8] {
        let place = self.memory.payload(self.entry);
        // SAFETY: the same; it was zeroed, and is as long.
        unsafe { std::slice::from_raw_parts_mut(place, len.min(PAYLOAD)) }
    }
}

/// Memory for entries, zeroed, of which pages are taken as they are used. Nothing is set aside
/// for it: most is never used.
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
        // SAFETY: nobody knows the memory yet. A kernel without huge pages refuses this.
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

    /// Gives the pages of a payload back that nobody looks at any more.
    fn clear(&self, entry: usize) {
        // SAFETY: the entry is ours until it is answered, and its payload was given up.
        let cleared =
            unsafe { madvise(self.payload(entry).cast(), PAYLOAD, Advice::LinuxDontNeed) };
        if let Err(error) = cleared {
            log::debug!("a payload keeps its memory: {error}");
        }
    }
}

// SAFETY: it is memory like any other, of which each entry belongs to the kernel, to the thread of
// the queue or to the one payload, by turns.
unsafe impl Send for RingMemory {}
// SAFETY: the same.
unsafe impl Sync for RingMemory {}

impl Drop for RingMemory {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and the ring that knew it is gone.
        let _unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A queue. The ring goes before the memory that it knows.
pub(super) struct RingQueue {
    ring: IoUring<squeue::Entry128, cqueue::Entry>,
    memory: Arc<RingMemory>,
    number: u16,
    entries: usize,
    /// Entries of which the kernel still knows.
    live: usize,
    wake: OwnedFd,
    /// What reading from it gives.
    count: Box<u64>,
}

impl RingQueue {
    /// A queue for the processor of this number, with as many entries as requests may be under
    /// way on it. The thread that makes it must be the one that uses it.
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

    /// Offers every entry to the kernel; from here on requests come.
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

    /// Whether the kernel knows no entry any more: the mount has ended.
    pub(super) fn is_over(&self) -> bool {
        self.live == 0
    }

    /// Submits what was answered, and waits until there are requests, or somebody wakes us; the
    /// entries that requests are in are put into `requests`.
    pub(super) fn wait(&mut self, requests: &mut Vec<usize>) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(_) | Err(_) => {}
        }
        // The next one is taken by itself, since to listen takes the ring, too.
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
                    log::error!("the kernel gave up an entry of a ring: {error}");
                }
            }
        }
        Ok(())
    }

    fn completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// The request in an entry, of which the kernel has said that there is one: once for each.
    pub(super) fn request(&self, entry: usize) -> (RawRequest, RingPayload) {
        let header = self.memory.header(entry);
        // SAFETY: the kernel has handed the entry over, and takes it back at its answer only.
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

    /// Answers the request in an entry, whose payload nobody looks at any more, and offers the
    /// entry again, with the next wait.
    pub(super) fn answer(
        &mut self,
        device: &OwnedFd,
        entry: usize,
        reply: &EncodedReply,
    ) -> io::Result<()> {
        let header = self.memory.header(entry);
        // SAFETY: as for reading the request.
        let wrote = unsafe { (*header).payload } > CLEARED;
        if wrote && entry >= KEPT && matches!(reply.body, EncodedBody::Bytes(_)) {
            self.memory.clear(entry);
        }
        // SAFETY: the same; a reply is no longer than the payload's place.
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

    /// A command of `fuse_uring_cmd_req`.
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

    /// A command with the places of an entry's header and payload.
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

    /// Asks to be woken.
    fn listen(&mut self) -> io::Result<()> {
        let fd = types::Fd(self.wake.as_raw_fd());
        let count: *mut u64 = &raw mut *self.count;
        let read = opcode::Read::new(fd, count.cast(), 8).build();
        self.push(&squeue::Entry128::from(read.user_data(WOKEN)))
    }

    fn push(&mut self, submission: &squeue::Entry128) -> io::Result<()> {
        // SAFETY: what it points to lives as long as the ring, or until it is submitted.
        let pushed = unsafe { self.ring.submission().push(submission) };
        if pushed.is_ok() {
            return Ok(());
        }
        self.ring.submit()?;
        // SAFETY: the same.
        unsafe { self.ring.submission().push(submission) }.map_err(io::Error::other)
    }
}

// The structure is what the kernel takes it for.
const _: () = assert!(size_of::<RingHeader>() == 288 && offset_of!(RingHeader, payload) == 272);
