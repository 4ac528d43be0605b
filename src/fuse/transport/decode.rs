//! Decoding: bytes to request values, as `include/uapi/linux/fuse.h` lays them out (protocol
//! 7.40).

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::Errno;

use super::opcode;
use crate::fuse::caller::Caller;
use crate::fuse::request::{
    EntryOperation, FileOperation, InodeOperation, ListRequest, Operation, Request, SetAttributes,
};
use crate::tree::Seek;

/// Bytes of a `fuse_in_header`.
const HEADER: usize = 40;

/// `FUSE_WRITE_KILL_SUIDGID`
const WRITE_KILL_SUIDGID: u32 = 1 << 2;

/// Reads numbers in the byte order of the machine; 0 after the end.
struct NumberReader<'a>(&'a [u8]);

impl NumberReader<'_> {
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

/// Splits off the first name, which ends with a zero byte.
fn name(bytes: &[u8]) -> (OsString, &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let name = OsStr::from_bytes(parts.next().unwrap_or_default());
    (name.to_owned(), parts.next().unwrap_or_default())
}

/// The parts of an encoded request.
#[derive(Debug)]
pub(super) struct RequestFrame<'a> {
    header: RequestHeader,
    /// The operation's own structure.
    structure: &'a [u8],
    /// What follows it: names, bytes to write.
    payload: &'a [u8],
}

/// `fuse_in_header`
#[derive(Debug)]
struct RequestHeader {
    code: u32,
    unique: u64,
    ino: u64,
    caller: Caller,
    /// Bytes of extensions at the end of the payload.
    extensions: usize,
}

impl RequestHeader {
    fn read(bytes: &[u8]) -> Self {
        let mut fields = NumberReader(bytes);
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
                sent_group: None,
            },
            extensions: usize::from(u16::from_ne_bytes(fields.take())) * 8,
        }
    }
}

impl<'a> RequestFrame<'a> {
    /// Returns a request whose parts are in separate memory.
    pub(super) fn of(header: &[u8], structure: &'a [u8], payload: &'a [u8]) -> Self {
        Self {
            header: RequestHeader::read(header),
            structure,
            payload,
        }
    }

    /// Returns a request whose parts follow each other in `bytes`.
    pub(super) fn split(bytes: &'a [u8]) -> Self {
        let (header, rest) = bytes.split_at_checked(HEADER).unwrap_or((bytes, &[]));
        let header = RequestHeader::read(header);
        let len = opcode::structure_len(header.code);
        let (structure, payload) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        Self {
            header,
            structure,
            payload,
        }
    }

    /// Returns the supplementary group of the caller that owns the directory in which the caller
    /// makes something, if the kernel sent one (`fuse_ext_header`, `fuse_supp_groups`).
    fn sent_group(&self) -> Option<u32> {
        const GROUPS: u32 = 32;
        let start = self.payload.len().checked_sub(self.header.extensions)?;
        let mut fields = NumberReader(self.payload.get(start..)?);
        let (_size, kind, count, group) = (fields.u32(), fields.u32(), fields.u32(), fields.u32());
        (kind == GROUPS && count > 0).then_some(group)
    }

    /// Returns the number that the reply must carry.
    pub(super) fn unique(&self) -> u64 {
        self.header.unique
    }

    /// Returns the position of the payload in a request whose parts follow each other.
    pub(super) fn payload_range(&self) -> Range<usize> {
        let start = HEADER + self.structure.len();
        start..start + self.payload.len()
    }

    /// Returns the inodes that the kernel has forgotten, with the number of lookups of each, or
    /// `None` for any other request. The kernel expects no reply to a forget.
    pub(super) fn forgotten(&self) -> Option<Vec<(u64, u64)>> {
        let mut fields = NumberReader(self.structure);
        match self.header.code {
            opcode::FORGET => Some(vec![(self.header.ino, fields.u64())]),
            opcode::BATCH_FORGET => {
                let rows = self.payload.chunks_exact(16).map(NumberReader);
                Some(rows.map(|mut row| (row.u64(), row.u64())).collect())
            }
            _ => None,
        }
    }
}

/// Decodes a request, with the names that follow it.
pub(super) fn request(frame: &RequestFrame<'_>) -> Request {
    let header = &frame.header;
    let code = header.code;
    let entry = || entry_operation(code, frame).map(Operation::Entry);
    let inode = || inode_operation(code, frame).map(Operation::Inode);
    let file = || file_operation(code, frame);
    let operation = entry().or_else(inode).or_else(file);
    Request {
        caller: Caller {
            sent_group: frame.sent_group(),
            ..header.caller
        },
        ino: header.ino,
        operation: operation.unwrap_or_else(|| other_operation(code)),
    }
}

