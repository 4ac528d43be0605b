//! The adapter: fuser's trait, each method a call of the service and a reply.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, Generation,
    INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags,
    PollNotifier, RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::access::Caller;
use super::directories::Row;
use super::names::Setting;
use super::passthrough::{reply_created, reply_opened};
use super::requests::Kind;
use super::service::{Entry, Service, file_type, guarded};
use super::syncs::Task;

/// Largest write in one request, in bytes (the kernel's own cap, unless raised by sysctl).
const WRITE_BYTES: u32 = 1 << 20;
/// Requests that the kernel may have under way in the background.
const BACKGROUND: u16 = 64;

thread_local! {
    /// Where a thread reads into: as long as the longest read that it was asked for.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The service behind fuser's trait.
#[derive(Debug)]
pub(super) struct Adapter {
    service: Arc<Service>,
    negotiated: Arc<Negotiated>,
}

/// What the kernel and we have agreed on.
#[derive(Debug, Default)]
pub(super) struct Negotiated {
    /// Whether rings are there to be used; then, whether the kernel will use them.
    pub(super) rings: AtomicBool,
}

fn caller(request: &Request) -> Caller {
    Caller {
        pid: request.pid(),
        uid: request.uid(),
        gid: request.gid(),
    }
}

fn time(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

fn reply_entry(entry: Result<Entry, Errno>, reply: ReplyEntry) {
    match entry {
        Ok(entry) => reply.entry(&entry.lifetime, &entry.attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn reply_empty(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

/// An attribute's value, or its length, as getxattr(2) asks.
fn reply_extended(value: Result<Vec<u8>, Errno>, size: u32, reply: ReplyXattr) {
    match value {
        Err(error) => reply.error(error),
        Ok(value) => match u32::try_from(value.len()) {
            Ok(len) if size == 0 => reply.size(len),
            Ok(len) if len <= size => reply.data(&value),
            Ok(_) | Err(_) => reply.error(Errno::ERANGE),
        },
    }
}

/// Does something and what it leaves that may wait. A panic drops the answer, which tells the
/// kernel.
fn finish(begin: impl FnOnce() -> Option<Task>) {
    let _told = guarded(|| {
        if let Some(rest) = begin() {
            rest();
        }
        Ok(())
    });
}

impl Adapter {
    pub(super) fn new(service: Arc<Service>, negotiated: Arc<Negotiated>) -> Self {
        Self {
            service,
            negotiated,
        }
    }

    fn count(&self, kind: Kind) {
        self.service.requests.count(kind);
    }

    /// Answers once the kernel knows what changed.
    fn reply_changed(&self, changed: Result<Vec<u64>, Errno>, reply: ReplyEmpty) {
        match changed {
            Ok(changed) => {
                let answer = Box::new(move || reply.ok());
                self.service.kernel.answer(changed, answer);
            }
            Err(error) => reply.error(error),
        }
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What an older kernel lacks it goes without.
        for wanted in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
        ] {
            let _unknown = config.add_capabilities(wanted);
        }
        let rings = &self.negotiated.rings;
        if rings.load(Ordering::Relaxed) {
            let agreed = config.add_capabilities(InitFlags::FUSE_OVER_IO_URING);
            rings.store(agreed.is_ok(), Ordering::Relaxed);
        }
        let works = &self.service.passthrough.works;
        if works.load(Ordering::Relaxed) {
            let agreed = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH);
            let agreed = agreed.is_ok() && config.set_max_stack_depth(1).is_ok();
            works.store(agreed, Ordering::Relaxed);
        }
        let _nearest = config.set_max_write(WRITE_BYTES);
        let _nearest = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.count(Kind::Lookup);
        reply_entry(
            guarded(|| self.service.look_up(caller(request), parent.0, name)),
            reply,
        );
    }

    fn forget(&self, _request: &Request, ino: INodeNo, count: u64) {
        self.service.inodes.forget(ino.0, count);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.count(Kind::Attributes);
        match guarded(|| self.service.stat(ino.0)) {
            Ok(entry) => reply.attr(&entry.lifetime, &entry.attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _changed_too: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.count(Kind::Set);
        let setting = Setting {
            mode: mode.map(|mode| u16::try_from(mode & 0o7777).unwrap_or_default()),
            now: matches!(modified, Some(TimeOrNow::Now)),
            modified: modified.map(time),
            size,
            number: handle.map(|handle| handle.0),
        };
        match guarded(|| self.service.set(caller(request), ino.0, setting)) {
            Ok((entry, changed)) => {
                let answer = move || reply.attr(&entry.lifetime, &entry.attributes);
                self.service.kernel.answer(changed, Box::new(answer));
            }
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        self.count(Kind::Other);
        match guarded(|| self.service.read_link(ino.0)) {
            Ok(path) => reply.data(&path),
            Err(error) => reply.error(error),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        self.count(Kind::Other);
        let entry = guarded(|| {
            self.service
                .make_file(caller(request), parent.0, name, mode)
        });
        reply_entry(entry, reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.count(Kind::Make);
        let mode = mode & !umask;
        let done = guarded(|| {
            self.service
                .make_directory(caller(request), parent.0, name, mode)
        });
        match done {
            Ok((entry, changed)) => {
                let answer = move || reply_entry(Ok(entry), reply);
                self.service.kernel.answer(changed, Box::new(answer));
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.count(Kind::Remove);
        let removed = guarded(|| self.service.remove(caller(request), parent.0, name, false));
        self.reply_changed(removed, reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.count(Kind::Remove);
        let removed = guarded(|| self.service.remove(caller(request), parent.0, name, true));
        self.reply_changed(removed, reply);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        self.count(Kind::Other);
        reply.error(Errno::EPERM);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.count(Kind::Rename);
        let renamed = guarded(|| {
            let (from, to) = ((parent.0, name), (new_parent.0, new_name));
            self.service.rename(caller(request), from, to, flags.bits())
        });
        self.reply_changed(renamed, reply);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        self.count(Kind::Other);
        reply.error(Errno::EPERM);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.count(Kind::Open);
        match guarded(|| self.service.open(caller(request), ino.0, flags.0)) {
            Ok(opened) => {
                let stale = opened.stale.into_iter().collect();
                let answer = Box::new(move || reply_opened(reply, &opened));
                self.service.kernel.answer(stale, answer);
            }
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        self.count(Kind::Create);
        let mode = mode & !umask;
        match guarded(|| self.service.create(caller(request), parent.0, name, mode)) {
            Ok((entry, opened)) => reply_created(reply, &entry, &opened),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.count(Kind::Read);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let place = buffer.get_mut(..size).unwrap_or_default();
            match guarded(|| self.service.read(handle.0, offset, place)) {
                Ok(read) => reply.data(buffer.get(..read).unwrap_or_default()),
                Err(error) => reply.error(error),
            }
        });
    }

    fn write(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.count(Kind::Write);
        match guarded(|| self.service.write(handle.0, offset, bytes)) {
            Ok(count) => reply.written(count),
            Err(error) => reply.error(error),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.count(Kind::Flush);
        self.reply_changed(guarded(|| self.service.flush(ino.0, handle.0)), reply);
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.count(Kind::Release);
        self.reply_changed(guarded(|| Ok(self.service.release(ino.0, handle.0))), reply);
    }

    fn fsync(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.count(Kind::Sync);
        let answer = Box::new(move |synced| reply_empty(synced, reply));
        finish(|| self.service.sync(ino.0, handle.0, answer));
    }

    // The kernel remembers that directories need not be opened.
    fn opendir(&self, _request: &Request, _: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.count(Kind::Other);
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.count(Kind::List);
        let listed = guarded(|| {
            self.service.list(ino.0, offset, |next, row| {
                let ino = INodeNo(self.service.listed_number(row));
                reply.add(ino, next, file_type(row.kind()), row.name())
            })
        });
        match listed {
            Ok(stale) => {
                let answer = Box::new(move || reply.ok());
                self.service.kernel.answer(stale, answer);
            }
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.count(Kind::List);
        let listed = guarded(|| {
            self.service.list(ino.0, offset, |next, row| match row {
                Row::Name(row) => {
                    let entry = self.service.entry(&row.found);
                    let ino = entry.attributes.ino;
                    let (lifetime, attributes) = (&entry.lifetime, &entry.attributes);
                    let full = reply.add(ino, next, &row.name, lifetime, attributes, Generation(0));
                    if full {
                        // The kernel was not told after all.
                        self.service.inodes.forget(ino.0, 1);
                    }
                    full
                }
                row => {
                    // fuser cannot say that there is no number without Go's taking the name for
                    // one that is gone; of these the kernel remembers nothing.
                    let number = self.service.listed_number(row);
                    let entry = self.service.bare(number, row.kind());
                    let (lifetime, attributes) = (&entry.lifetime, &entry.attributes);
                    let ino = INodeNo(number);
                    reply.add(ino, next, row.name(), lifetime, attributes, Generation(0))
                }
            })
        });
        match listed {
            Ok(stale) => {
                let answer = Box::new(move || reply.ok());
                self.service.kernel.answer(stale, answer);
            }
            Err(error) => reply.error(error),
        }
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.count(Kind::SyncDirectory);
        let answer = Box::new(move |durable| reply_empty(durable, reply));
        finish(|| self.service.sync_directory(ino.0, answer));
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        const BLOCK: u32 = 4096;
        self.count(Kind::Space);
        match guarded(|| self.service.space()) {
            Ok(space) => {
                let blocks = |bytes: u64| bytes / u64::from(BLOCK);
                let (total, free) = (blocks(space.total), blocks(space.free));
                reply.statfs(
                    total,
                    free,
                    blocks(space.available),
                    0,
                    0,
                    BLOCK,
                    255,
                    BLOCK,
                );
            }
            Err(error) => reply.error(error),
        }
    }

    fn setxattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.count(Kind::Other);
        reply.error(self.service.set_extended(ino.0));
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.count(Kind::Extended);
        reply_extended(guarded(|| self.service.extended(ino.0, name)), size, reply);
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.count(Kind::Extended);
        reply_extended(guarded(|| self.service.extended_names(ino.0)), size, reply);
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        self.count(Kind::Other);
        reply.error(self.service.set_extended(ino.0));
    }

    // The kernel remembers ENOSYS and does these by itself, or not at all.

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        self.count(Kind::Other);
        let mask = mask.bits().cast_unsigned();
        reply_empty(
            guarded(|| self.service.access(caller(request), ino.0, mask)),
            reply,
        );
    }

    fn getlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        reply: ReplyLock,
    ) {
        self.count(Kind::Other);
        reply.error(Errno::ENOSYS);
    }

    fn setlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.count(Kind::Other);
        reply.error(Errno::ENOSYS);
    }

    fn bmap(&self, _: &Request, _: INodeNo, _: u32, _: u64, reply: ReplyBmap) {
        self.count(Kind::Other);
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        self.count(Kind::Other);
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        self.count(Kind::Other);
        // Go polls every file it opens; a file that is never ready would hang it for ever.
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        self.count(Kind::Other);
        reply.error(Errno::ENOSYS);
    }

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        self.count(Kind::Other);
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.count(Kind::Other);
        reply.error(Errno::ENOSYS);
    }
}
