//! Replies as values, and the slot that takes one.
//!
//! How the kernel wants them encoded is in `transport/encode.rs`.

use std::time::Duration;

use fuser::{Errno, FileAttr, FopenFlags};

use crate::tree::DiskSpace;

/// The reply to a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// Success, and nothing to tell.
    Done,
    Error(Errno),
    Entry(EntryReply),
    Attributes(AttributesReply),
    Opened(OpenReply),
    Created(EntryReply, OpenReply),
    /// The number of bytes written.
    Written(u32),
    /// The offset found by lseek(2).
    Offset(u64),
    /// The value of an extended attribute. The caller has room for `room` bytes; 0 asks for the
    /// length alone.
    Xattr {
        value: Vec<u8>,
        room: u32,
    },
    Space(DiskSpace),
    /// The target of a symbolic link, or an encoded listing.
    Bytes(Vec<u8>),
    /// The number of bytes read into the slot's [buffer](ReplySlot::buffer).
    InPlace(usize),
}

/// What stat(2) shows of an inode.
#[derive(Debug)]
pub(super) struct AttributesReply {
    pub(super) attributes: FileAttr,
    /// How long the kernel may cache this.
    pub(super) lifetime: Duration,
}

/// A resolved name.
#[derive(Debug)]
pub(super) struct EntryReply {
    /// The inode's number for the kernel, which is not the one that stat(2) shows.
    pub(super) node: u64,
    /// The lifetime is also that of the name.
    pub(super) shown: AttributesReply,
}

/// An opened file.
#[derive(Debug)]
pub(super) struct OpenReply {
    /// The handle number.
    pub(super) handle: u64,
    pub(super) flags: FopenFlags,
    /// The number of the backing file, if the kernel reads and writes that itself.
    pub(super) backing: Option<u32>,
}

impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl From<EntryReply> for Reply {
    fn from(entry: EntryReply) -> Self {
        Self::Entry(entry)
    }
}

impl From<AttributesReply> for Reply {
    fn from(attributes: AttributesReply) -> Self {
        Self::Attributes(attributes)
    }
}

impl From<OpenReply> for Reply {
    fn from(opened: OpenReply) -> Self {
        Self::Opened(opened)
    }
}

impl From<(EntryReply, OpenReply)> for Reply {
    fn from((entry, opened): (EntryReply, OpenReply)) -> Self {
        Self::Created(entry, opened)
    }
}

impl From<DiskSpace> for Reply {
    fn from(space: DiskSpace) -> Self {
        Self::Space(space)
    }
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<T: Into<Reply>> From<Result<T, Errno>> for Reply {
    fn from(result: Result<T, Errno>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(error) => Self::Error(error),
        }
    }
}

/// A request that waits for its reply. Dropping the slot unanswered, as a panic does, replies
/// EIO.
pub(super) trait ReplySlot: Send + 'static {
    /// The bytes that a write brings.
    fn payload(&self) -> &[u8];

    /// Up to `len` bytes of room for the start of the reply. It overwrites the payload.
    fn buffer(&mut self, len: usize) -> &mut [u8];

    /// Sends the reply.
    fn reply(self, reply: Reply);
}
