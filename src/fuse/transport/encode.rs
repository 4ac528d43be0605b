//! Encoding: reply values to bytes, as `include/uapi/linux/fuse.h` lays them out (protocol
//! 7.40).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType};

use crate::fuse::reply::{AttributesReply, EntryReply, OpenReply, Reply};
use crate::tree::DiskSpace;

/// Bytes of a listing of a few names.
const SHORT_LISTING: usize = 1000;
/// Bytes of a `fuse_out_header`.
const HEADER: usize = 16;

/// An encoded reply.
#[derive(Debug)]
pub(super) struct EncodedReply {
    /// A negative errno, or 0.
    error: i32,
    /// The operation's own structure and what follows it.
    pub(super) body: EncodedBody,
}

/// The body of a reply.
#[derive(Debug)]
pub(super) enum EncodedBody {
    Bytes(Vec<u8>),
    /// The number of bytes that are already where the transport sends them from.
    InPlace(usize),
}

impl EncodedBody {
    /// Returns the length in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::InPlace(len) => *len,
        }
    }
}

/// Appends numbers in the byte order of the machine.
trait AppendNumbers {
    fn u32(&mut self, number: u32) -> &mut Self;
    fn u64(&mut self, number: u64) -> &mut Self;
}

impl AppendNumbers for Vec<u8> {
    fn u32(&mut self, number: u32) -> &mut Self {
        self.extend(number.to_ne_bytes());
        self
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.extend(number.to_ne_bytes());
        self
    }
}

impl From<Errno> for EncodedReply {
    fn from(error: Errno) -> Self {
        Self {
            error: -error.code(),
            body: EncodedBody::Bytes(Vec::new()),
        }
    }
}

impl From<Vec<u8>> for EncodedReply {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            error: 0,
            body: EncodedBody::Bytes(bytes),
        }
    }
}

impl From<Reply> for EncodedReply {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Done => Vec::new().into(),
            Reply::Error(error) => error.into(),
            Reply::Entry(entry) => bytes(128, |to| put_entry(to, &entry)),
            Reply::Attributes(shown) => bytes(104, |to| put_attributes_reply(to, &shown)),
            Reply::Opened(opened) => bytes(16, |to| put_opened(to, &opened)),
            Reply::Created(entry, opened) => bytes(144, |to| {
                put_entry(to, &entry);
                put_opened(to, &opened);
            }),
            Reply::Written(len) => size(len),
            // `fuse_lseek_out`
            Reply::Offset(offset) => offset.to_ne_bytes().to_vec().into(),
            Reply::Xattr { value, room } => xattr(value, room),
            Reply::Space(space) => bytes(80, |to| put_space(to, &space)),
            Reply::Bytes(bytes) => bytes.into(),
            Reply::InPlace(len) => Self {
                error: 0,
                body: EncodedBody::InPlace(len),
            },
        }
    }
}

impl EncodedReply {
    /// Returns the `fuse_out_header` of the reply to the request with this number.
    pub(super) fn header(&self, unique: u64) -> [u8; HEADER] {
        let len = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        let mut header = [0; HEADER];
        let fields = [
            &len.to_ne_bytes()[..],
            &self.error.to_ne_bytes(),
            &unique.to_ne_bytes(),
        ];
        for (to, from) in header.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        header
    }
}

fn bytes(capacity: usize, put: impl FnOnce(&mut Vec<u8>)) -> EncodedReply {
    let mut bytes = Vec::with_capacity(capacity);
    put(&mut bytes);
    bytes.into()
}

/// `fuse_write_out`, `fuse_getxattr_out`
fn size(size: u32) -> EncodedReply {
    bytes(8, |to| {
        to.u32(size).u32(0);
    })
}

/// The value of an extended attribute, or its length, as getxattr(2) and
/// listxattr(2) want it.
fn xattr(value: Vec<u8>, room: u32) -> EncodedReply {
    match u32::try_from(value.len()) {
        Ok(len) if room == 0 => size(len),
        Ok(len) if len <= room => value.into(),
        Ok(_) | Err(_) => Errno::ERANGE.into(),
    }
}

/// `fuse_statfs_out`
fn put_space(bytes: &mut Vec<u8>, space: &DiskSpace) {
    const BLOCK: u32 = 4096;
    let blocks = |bytes: u64| bytes / u64::from(BLOCK);
    for count in [space.total, space.free, space.available] {
        bytes.u64(blocks(count));
    }
    bytes.u64(0).u64(0);
    for number in [BLOCK, 255, BLOCK] {
        bytes.u32(number);
    }
    bytes.resize(80, 0);
}

