//! Requests as values: the caller, the inode and the operation.
//!
//! How the kernel encodes them is in `transport/decode.rs`.

use std::ffi::OsString;
use std::time::SystemTime;

use fuser::Errno;

use super::caller::Caller;
use crate::tree::Seek;

/// A request of the kernel.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) caller: Caller,
    pub(super) ino: u64,
    pub(super) operation: Operation,
}

/// What a request asks for.
#[derive(Debug)]
pub(super) enum Operation {
    /// About the names in the directory that the request's inode is.
    Entry(EntryOperation),
    /// About the inode itself.
    Inode(InodeOperation),
    /// About an open file, by its handle number.
    File(u64, FileOperation),
    /// statfs(2)
    Space,
    /// The mount has ended.
    Destroy,
    /// An operation that is not supported. The error tells the kernel what to do instead.
    Unsupported(Errno),
}

/// What is asked for in a directory.
#[derive(Debug)]
pub(super) enum EntryOperation {
    Lookup(OsString),
    /// mknod(2); the umask is already applied to `mode`.
    MakeFile {
        name: OsString,
        mode: u32,
    },
    /// mkdir(2); the umask is already applied to `mode`.
    MakeDirectory {
        name: OsString,
        mode: u32,
    },
    /// unlink(2)
    RemoveFile(OsString),
    /// rmdir(2)
    RemoveDirectory(OsString),
    /// renameat2(2)
    Rename {
        name: OsString,
        to_directory: u64,
        to_name: OsString,
        flags: u32,
    },
    /// open(2) with `O_CREAT`; the umask is already applied to `mode`.
    Create {
        name: OsString,
        mode: u32,
        flags: i32,
    },
}

/// What is asked about an inode.
#[derive(Debug)]
pub(super) enum InodeOperation {
    Attributes,
    SetAttributes(SetAttributes),
    ReadLink,
    /// The mask of access(2).
    Access(u32),
    /// The flags of open(2).
    Open(i32),
    /// The names in a directory.
    List(ListRequest),
    /// fsync(2) of a directory.
    SyncDirectory,
    /// A value of at most `bytes`, or its length if that is 0.
    GetXattr {
        name: OsString,
        bytes: u32,
    },
    ListXattr {
        bytes: u32,
    },
    /// A new value; `None` removes the attribute.
    SetXattr {
        name: OsString,
        value: Option<Vec<u8>>,
    },
}

/// Which part of a listing is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListRequest {
    pub(super) offset: u64,
    /// The size of the reply, at most.
    pub(super) bytes: u32,
    /// Each name with its attributes (`READDIRPLUS`).
    pub(super) plus: bool,
}

/// What is asked about an open file.
#[derive(Clone, Copy, Debug)]
pub(super) enum FileOperation {
    Read {
        offset: u64,
        bytes: u32,
    },
    /// The bytes to write are the request's payload.
    Write {
        offset: u64,
        drops_privileges: bool,
    },
    /// lseek(2); `None` for what the kernel computes itself.
    Seek {
        offset: u64,
        target: Option<Seek>,
    },
    /// fallocate(2)
    Allocate {
        offset: u64,
        len: u64,
        flags: u32,
    },
    /// close(2) of one descriptor.
    Flush,
    /// fsync(2)
    Sync,
    /// The last descriptor is closed.
    Release,
}

/// What chmod(2), chown(2), utimes(2) and truncate(2) ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SetAttributes {
    pub(super) mode: Option<u16>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) accessed: Option<SystemTime>,
    pub(super) modified: Option<SystemTime>,
    /// Both times are the current time, which every caller with write permission may ask for.
    pub(super) now: bool,
    pub(super) size: Option<u64>,
    /// Truncation clears set-user-ID and set-group-ID.
    pub(super) drops_privileges: bool,
    /// The handle number, for calls on an open file such as ftruncate(2).
    pub(super) handle: Option<u64>,
}

impl SetAttributes {
    /// Returns `true` if the request may take long: it moves data, or changes what everything
    /// below a directory shows.
    pub(super) fn may_block(&self) -> bool {
        let ownership = self.mode.is_some() || self.uid.or(self.gid).is_some();
        ownership || self.size.is_some_and(|size| size > 0)
    }

    /// Returns `true` if anything besides the length is to change.
    pub(super) fn changes_attributes(&self) -> bool {
        self.mode.is_some()
            || self.uid.or(self.gid).is_some()
            || self.accessed.or(self.modified).is_some()
    }
}