fn entry_operation(code: u32, frame: &RequestFrame<'_>) -> Option<EntryOperation> {
    let (mut fields, payload) = (NumberReader(frame.structure), frame.payload);
    let first = || name(payload).0;
    Some(match code {
        opcode::LOOKUP => EntryOperation::Lookup(first()),
        opcode::MKNOD => EntryOperation::MakeFile {
            name: first(),
            mode: fields.u32(),
        },
        opcode::MKDIR => {
            let (mode, umask) = (fields.u32(), fields.u32());
            EntryOperation::MakeDirectory {
                name: first(),
                mode: mode & !umask,
            }
        }
        opcode::UNLINK => EntryOperation::RemoveFile(first()),
        opcode::RMDIR => EntryOperation::RemoveDirectory(first()),
        opcode::RENAME | opcode::RENAME2 => {
            let to_directory = fields.u64();
            let flags = if code == opcode::RENAME2 {
                fields.u32()
            } else {
                0
            };
            let (from, rest) = name(payload);
            EntryOperation::Rename {
                name: from,
                to_directory,
                to_name: name(rest).0,
                flags,
            }
        }
        opcode::CREATE => {
            let (flags, mode, umask) = (fields.u32(), fields.u32(), fields.u32());
            EntryOperation::Create {
                name: first(),
                mode: mode & !umask,
                flags: flags.cast_signed(),
            }
        }
        _ => return None,
    })
}

fn inode_operation(code: u32, frame: &RequestFrame<'_>) -> Option<InodeOperation> {
    let (mut fields, payload) = (NumberReader(frame.structure), frame.payload);
    let first = || name(payload).0;
    Some(match code {
        opcode::GETATTR => InodeOperation::Attributes,
        opcode::SETATTR => InodeOperation::SetAttributes(set_attributes(fields)),
        opcode::READLINK => InodeOperation::ReadLink,
        opcode::ACCESS => InodeOperation::Access(fields.u32()),
        opcode::OPEN => InodeOperation::Open(fields.u32().cast_signed()),
        opcode::READDIR | opcode::READDIRPLUS => {
            let (_handle, offset) = (fields.u64(), fields.u64());
            InodeOperation::List(ListRequest {
                offset,
                bytes: fields.u32(),
                plus: code == opcode::READDIRPLUS,
            })
        }
        opcode::FSYNCDIR => InodeOperation::SyncDirectory,
        opcode::GETXATTR => InodeOperation::GetXattr {
            name: first(),
            bytes: fields.u32(),
        },
        opcode::LISTXATTR => InodeOperation::ListXattr {
            bytes: fields.u32(),
        },
        opcode::SETXATTR => {
            let size = usize::try_from(fields.u32()).unwrap_or(usize::MAX);
            let (name, value) = name(payload);
            let value = value.get(..size).unwrap_or(value);
            InodeOperation::SetXattr {
                name,
                value: Some(value.to_vec()),
            }
        }
        opcode::REMOVEXATTR => InodeOperation::SetXattr {
            name: first(),
            value: None,
        },
        _ => return None,
    })
}

fn file_operation(code: u32, frame: &RequestFrame<'_>) -> Option<Operation> {
    let mut fields = NumberReader(frame.structure);
    let handle = fields.u64();
    let operation = match code {
        opcode::READ => FileOperation::Read {
            offset: fields.u64(),
            bytes: fields.u32(),
        },
        opcode::WRITE => {
            let offset = fields.u64();
            let (_size, flags) = (fields.u32(), fields.u32());
            FileOperation::Write {
                offset,
                drops_privileges: flags & WRITE_KILL_SUIDGID != 0,
            }
        }
        opcode::LSEEK => FileOperation::Seek {
            offset: fields.u64(),
            target: Seek::from_whence(fields.u32()),
        },
        opcode::FALLOCATE => FileOperation::Allocate {
            offset: fields.u64(),
            len: fields.u64(),
            flags: fields.u32(),
        },
        opcode::FLUSH => FileOperation::Flush,
        opcode::FSYNC => FileOperation::Sync,
        opcode::RELEASE => FileOperation::Release,
        _ => return None,
    };
    Some(Operation::File(handle, operation))
}

