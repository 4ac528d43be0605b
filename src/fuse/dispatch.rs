//! Dispatch: for each operation the call of the service that serves it, if that may block, and
//! the kind as which it is counted. The only list of all operations outside the transports.

use std::sync::Arc;

use fuser::Errno;

use super::caller::Caller;
use super::coherence::Coherent;
use super::listings::ListedRow;
use super::op_counters::OperationKind;
use super::reply::{Reply, ReplySlot};
use super::request::{
    EntryOperation, FileOperation, InodeOperation, ListRequest, Operation, Request,
};
use super::service::{Service, file_type};
use super::task::{BlockingTask, Executor, TaskKind};
use super::transport::encode::{DirentRow, ListingBuffer};

/// Serves a request: on this thread, or on the executor's if it may block.
pub(super) fn serve(
    service: &Arc<Service>,
    executor: &mut impl Executor,
    request: Request,
    slot: impl ReplySlot,
) {
    let Request {
        caller,
        ino,
        operation,
    } = request;
    let call = Call {
        service,
        executor,
        slot,
    };
    match operation {
        Operation::Entry(operation) => call.entry(caller, ino, operation),
        Operation::Inode(operation) => call.inode(caller, ino, operation),
        Operation::File(handle, operation) => call.file(ino, handle, operation),
        Operation::Space => call.now(OperationKind::Space, Service::space),
        Operation::Destroy => call.now(OperationKind::Other, |_| Ok(())),
        Operation::Unsupported(error) => {
            call.now(OperationKind::Other, |_| Err::<(), Errno>(error));
        }
    }
}

/// A request that is being served.
struct Call<'a, E, S> {
    service: &'a Arc<Service>,
    executor: &'a mut E,
    slot: S,
}

