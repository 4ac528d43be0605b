//! Requests, as `include/uapi/linux/fuse.h` lays them out (protocol 7.40), decoded.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::Errno;

use super::access::Caller;
use super::names::Setting;
use crate::tree::Seek;

/// Bytes of a request's header.
const HEADER: usize = 40;

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
    /// The name, the mode without what the umask takes away, and the flags.
    Create(OsString, u32, i32),
    /// Handle, offset, bytes at most.
    Read(u64, u64, u32),
    /// Handle, offset, and whether privileges of the file go; what follows the request.
    Write(u64, u64, bool),
    /// Handle, offset, and what to look for; nothing of what the kernel finds by itself.
    Seek(u64, u64, Option<Seek>),
    /// Handle, offset, length, flags.
    Allocate(u64, u64, u64, u32),
    Space,
    Release(u64),
    Sync(u64),
    Flush(u64),
    /// The name and the most bytes, 0 if just the length is asked for.
    Extended(OsString, u32),
    ExtendedNames(u32),
    /// The name and the value; none to remove it.
    SetExtended(OsString, Option<Vec<u8>>),
    /// Offset, bytes at most, and whether with attributes.
    List(u64, u32, bool),
    SyncDirectory,
    /// The mount has ended.
    Destroy,
    /// What we do not do, by which the kernel knows how to go on.
    Refused(Errno),
}

/// That whoever writes may not leave set-user-ID and set-group-ID to the file.
const DROPS_PRIVILEGES: u32 = 1 << 2;

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

/// The parts of a request as they came.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    header: Header,
    /// The operation's own structure.
    structure: &'a [u8],
    /// What follows: names, bytes to write.
    payload: &'a [u8],
}

/// `fuse_in_header`
#[derive(Debug)]
struct Header {
    code: u32,
    unique: u64,
    ino: u64,
    caller: Caller,
    /// Bytes of what is told besides, behind all else.
    besides: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes);
        let (_len, code) = (fields.u32(), fields.u32());
        let (unique, ino) = (fields.u64(), fields.u64());
        let (uid, gid, pid) = (fields.u32(), fields.u32(), fields.u32());
        Self {
            code,
            unique,
            ino,
            caller: Caller {
                pid,
                uid,
                gid,
                member: None,
            },
            besides: usize::from(u16::from_ne_bytes(fields.take())) * 8,
        }
    }
}

impl<'a> Frame<'a> {
    /// A request whose parts came in places of their own.
    pub(super) fn of(header: &[u8], structure: &'a [u8], payload: &'a [u8]) -> Self {
        Self {
            header: Header::read(header),
            structure,
            payload,
        }
    }

    /// A request whose parts came in one piece.
    pub(super) fn split(bytes: &'a [u8]) -> Self {
        let (header, rest) = bytes.split_at_checked(HEADER).unwrap_or((bytes, &[]));
        let header = Header::read(header);
        let len = structure_len(header.code);
        let (structure, payload) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        Self {
            header,
            structure,
            payload,
        }
    }

    /// The supplementary group of the caller that is the directory's in which something is made
    /// (`fuse_ext_header`, `fuse_supp_groups`).
    fn member(&self) -> Option<u32> {
        const GROUPS: u32 = 32;
        let start = self.payload.len().checked_sub(self.header.besides)?;
        let mut fields = Fields(self.payload.get(start..)?);
        let (_size, kind, count, group) = (fields.u32(), fields.u32(), fields.u32(), fields.u32());
        (kind == GROUPS && count > 0).then_some(group)
    }

    /// The number that the answer must name.
    pub(super) fn unique(&self) -> u64 {
        self.header.unique
    }

    /// Where in one piece what follows the structure stands.
    pub(super) fn payload_range(&self) -> Range<usize> {
        let start = HEADER + self.structure.len();
        start..start + self.payload.len()
    }

    /// The inodes that the kernel has forgotten, and how often each, which it wants no answer to.
    pub(super) fn forgotten(&self) -> Option<Vec<(u64, u64)>> {
        let mut fields = Fields(self.structure);
        match self.header.code {
            2 => Some(vec![(self.header.ino, fields.u64())]),
            42 => {
                let rows = self.payload.chunks_exact(16).map(Fields);
                Some(rows.map(|mut row| (row.u64(), row.u64())).collect())
            }
            _ => None,
        }
    }
}

