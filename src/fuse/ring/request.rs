//! Requests, as `include/uapi/linux/fuse.h` lays them out (protocol 7.40), decoded.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::Errno;

use super::queue::Raw;
use crate::fuse::access::Caller;
use crate::fuse::names::Setting;

/// Who asks, of which inode, for what.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) caller: Caller,
    pub(super) ino: u64,
    pub(super) operation: Operation,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Operation {
    Lookup(OsString),
    Attributes,
    Set(Setting),
    ReadLink,
    MakeFile(OsString, u32),
    /// The name and the mode, without what the umask takes away.
    MakeDirectory(OsString, u32),
    /// What access(2) asks about.
    Access(u32),
    /// Whether a directory is meant.
    Remove(OsString, bool),
    /// The new directory, the flags, the old name, the new one.
    Rename(u64, u32, OsString, OsString),
    Open(i32),
    /// The name and the mode, without what the umask takes away.
    Create(OsString, u32),
    /// Handle, offset, bytes at most.
    Read(u64, u64, u32),
    /// Handle, offset; what follows the request.
    Write(u64, u64),
    Space,
    Release(u64),
    Sync(u64),
    Flush(u64),
    /// The name and the most bytes, 0 if just the length is asked for.
    Extended(OsString, u32),
    ExtendedNames(u32),
    SetExtended,
    /// Offset, bytes at most, and whether with attributes.
    List(u64, u32, bool),
    SyncDirectory,
    /// The mount has ended.
    Destroy,
    /// What we do not do, by which the kernel knows how to go on.
    Refused(Errno),
}

/// Numbers read one behind the other; 0 behind the end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const LEN: usize>(&mut self) -> [u8; LEN] {
        let (taken, rest) = self.0.split_first_chunk().unwrap_or((&[0; LEN], &[]));
        self.0 = rest;
        *taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.take())
    }
}

/// The first name, and what follows it.
fn name(bytes: &[u8]) -> (OsString, &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let name = OsStr::from_bytes(parts.next().unwrap_or_default());
    (name.to_owned(), parts.next().unwrap_or_default())
}

impl Request {
    /// Reads a request, and the names that follow it.
    pub(super) fn read(raw: &Raw, payload: &[u8]) -> Self {
        let mut header = Fields(&raw.header);
        let (_len, code) = (header.u32(), header.u32());
        let (_unique, ino) = (header.u64(), header.u64());
        let (uid, gid, pid) = (header.u32(), header.u32(), header.u32());
        Self {
            caller: Caller { pid, uid, gid },
            ino,
            operation: operation(code, raw, payload),
        }
    }
}

fn operation(code: u32, raw: &Raw, payload: &[u8]) -> Operation {
    let mut fields = Fields(&raw.operation);
    let first = || name(payload).0;
    match code {
        1 => Operation::Lookup(first()),
        3 => Operation::Attributes,
        4 => Operation::Set(setting(fields)),
        5 => Operation::ReadLink,
        8 => Operation::MakeFile(first(), fields.u32()),
        9 => {
            let (mode, umask) = (fields.u32(), fields.u32());
            Operation::MakeDirectory(first(), mode & !umask)
        }
        10 | 11 => Operation::Remove(first(), code == 11),
        12 | 45 => {
            let (parent, flags) = (fields.u64(), if code == 45 { fields.u32() } else { 0 });
            let (from, rest) = name(payload);
            Operation::Rename(parent, flags, from, name(rest).0)
        }
        14 => Operation::Open(fields.u32().cast_signed()),
        15 => Operation::Read(fields.u64(), fields.u64(), fields.u32()),
        16 => Operation::Write(fields.u64(), fields.u64()),
        17 => Operation::Space,
        18 => Operation::Release(fields.u64()),
        20 => Operation::Sync(fields.u64()),
        21 | 24 => Operation::SetExtended,
        22 => Operation::Extended(first(), fields.u32()),
        23 => Operation::ExtendedNames(fields.u32()),
        25 => Operation::Flush(fields.u64()),
        28 | 44 => {
            let (_handle, offset) = (fields.u64(), fields.u64());
            Operation::List(offset, fields.u32(), code == 44)
        }
        30 => Operation::SyncDirectory,
        34 => Operation::Access(fields.u32()),
        35 => {
            let (_flags, mode, umask) = (fields.u32(), fields.u32(), fields.u32());
            Operation::Create(first(), mode & !umask)
        }
        38 => Operation::Destroy,
        // Symbolic and hard links.
        6 | 13 => Operation::Refused(Errno::EPERM),
        39 => Operation::Refused(Errno::ENOTTY),
        _ => Operation::Refused(Errno::ENOSYS),
    }
}

/// `fuse_setattr_in`
fn setting(mut fields: Fields<'_>) -> Setting {
    const MODE: u32 = 1;
    const SIZE: u32 = 1 << 3;
    const MODIFIED: u32 = 1 << 5;
    const HANDLE: u32 = 1 << 6;
    const NOW: u32 = 1 << 8;
    let (valid, _padding) = (fields.u32(), fields.u32());
    let (handle, size) = (fields.u64(), fields.u64());
    let (_owner, _accessed, modified, _changed) =
        (fields.u64(), fields.u64(), fields.u64(), fields.u64());
    let (_accessed, nanos, _changed) = (fields.u32(), fields.u32(), fields.u32());
    let mode = fields.u32();
    let has = |bit: u32| valid & bit != 0;
    let time = if has(NOW) {
        SystemTime::now()
    } else {
        // Times before 1970 come as very large numbers, and are shown as 1970.
        let since = Duration::new(modified, nanos.min(999_999_999));
        UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
    };
    Setting {
        mode: has(MODE).then(|| u16::try_from(mode & 0o7777).unwrap_or_default()),
        modified: has(MODIFIED).then_some(time),
        now: has(NOW),
        size: has(SIZE).then_some(size),
        number: has(HANDLE).then_some(handle),
    }
}