impl<E: Executor, S: ReplySlot> Call<'_, E, S> {
    /// Serves what a caller asks for in a directory.
    fn entry(self, caller: Caller, ino: u64, operation: EntryOperation) {
        let service = self.service;
        match operation {
            EntryOperation::Lookup(name) => {
                self.now(OperationKind::Lookup, |service| {
                    service.look_up(caller, ino, &name)
                });
            }
            EntryOperation::MakeFile { name, mode } => {
                let blocks = service.create_may_block(ino, &name);
                self.change(OperationKind::Other, blocks, move |service, _| {
                    service.make_file(caller, ino, &name, mode)
                });
            }
            EntryOperation::MakeDirectory { name, mode } => {
                let blocks = service.create_may_block(ino, &name);
                self.change(OperationKind::Make, blocks, move |service, _| {
                    service.make_directory(caller, ino, &name, mode)
                });
            }
            EntryOperation::RemoveFile(name) => {
                let blocks = service.remove_may_block(ino, &name);
                self.change(OperationKind::Remove, blocks, move |service, _| {
                    service.remove_file(caller, ino, &name)
                });
            }
            EntryOperation::RemoveDirectory(name) => {
                let blocks = service.remove_may_block(ino, &name);
                self.change(OperationKind::Remove, blocks, move |service, _| {
                    service.remove_directory(caller, ino, &name)
                });
            }
            EntryOperation::Rename {
                name,
                to_directory,
                to_name,
                flags,
            } => {
                let blocks = service.rename_may_block(ino, &name);
                self.change(OperationKind::Rename, blocks, move |service, _| {
                    service.rename(caller, (ino, &name), (to_directory, &to_name), flags)
                });
            }
            EntryOperation::Create { name, mode, flags } => {
                let blocks = service.create_may_block(ino, &name);
                self.change(OperationKind::Create, blocks, move |service, _| {
                    service.create(caller, ino, &name, mode, flags)
                });
            }
        }
    }

    /// Serves what a caller asks about an inode.
    fn inode(self, caller: Caller, ino: u64, operation: InodeOperation) {
        let service = self.service;
        match operation {
            InodeOperation::Attributes => {
                let blocks = service.stat_may_block(ino);
                self.change(OperationKind::Attributes, blocks, move |service, _| {
                    service.stat(ino)
                });
            }
            InodeOperation::SetAttributes(request) => {
                let blocks = service.set_may_block(ino, &request);
                self.change(OperationKind::Set, blocks, move |service, _| {
                    service.set(caller, ino, request)
                });
            }
            InodeOperation::ReadLink => {
                self.now(OperationKind::Other, |service| service.read_link(ino));
            }
            InodeOperation::Access(mask) => {
                self.now(OperationKind::Other, |service| {
                    service.access(caller, ino, mask)
                });
            }
            InodeOperation::Open(flags) => {
                let blocks = service.open_may_block(ino, flags);
                self.read(OperationKind::Open, blocks, move |service, _| {
                    service.open(caller, ino, flags)
                });
            }
            InodeOperation::List(request) => {
                self.now(OperationKind::List, |service| {
                    list(service, caller, ino, request)
                });
            }
            InodeOperation::SyncDirectory => {
                self.sync(OperationKind::SyncDirectory, false, move |service, slot| {
                    service.sync_directory(ino, Box::new(|synced| slot.reply(synced.into())))
                });
            }
            InodeOperation::GetXattr { name, bytes } => {
                self.now(OperationKind::Extended, |service| {
                    let value = service.extended(caller, ino, &name)?;
                    Ok(Reply::Xattr { value, room: bytes })
                });
            }
            InodeOperation::ListXattr { bytes } => {
                self.now(OperationKind::Extended, |service| {
                    let value = service.extended_names(ino)?;
                    Ok(Reply::Xattr { value, room: bytes })
                });
            }
            InodeOperation::SetXattr { name, value } => {
                self.now(OperationKind::Other, |service| {
                    service.set_extended(ino, &name, value.as_deref())
                });
            }
        }
    }

    /// Serves what a caller asks about an open file.
    fn file(mut self, ino: u64, handle: u64, operation: FileOperation) {
        let service = self.service;
        match operation {
            FileOperation::Read { offset, bytes } => {
                let blocks = service.may_block(handle);
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                if blocks
                    && let Some(read) =
                        service.read_at_hand(handle, offset, self.slot.buffer(bytes))
                {
                    return self.now(OperationKind::Read, |_| Ok(Reply::InPlace(read)));
                }
                self.read(OperationKind::Read, blocks, move |service, slot| {
                    let read = service.read(handle, offset, slot.buffer(bytes));
                    read.map(Reply::InPlace)
                });
            }
            FileOperation::Write {
                offset,
                drops_privileges,
            } => {
                let blocks = service.may_block(handle);
                self.change(OperationKind::Write, blocks, move |service, slot| {
                    let bytes = slot.payload();
                    let written = service.write(handle, offset, bytes, drops_privileges);
                    written.map(Reply::Written)
                });
            }
            FileOperation::Seek { offset, target } => {
                self.now(OperationKind::Other, |service| {
                    service.seek(handle, offset, target).map(Reply::Offset)
                });
            }
            FileOperation::Allocate { offset, len, flags } => {
                let blocks = service.may_block(handle);
                self.change(OperationKind::Other, blocks, move |service, _| {
                    service.allocate(handle, flags, offset, len)
                });
            }
            FileOperation::Flush => {
                let blocks = service.may_block(handle);
                self.change(OperationKind::Flush, blocks, move |service, _| {
                    service.flush(ino, handle)
                });
            }
            FileOperation::Release => {
                let blocks = service.release_may_block(handle);
                self.change(OperationKind::Release, blocks, move |service, _| {
                    Ok(service.release(ino, handle))
                });
            }
            FileOperation::Sync => {
                let blocks = service.may_block(handle);
                self.sync(OperationKind::Sync, blocks, move |service, slot| {
                    service.sync(ino, handle, Box::new(|synced| slot.reply(synced.into())))
                });
            }
        }
    }

    /// Serves an operation that never blocks.
    fn now<T: IntoReply>(
        self,
        kind: OperationKind,
        work: impl FnOnce(&Service) -> Result<T, Errno>,
    ) {
        self.service.counters.count(kind);
        reply(self.service, self.slot, work(self.service));
    }

    /// Serves an operation that may block for reading.
    fn read<T: IntoReply>(
        self,
        kind: OperationKind,
        blocks: bool,
        work: impl FnOnce(&Service, &mut S) -> Result<T, Errno> + Send + 'static,
    ) {
        self.run(kind, blocks.then_some(TaskKind::Read), work);
    }

    /// Serves an operation that may block while it changes something.
    fn change<T: IntoReply>(
        self,
        kind: OperationKind,
        blocks: bool,
        work: impl FnOnce(&Service, &mut S) -> Result<T, Errno> + Send + 'static,
    ) {
        self.run(kind, blocks.then_some(TaskKind::Change), work);
    }

    fn run<T: IntoReply>(
        mut self,
        kind: OperationKind,
        blocks: Option<TaskKind>,
        work: impl FnOnce(&Service, &mut S) -> Result<T, Errno> + Send + 'static,
    ) {
        self.service.counters.count(kind);
        let Some(blocks) = blocks else {
            let done = work(self.service, &mut self.slot);
            return reply(self.service, self.slot, done);
        };
        let (service, mut slot) = (Arc::clone(self.service), self.slot);
        let task = move || {
            let done = work(&service, &mut slot);
            reply(&service, slot, done);
        };
        self.executor.run(blocks, Box::new(task));
    }

    /// Serves an fsync. `begin` answers the slot once everything before is durable, and returns
    /// the flush that somebody must run for that, if nobody else does. `begin` itself may block.
    fn sync(
        self,
        kind: OperationKind,
        blocks: bool,
        begin: impl FnOnce(&Arc<Service>, S) -> Option<BlockingTask> + Send + 'static,
    ) {
        self.service.counters.count(kind);
        let (service, slot) = (Arc::clone(self.service), self.slot);
        if blocks {
            let task = move || {
                if let Some(flush) = begin(&service, slot) {
                    flush();
                }
            };
            return self.executor.run(TaskKind::Change, Box::new(task));
        }
        if let Some(flush) = begin(&service, slot) {
            self.executor.run(TaskKind::Change, flush);
        }
    }
}