/// Bytes of an operation's own structure.
fn structure_len(code: u32) -> usize {
    match code {
        // FORGET, MKDIR, RENAME, LINK, OPEN, SETXATTR, GETXATTR, LISTXATTR, ACCESS, BATCH_FORGET
        2 | 9 | 12 | 13 | 14 | 21 | 22 | 23 | 34 | 42 => 8,
        // GETATTR, MKNOD, FSYNC, FSYNCDIR, CREATE, RENAME2
        3 | 8 | 20 | 30 | 35 | 45 => 16,
        // RELEASE, FLUSH, LSEEK
        18 | 25 | 46 => 24,
        // FALLOCATE
        43 => 32,
        // READ, WRITE, READDIR, READDIRPLUS
        15 | 16 | 28 | 44 => 40,
        // SETATTR
        4 => 88,
        _ => 0,
    }
}

impl Request {
    /// Decodes a request, and the names that follow it.
    pub(super) fn read(frame: &Frame<'_>) -> Self {
        let header = &frame.header;
        let member = frame.member();
        Self {
            caller: Caller {
                member,
                ..header.caller
            },
            ino: header.ino,
            operation: operation(header.code, frame),
        }
    }
}

fn operation(code: u32, frame: &Frame<'_>) -> Operation {
    let (mut fields, payload) = (Fields(frame.structure), frame.payload);
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
        16 => {
            let (handle, offset) = (fields.u64(), fields.u64());
            let (_size, flags) = (fields.u32(), fields.u32());
            Operation::Write(handle, offset, flags & DROPS_PRIVILEGES != 0)
        }
        17 => Operation::Space,
        18 => Operation::Release(fields.u64()),
        20 => Operation::Sync(fields.u64()),
        21 => {
            let size = usize::try_from(fields.u32()).unwrap_or(usize::MAX);
            let (name, value) = name(payload);
            let value = value.get(..size).unwrap_or(value);
            Operation::SetExtended(name, Some(value.to_vec()))
        }
        24 => Operation::SetExtended(first(), None),
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
            let (flags, mode, umask) = (fields.u32(), fields.u32(), fields.u32());
            Operation::Create(first(), mode & !umask, flags.cast_signed())
        }
        38 => Operation::Destroy,
        // Symbolic and hard links.
        6 | 13 => Operation::Refused(Errno::EPERM),
        39 => Operation::Refused(Errno::ENOTTY),
        43 => {
            let (handle, offset, len) = (fields.u64(), fields.u64(), fields.u64());
            Operation::Allocate(handle, offset, len, fields.u32())
        }
        46 => {
            let (handle, offset) = (fields.u64(), fields.u64());
            Operation::Seek(handle, offset, Seek::from_whence(fields.u32()))
        }
        _ => Operation::Refused(Errno::ENOSYS),
    }
}

/// `fuse_setattr_in`
fn setting(mut fields: Fields<'_>) -> Setting {
    const MODE: u32 = 1;
    const UID: u32 = 1 << 1;
    const GID: u32 = 1 << 2;
    const SIZE: u32 = 1 << 3;
    const ACCESSED: u32 = 1 << 4;
    const MODIFIED: u32 = 1 << 5;
    const HANDLE: u32 = 1 << 6;
    const ACCESSED_NOW: u32 = 1 << 7;
    const MODIFIED_NOW: u32 = 1 << 8;
    const DROPS_PRIVILEGES: u32 = 1 << 11;
    let (valid, _padding) = (fields.u32(), fields.u32());
    let (handle, size) = (fields.u64(), fields.u64());
    let (_owner, accessed, modified, _changed) =
        (fields.u64(), fields.u64(), fields.u64(), fields.u64());
    let (accessed_nanos, modified_nanos, _changed) = (fields.u32(), fields.u32(), fields.u32());
    let (mode, _unused, uid, gid) = (fields.u32(), fields.u32(), fields.u32(), fields.u32());
    let has = |bit: u32| valid & bit != 0;
    let time = |now, seconds, nanos| {
        if has(now) {
            SystemTime::now()
        } else {
            time(seconds, nanos)
        }
    };
    Setting {
        mode: has(MODE).then(|| u16::try_from(mode & 0o7777).unwrap_or_default()),
        uid: has(UID).then_some(uid),
        gid: has(GID).then_some(gid),
        accessed: has(ACCESSED).then(|| time(ACCESSED_NOW, accessed, accessed_nanos)),
        modified: has(MODIFIED).then(|| time(MODIFIED_NOW, modified, modified_nanos)),
        now: has(ACCESSED_NOW) && has(MODIFIED_NOW),
        size: has(SIZE).then_some(size),
        drops_privileges: has(DROPS_PRIVILEGES),
        number: has(HANDLE).then_some(handle),
    }
}