/// `fuse_attr_out`
fn put_attributes_reply(bytes: &mut Vec<u8>, shown: &AttributesReply) {
    let lifetime = shown.lifetime;
    bytes
        .u64(lifetime.as_secs())
        .u32(lifetime.subsec_nanos())
        .u32(0);
    put_attributes(bytes, &shown.attributes);
}

/// `fuse_entry_out`
fn put_entry(bytes: &mut Vec<u8>, entry: &EntryReply) {
    let lifetime = entry.shown.lifetime;
    let (seconds, nanos) = (lifetime.as_secs(), lifetime.subsec_nanos());
    bytes.u64(entry.node).u64(0);
    bytes.u64(seconds).u64(seconds).u32(nanos).u32(nanos);
    put_attributes(bytes, &entry.shown.attributes);
}

/// `fuse_open_out`
fn put_opened(bytes: &mut Vec<u8>, opened: &OpenReply) {
    let backing = opened.backing.unwrap_or_default();
    bytes
        .u64(opened.handle)
        .u32(opened.flags.bits())
        .u32(backing);
}

/// `fuse_attr`
fn put_attributes(bytes: &mut Vec<u8>, attributes: &FileAttr) {
    let times = [attributes.atime, attributes.mtime, attributes.ctime].map(since);
    bytes
        .u64(attributes.ino.0)
        .u64(attributes.size)
        .u64(attributes.blocks);
    for (seconds, _) in times {
        bytes.u64(seconds.cast_unsigned());
    }
    for (_, nanos) in times {
        bytes.u32(nanos);
    }
    let mode = kind(attributes.kind) | u32::from(attributes.perm);
    for number in [
        mode,
        attributes.nlink,
        attributes.uid,
        attributes.gid,
        attributes.rdev,
        attributes.blksize,
        attributes.flags,
    ] {
        bytes.u32(number);
    }
}

/// Splits a time into seconds since 1970 and nanoseconds after that second.
fn since(time: SystemTime) -> (i64, u32) {
    let seconds = |since: Duration| i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => (seconds(since), since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => (-seconds(before), 0),
                nanos => (-seconds(before) - 1, 1_000_000_000 - nanos),
            }
        }
    }
}

fn kind(kind: FileType) -> u32 {
    match kind {
        FileType::Directory => libc::S_IFDIR,
        FileType::Symlink => libc::S_IFLNK,
        FileType::NamedPipe => libc::S_IFIFO,
        FileType::Socket => libc::S_IFSOCK,
        FileType::CharDevice => libc::S_IFCHR,
        FileType::BlockDevice => libc::S_IFBLK,
        FileType::RegularFile => libc::S_IFREG,
    }
}

/// The reply to a listing: `fuse_dirent` or `fuse_direntplus` rows.
///
/// Rows are encoded as they are added, since their encoded size decides how many fit.
#[derive(Debug)]
pub(in crate::fuse) struct ListingBuffer {
    bytes: Vec<u8>,
    max: usize,
    /// The kernel wants attributes with the names.
    plus: bool,
}

/// A row of a listing, as the kernel wants it.
pub(in crate::fuse) struct DirentRow<'a> {
    /// The inode number that stat(2) shows.
    pub(in crate::fuse) ino: u64,
    /// The offset of the next row.
    pub(in crate::fuse) next: u64,
    pub(in crate::fuse) kind: FileType,
    pub(in crate::fuse) name: &'a OsStr,
}

impl ListingBuffer {
    /// Returns an empty listing that takes at most `max` bytes.
    pub(in crate::fuse) fn new(max: u32, plus: bool) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        // Most directories hold a name or two.
        let bytes = Vec::with_capacity(SHORT_LISTING);
        Self { bytes, max, plus }
    }

    /// Adds a row. Returns `true` if the listing was full and the row is not in it. Without an
    /// entry the kernel creates no inode for the row, and looks the name up when it needs one.
    pub(in crate::fuse) fn add(&mut self, row: &DirentRow<'_>, entry: Option<&EntryReply>) -> bool {
        const ENTRY: usize = 128;
        const ROW: usize = 24;
        let start = self.bytes.len();
        let plus = if self.plus { ENTRY } else { 0 };
        let end = start + (plus + ROW + row.name.len()).next_multiple_of(8);
        if end > self.max {
            return true;
        }
        if let Some(entry) = entry.filter(|_| self.plus) {
            put_entry(&mut self.bytes, entry);
        }
        self.bytes.resize(start + plus, 0);
        let name_len = u32::try_from(row.name.len()).unwrap_or_default();
        let kind = kind(row.kind) >> 12;
        self.bytes
            .u64(row.ino)
            .u64(row.next)
            .u32(name_len)
            .u32(kind);
        self.bytes.extend(row.name.as_bytes());
        self.bytes.resize(end, 0);
        false
    }

    /// Returns the encoded rows.
    pub(in crate::fuse) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