/// A result of the service, which becomes a reply and inodes to drop before it.
trait IntoReply {
    fn into_reply(self) -> Coherent<Reply>;
}

impl<T: Into<Reply>> IntoReply for T {
    fn into_reply(self) -> Coherent<Reply> {
        Coherent::unchanged(self.into())
    }
}

impl<T: Into<Reply>> IntoReply for Coherent<T> {
    fn into_reply(self) -> Coherent<Reply> {
        self.map(T::into)
    }
}

/// Replies, once the kernel has dropped what is not valid any more.
fn reply(service: &Service, slot: impl ReplySlot, done: Result<impl IntoReply, Errno>) {
    match done {
        Ok(answer) => {
            let Coherent { value, stale } = answer.into_reply();
            let reply = Box::new(move || slot.reply(value));
            service.cache.drop_before(stale, reply);
        }
        Err(error) => slot.reply(Reply::Error(error)),
    }
}

/// Lists a directory from an offset on, as far as there is room in the reply.
fn list(
    service: &Service,
    caller: Caller,
    ino: u64,
    request: ListRequest,
) -> Result<Coherent<Vec<u8>>, Errno> {
    let mut listing = ListingBuffer::new(request.bytes, request.plus);
    let listed = service.list(caller, ino, request.offset, |next, row, permissions| {
        let dirent = |ino, kind| DirentRow {
            ino,
            next,
            kind,
            name: row.name(),
        };
        match row {
            ListedRow::Shown(shown) if request.plus => {
                let entry = service.entry(permissions, &shown.found);
                let attributes = &entry.shown.attributes;
                let full = listing.add(&dirent(attributes.ino.0, attributes.kind), Some(&entry));
                if full {
                    // The kernel does not learn of this lookup.
                    service.inodes.forget(entry.node, 1);
                }
                full
            }
            row => listing.add(&dirent(row.number(), file_type(row.kind())), None),
        }
    })?;
    Ok(listed.map(|()| listing.into_bytes()))
}