/// A time; the seconds of one before 1970 are a negative number.
fn time(seconds: u64, nanos: u32) -> SystemTime {
    let whole = Duration::from_secs(seconds.cast_signed().unsigned_abs());
    let whole = if seconds.cast_signed() < 0 {
        UNIX_EPOCH.checked_sub(whole)
    } else {
        UNIX_EPOCH.checked_add(whole)
    };
    let nanos = Duration::from_nanos(nanos.min(999_999_999).into());
    let time = whole.and_then(|whole| whole.checked_add(nanos));
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of inode 7 in one piece.
    fn piece(code: u32, rest: &[&[u8]]) -> Vec<u8> {
        let rest = rest.concat();
        let len = u32::try_from(HEADER + rest.len()).unwrap();
        let mut bytes = [len.to_ne_bytes(), code.to_ne_bytes()].concat();
        bytes.extend(99_u64.to_ne_bytes());
        bytes.extend(7_u64.to_ne_bytes());
        for number in [1000_u32, 100, 42, 0] {
            bytes.extend(number.to_ne_bytes());
        }
        [bytes, rest].concat()
    }

    #[test]
    fn a_request_in_one_piece_says_what_it_says_in_parts() {
        let rename: [&[u8]; 3] = [
            &8_u64.to_ne_bytes(),
            &[1, 0, 0, 0, 0, 0, 0, 0],
            b"old\0new\0",
        ];
        let read = [3_u64, 4096, 512, 0, 0].map(u64::to_ne_bytes).concat();
        let cases: [(u32, &[&[u8]], &str); 4] = [
            (1, &[b"name\0"], r#"Lookup("name")"#),
            (45, &rename, r#"Rename(8, 1, "old", "new")"#),
            (15, &[&read], "Read(3, 4096, 512)"),
            (36, &[&[0; 8]], "Refused(Errno(38))"),
        ];
        for (code, rest, said) in cases {
            let bytes = piece(code, rest);
            let frame = Frame::split(&bytes);
            let request = Request::read(&frame);
            assert_eq!(format!("{:?}", request.operation), said);
            assert_eq!((frame.unique(), request.ino), (99, 7));
            let caller = request.caller;
            assert_eq!((caller.uid, caller.gid, caller.pid), (1000, 100, 42));
            // As rings bring it: each part in a place that is longer.
            let mut structure = frame.structure.to_vec();
            structure.resize(128, 0);
            let parts = Frame::of(&bytes, &structure, frame.payload);
            assert_eq!(format!("{:?}", Request::read(&parts).operation), said);
        }
    }

    #[test]
    fn a_group_that_matters_stands_behind_the_name() {
        let group = [16_u32, 32, 1, 4242].map(u32::to_ne_bytes).concat();
        let mut bytes = piece(9, &[&[0; 8], b"name\0\0\0\0", &group]);
        assert_eq!(Request::read(&Frame::split(&bytes)).caller.member, None);
        bytes[36] = 2;
        let request = Request::read(&Frame::split(&bytes));
        assert_eq!(request.caller.member, Some(4242));
    }

    #[test]
    fn what_is_written_stands_behind_the_structure() {
        let write = [3_u64, 0, 5, 0, 0].map(u64::to_ne_bytes).concat();
        let bytes = piece(16, &[&write, b"bytes"]);
        let range = Frame::split(&bytes).payload_range();
        assert_eq!(bytes.get(range), Some(&b"bytes"[..]));
    }

    #[test]
    fn what_the_kernel_forgets_wants_no_answer() {
        let forget = piece(2, &[&3_u64.to_ne_bytes()]);
        assert_eq!(Frame::split(&forget).forgotten(), Some(vec![(7, 3)]));
        let rows = [5_u64, 1, 6, 2].map(u64::to_ne_bytes).concat();
        let batch = piece(42, &[&[2, 0, 0, 0, 0, 0, 0, 0], &rows]);
        let forgotten = Frame::split(&batch).forgotten();
        assert_eq!(forgotten, Some(vec![(5, 1), (6, 2)]));
        assert_eq!(Frame::split(&piece(3, &[&[0; 16]])).forgotten(), None);
        // What is cut short is no request, and does no harm.
        assert_eq!(Frame::split(&forget[..12]).forgotten(), Some(vec![(0, 0)]));
    }
}
