//! Replies, as `include/uapi/linux/fuse.h` lays them out (protocol 7.40).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType};

use super::files::Opened;
use super::service::Entry;
use crate::tree::Space;

/// Bytes of a listing of a few names.
const SHORT: usize = 1000;
/// Bytes of a `fuse_out_header`.
const HEADER: usize = 16;

/// What is answered to a request.
#[derive(Debug)]
pub(super) struct Reply {
    /// What went wrong, as a negative number, or 0.
    error: i32,
    /// The operation's own structure and what follows it.
    pub(super) body: Body,
}

/// What an answer says.
#[derive(Debug)]
pub(super) enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many, which are where the answer goes already.
    InPlace(usize),
}

impl Body {
    /// In bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::InPlace(len) => *len,
        }
    }
}

/// Numbers put one behind the other.
trait Fields {
    fn u32(&mut self, number: u32) -> &mut Self;
    fn u64(&mut self, number: u64) -> &mut Self;
}

impl Fields for Vec<u8> {
    fn u32(&mut self, number: u32) -> &mut Self {
        self.extend(number.to_ne_bytes());
        self
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.extend(number.to_ne_bytes());
        self
    }
}

impl From<Errno> for Reply {
    fn from(error: Errno) -> Self {
        Self {
            error: -error.code(),
            body: Body::Bytes(Vec::new()),
        }
    }
}

impl From<Body> for Reply {
    fn from(body: Body) -> Self {
        Self { error: 0, body }
    }
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Body::Bytes(bytes))
    }
}

impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::from(Vec::new())
    }
}

impl<T: Into<Reply>> From<Result<T, Errno>> for Reply {
    fn from(result: Result<T, Errno>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(error) => error.into(),
        }
    }
}

impl Reply {
    /// `fuse_out_header`
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

    /// `fuse_entry_out`
    pub(super) fn entry(entry: &Entry) -> Self {
        let mut bytes = Vec::with_capacity(128);
        put_entry(&mut bytes, entry);
        bytes.into()
    }

    /// `fuse_attr_out`
    pub(super) fn attributes(entry: &Entry) -> Self {
        let mut bytes = Vec::with_capacity(104);
        let lifetime = entry.lifetime;
        bytes
            .u64(lifetime.as_secs())
            .u32(lifetime.subsec_nanos())
            .u32(0);
        put_attributes(&mut bytes, &entry.attributes);
        bytes.into()
    }

    /// `fuse_open_out`
    pub(super) fn opened(opened: &Opened) -> Self {
        let mut bytes = Vec::with_capacity(16);
        put_opened(&mut bytes, opened);
        bytes.into()
    }

    /// Both, one behind the other.
    pub(super) fn created(entry: &Entry, opened: &Opened) -> Self {
        let mut bytes = Vec::with_capacity(144);
        put_entry(&mut bytes, entry);
        put_opened(&mut bytes, opened);
        bytes.into()
    }

    /// `fuse_write_out`, `fuse_getxattr_out`
    pub(super) fn size(size: u32) -> Self {
        let mut bytes = Vec::with_capacity(8);
        bytes.u32(size).u32(0);
        bytes.into()
    }

    /// `fuse_lseek_out`
    pub(super) fn offset(offset: u64) -> Self {
        let mut bytes = Vec::with_capacity(8);
        bytes.u64(offset);
        bytes.into()
    }

    /// An attribute's value, or its length, as getxattr(2) asks.
    pub(super) fn extended(value: Vec<u8>, size: u32) -> Self {
        match u32::try_from(value.len()) {
            Ok(len) if size == 0 => Self::size(len),
            Ok(len) if len <= size => value.into(),
            Ok(_) | Err(_) => Errno::ERANGE.into(),
        }
    }

    /// `fuse_statfs_out`
    pub(super) fn space(space: &Space) -> Self {
        const BLOCK: u32 = 4096;
        let blocks = |bytes: u64| bytes / u64::from(BLOCK);
        let mut bytes = Vec::with_capacity(80);
        for count in [space.total, space.free, space.available] {
            bytes.u64(blocks(count));
        }
        bytes.u64(0).u64(0);
        for number in [BLOCK, 255, BLOCK] {
            bytes.u32(number);
        }
        bytes.resize(80, 0);
        bytes.into()
    }
}

fn put_entry(bytes: &mut Vec<u8>, entry: &Entry) {
    let (seconds, nanos) = (entry.lifetime.as_secs(), entry.lifetime.subsec_nanos());
    bytes.u64(entry.node).u64(0);
    bytes.u64(seconds).u64(seconds).u32(nanos).u32(nanos);
    put_attributes(bytes, &entry.attributes);
}

fn put_opened(bytes: &mut Vec<u8>, opened: &Opened) {
    let backing = opened.backing.unwrap_or_default();
    bytes
        .u64(opened.number)
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

/// A time in seconds since 1970, and nanoseconds behind them.
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

/// A listing: `fuse_dirent` or `fuse_direntplus` one behind the other, no longer than asked for.
#[derive(Debug)]
pub(super) struct Listing {
    bytes: Vec<u8>,
    max: usize,
    /// Whether the kernel asks for more than names.
    plus: bool,
}

impl Listing {
    pub(super) fn new(max: u32, plus: bool) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        // Most directories hold a name or two.
        let bytes = Vec::with_capacity(SHORT);
        Self { bytes, max, plus }
    }

    /// Adds a row; whether there was no more room for it. Without an entry the kernel remembers
    /// nothing of it, and looks the name up if it must.
    pub(super) fn add(
        &mut self,
        (ino, offset, file): (u64, u64, FileType),
        name: &OsStr,
        entry: Option<&Entry>,
    ) -> bool {
        const ENTRY: usize = 128;
        const ROW: usize = 24;
        let start = self.bytes.len();
        let plus = if self.plus { ENTRY } else { 0 };
        let end = start + (plus + ROW + name.len()).next_multiple_of(8);
        if end > self.max {
            return true;
        }
        if let Some(entry) = entry.filter(|_| self.plus) {
            put_entry(&mut self.bytes, entry);
        }
        self.bytes.resize(start + plus, 0);
        let name_len = u32::try_from(name.len()).unwrap_or_default();
        let kind = kind(file) >> 12;
        self.bytes.u64(ino).u64(offset).u32(name_len).u32(kind);
        self.bytes.extend(name.as_bytes());
        self.bytes.resize(end, 0);
        false
    }

    pub(super) fn done(self) -> Reply {
        self.bytes.into()
    }
}