fn other_operation(code: u32) -> Operation {
    match code {
        opcode::STATFS => Operation::Space,
        opcode::DESTROY => Operation::Destroy,
        opcode::SYMLINK | opcode::LINK => Operation::Unsupported(Errno::EPERM),
        opcode::IOCTL => Operation::Unsupported(Errno::ENOTTY),
        _ => Operation::Unsupported(Errno::ENOSYS),
    }
}

/// `fuse_setattr_in`
fn set_attributes(mut fields: NumberReader<'_>) -> SetAttributes {
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
    SetAttributes {
        mode: has(MODE).then(|| u16::try_from(mode & 0o7777).unwrap_or_default()),
        uid: has(UID).then_some(uid),
        gid: has(GID).then_some(gid),
        accessed: has(ACCESSED).then(|| time(ACCESSED_NOW, accessed, accessed_nanos)),
        modified: has(MODIFIED).then(|| time(MODIFIED_NOW, modified, modified_nanos)),
        now: has(ACCESSED_NOW) && has(MODIFIED_NOW),
        size: has(SIZE).then_some(size),
        drops_privileges: has(DROPS_PRIVILEGES),
        handle: has(HANDLE).then_some(handle),
    }
}

/// Decodes a time. The seconds are negative for a time before 1970.
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

    /// A request about inode 7 in one buffer.
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
    fn a_request_decodes_to_the_same_from_one_buffer_and_from_parts() {
        let rename: [&[u8]; 3] = [
            &8_u64.to_ne_bytes(),
            &[1, 0, 0, 0, 0, 0, 0, 0],
            b"old\0new\0",
        ];
        let read = [3_u64, 4096, 512, 0, 0].map(u64::to_ne_bytes).concat();
        let cases: [(u32, &[&[u8]], &str); 4] = [
            (1, &[b"name\0"], r#"Entry(Lookup("name"))"#),
            (
                45,
                &rename,
                r#"Entry(Rename { name: "old", to_directory: 8, to_name: "new", flags: 1 })"#,
            ),
            (15, &[&read], "File(3, Read { offset: 4096, bytes: 512 })"),
            (36, &[&[0; 8]], "Unsupported(Errno(38))"),
        ];
        for (code, rest, said) in cases {
            let bytes = piece(code, rest);
            let frame = RequestFrame::split(&bytes);
            let request = super::request(&frame);
            assert_eq!(format!("{:?}", request.operation), said);
            assert_eq!((frame.unique(), request.ino), (99, 7));
            let caller = request.caller;
            assert_eq!((caller.uid, caller.gid, caller.pid), (1000, 100, 42));
            // As a ring delivers it: each part in a larger buffer.
            let mut structure = frame.structure.to_vec();
            structure.resize(128, 0);
            let parts = RequestFrame::of(&bytes, &structure, frame.payload);
            assert_eq!(format!("{:?}", super::request(&parts).operation), said);
        }
    }

    #[test]
    fn the_supplementary_group_follows_the_name() {
        let group = [16_u32, 32, 1, 4242].map(u32::to_ne_bytes).concat();
        let mut bytes = piece(9, &[&[0; 8], b"name\0\0\0\0", &group]);
        assert_eq!(
            request(&RequestFrame::split(&bytes)).caller.sent_group,
            None
        );
        bytes[36] = 2;
        let request = super::request(&RequestFrame::split(&bytes));
        assert_eq!(request.caller.sent_group, Some(4242));
    }

    #[test]
    fn the_payload_of_a_write_follows_its_structure() {
        let write = [3_u64, 0, 5, 0, 0].map(u64::to_ne_bytes).concat();
        let bytes = piece(16, &[&write, b"bytes"]);
        let range = RequestFrame::split(&bytes).payload_range();
        assert_eq!(bytes.get(range), Some(&b"bytes"[..]));
    }

    #[test]
    fn a_forget_expects_no_reply() {
        let forget = piece(2, &[&3_u64.to_ne_bytes()]);
        assert_eq!(RequestFrame::split(&forget).forgotten(), Some(vec![(7, 3)]));
        let rows = [5_u64, 1, 6, 2].map(u64::to_ne_bytes).concat();
        let batch = piece(42, &[&[2, 0, 0, 0, 0, 0, 0, 0], &rows]);
        let forgotten = RequestFrame::split(&batch).forgotten();
        assert_eq!(forgotten, Some(vec![(5, 1), (6, 2)]));
        assert_eq!(
            RequestFrame::split(&piece(3, &[&[0; 16]])).forgotten(),
            None
        );
        // A truncated request is harmless.
        assert_eq!(
            RequestFrame::split(&forget[..12]).forgotten(),
            Some(vec![(0, 0)])
        );
    }
}
