//! Dispatch: each operation of a request is a call of the service and a reply, at once or, where
//! it may wait, by a worker.

use std::sync::Arc;

use fuser::Errno;

use super::access::Caller;
use super::directories::Row;
use super::reply::{Body, Listing, Reply};
use super::request::{Operation, Request};
use super::requests::Kind;
use super::service::{Service, file_type};
use super::syncs::Task;
use super::transport::{Pending, Runner, Waits};

/// Serves a request: here, or by whoever does what may wait.
pub(super) fn serve(
    service: &Arc<Service>,
    runner: &mut impl Runner,
    request: Request,
    mut slot: impl Pending,
) {
    service.requests.count(kind(&request.operation));
    if let Some(waits) = waits(service, &request) {
        if let Operation::Read(handle, offset, size) = request.operation
            && let Some(read) = service.read_at_hand(handle, offset, slot.place(room(size)))
        {
            return slot.answer(Body::InPlace(read));
        }
        let service = Arc::clone(service);
        let task = move || {
            if let Some(rest) = perform(&service, request, slot) {
                rest();
            }
        };
        return runner.run(waits, Box::new(task));
    }
    if let Some(rest) = perform(service, request, slot) {
        runner.run(Waits::Changes, rest);
    }
}

fn room(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// As what a request is counted.
fn kind(operation: &Operation) -> Kind {
    match operation {
        Operation::Lookup(_) => Kind::Lookup,
        Operation::Attributes => Kind::Attributes,
        Operation::Set(_) => Kind::Set,
        Operation::MakeDirectory(..) => Kind::Make,
        Operation::Remove(..) => Kind::Remove,
        Operation::Rename(..) => Kind::Rename,
        Operation::Open(_) => Kind::Open,
        Operation::Create(..) => Kind::Create,
        Operation::Read(..) => Kind::Read,
        Operation::Write(..) => Kind::Write,
        Operation::Flush(_) => Kind::Flush,
        Operation::Release(_) => Kind::Release,
        Operation::Sync(_) => Kind::Sync,
        Operation::List(..) => Kind::List,
        Operation::SyncDirectory => Kind::SyncDirectory,
        Operation::Extended(..) | Operation::ExtendedNames(_) => Kind::Extended,
        Operation::Space => Kind::Space,
        Operation::ReadLink
        | Operation::MakeFile(..)
        | Operation::SetExtended(..)
        | Operation::Access(_)
        | Operation::Seek(..)
        | Operation::Allocate(..)
        | Operation::Destroy
        | Operation::Refused(_) => Kind::Other,
    }
}

/// Whether a request may wait for the disk, or keep a processor busy for long, and for what.
fn waits(service: &Service, request: &Request) -> Option<Waits> {
    let (waits, kind) = match &request.operation {
        Operation::Read(handle, ..) => (service.may_wait(*handle), Waits::Reads),
        Operation::Write(handle, ..)
        | Operation::Sync(handle)
        | Operation::Flush(handle)
        | Operation::Allocate(handle, ..) => (service.may_wait(*handle), Waits::Changes),
        Operation::Release(handle) => (service.release_may_wait(*handle), Waits::Changes),
        Operation::Remove(name, _) => (service.remove_may_wait(request.ino, name), Waits::Changes),
        Operation::Rename(_, _, from, _) => {
            (service.rename_may_wait(request.ino, from), Waits::Changes)
        }
        Operation::Open(flags) => (service.open_may_wait(request.ino, *flags), Waits::Reads),
        Operation::Attributes => (service.stat_may_wait(request.ino), Waits::Changes),
        Operation::Set(setting) => (service.set_may_wait(request.ino, setting), Waits::Changes),
        Operation::Create(name, ..)
        | Operation::MakeFile(name, _)
        | Operation::MakeDirectory(name, _) => {
            (service.create_may_wait(request.ino, name), Waits::Changes)
        }
        _ => return None,
    };
    waits.then_some(kind)
}

/// Does what is asked for, up to what may wait for the disk, which it gives back.
fn perform(service: &Arc<Service>, request: Request, mut slot: impl Pending) -> Option<Task> {
    let Request {
        caller,
        ino,
        operation,
    } = request;
    match operation {
        Operation::Lookup(name) => {
            let entry = service.look_up(caller, ino, &name);
            slot.answer(entry.map(|entry| Reply::entry(&entry)));
        }
        Operation::Access(mask) => slot.answer(service.access(caller, ino, mask)),
        Operation::Attributes => {
            let entry = service.stat(ino);
            slot.answer(entry.map(|entry| Reply::attributes(&entry)));
        }
        Operation::Set(setting) => {
            let set = service.set(caller, ino, setting);
            answer_changed(
                service,
                slot,
                set.map(|(entry, changed)| (Reply::attributes(&entry), changed)),
            );
        }
        Operation::ReadLink => slot.answer(service.read_link(ino)),
        Operation::MakeFile(name, mode) => {
            let entry = service.make_file(caller, ino, &name, mode);
            slot.answer(entry.map(|entry| Reply::entry(&entry)));
        }
        Operation::MakeDirectory(name, mode) => {
            let done = service.make_directory(caller, ino, &name, mode);
            answer_changed(
                service,
                slot,
                done.map(|(entry, changed)| (Reply::entry(&entry), changed)),
            );
        }
        Operation::Remove(name, directory) => {
            let removed = service.remove(caller, ino, &name, directory);
            answer_changed(service, slot, removed.map(with_nothing));
        }
        Operation::Rename(parent, flags, from, to) => {
            let renamed = service.rename(caller, (ino, &from), (parent, &to), flags);
            answer_changed(service, slot, renamed.map(with_nothing));
        }
        Operation::Open(flags) => {
            let opened = service.open(caller, ino, flags);
            let opened = opened.map(|opened| {
                let stale = opened.stale.into_iter().collect();
                (Reply::opened(&opened), stale)
            });
            answer_changed(service, slot, opened);
        }
        Operation::Create(name, mode, flags) => {
            let created = service.create(caller, ino, &name, mode, flags);
            slot.answer(created.map(|(entry, opened)| Reply::created(&entry, &opened)));
        }
        Operation::Read(handle, offset, size) => {
            let read = service.read(handle, offset, slot.place(room(size)));
            slot.answer(read.map(Body::InPlace));
        }
        Operation::Write(handle, offset, drops) => {
            let written = service.write(handle, offset, slot.payload(), drops);
            slot.answer(written.map(Reply::size));
        }
        Operation::Release(handle) => {
            let changed = service.release(ino, handle);
            answer_changed(service, slot, Ok(with_nothing(changed)));
        }
        Operation::Flush(handle) => {
            answer_changed(service, slot, service.flush(ino, handle).map(with_nothing));
        }
        Operation::Sync(handle) => {
            let answer = Box::new(move |synced| slot.answer(synced));
            return service.sync(ino, handle, answer);
        }
        Operation::SyncDirectory => {
            let answer = Box::new(move |synced| slot.answer(synced));
            return service.sync_directory(ino, answer);
        }
        Operation::Extended(name, size) => {
            let value = service.extended(caller, ino, &name);
            slot.answer(value.map(|value| Reply::extended(value, size)));
        }
        Operation::ExtendedNames(size) => {
            let names = service.extended_names(ino);
            slot.answer(names.map(|names| Reply::extended(names, size)));
        }
        Operation::SetExtended(name, value) => {
            slot.answer(service.set_extended(ino, &name, value.as_deref()));
        }
        Operation::List(offset, size, plus) => {
            let listed = list(service, (caller, ino), offset, size, plus);
            answer_changed(service, slot, listed);
        }
        Operation::Refused(error) => slot.answer(error),
        other => slot.answer(at_once(service, &other)),
    }
    None
}

/// The answer to what changes nothing that the kernel keeps, and nothing but an open file.
fn at_once(service: &Service, operation: &Operation) -> Reply {
    match *operation {
        Operation::Space => service.space().map(|space| Reply::space(&space)).into(),
        Operation::Seek(handle, offset, wanted) => service
            .seek(handle, offset, wanted)
            .map(Reply::offset)
            .into(),
        Operation::Allocate(handle, offset, len, flags) => {
            service.allocate(handle, flags, offset, len).into()
        }
        // The mount has ended.
        _ => ().into(),
    }
}

fn with_nothing(changed: Vec<u64>) -> (Reply, Vec<u64>) {
    (().into(), changed)
}

/// Answers once the kernel knows what changed.
fn answer_changed(service: &Service, slot: impl Pending, done: Result<(Reply, Vec<u64>), Errno>) {
    match done {
        Ok((reply, changed)) => {
            let answer = Box::new(move || slot.answer(reply));
            service.kernel.answer(changed, answer);
        }
        Err(error) => slot.answer(error),
    }
}

fn list(
    service: &Service,
    (caller, ino): (Caller, u64),
    offset: u64,
    size: u32,
    plus: bool,
) -> Result<(Reply, Vec<u64>), Errno> {
    let mut listing = Listing::new(size, plus);
    let stale = service.list(caller, ino, offset, |next, row, permissions| match row {
        Row::Name(row) if plus => {
            let entry = service.entry(permissions, &row.found);
            let attributes = &entry.attributes;
            let named = (attributes.ino.0, next, attributes.kind);
            let full = listing.add(named, &row.name, Some(&entry));
            if full {
                // The kernel was not told after all.
                service.inodes.forget(entry.node, 1);
            }
            full
        }
        row => {
            let named = (row.number(), next, file_type(row.kind()));
            listing.add(named, row.name(), None)
        }
    })?;
    Ok((listing.done(), stale))
}
