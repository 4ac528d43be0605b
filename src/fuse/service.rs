//! The service: requests in, plain values out; here is what every kind of request shares.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use fuser::{Errno, FileAttr, FileType, INodeNo};

use super::access::{EXECUTE, Owner};
use super::coherence::KernelCache;
use super::directories::Directories;
use super::errno::errno;
use super::handles::Files;
use super::inodes::{Inodes, TOP};
use super::op_counters::OperationCounters;
use super::passthrough::Passthrough;
use super::reply::{AttributesReply, EntryReply};
use super::syncs::Syncs;
use crate::tree::{Attributes, FileKind, Found, Permissions, Place, Tree, TreeError};

/// How long the kernel keeps what lasts until it is told otherwise: for practical purposes,
/// for ever.
const LASTING: Duration = Duration::from_hours(1);

/// What answers requests, of whichever transport.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) tree: Tree,
    pub(super) inodes: Inodes,
    pub(super) files: Files,
    pub(super) directories: Directories,
    pub(super) owner: Owner,
    pub(super) cache: KernelCache,
    pub(super) passthrough: Passthrough,
    pub(super) syncs: Syncs,
    pub(super) counters: Arc<OperationCounters>,
    /// How the mount is served, for people.
    pub(super) served: OnceLock<Vec<String>>,
}

impl Service {
    pub(super) fn new(tree: Tree, owner: Owner, cache: KernelCache) -> Self {
        let inodes = Inodes::new(&tree.top());
        Self {
            tree,
            inodes,
            files: Files::default(),
            directories: Directories::default(),
            owner,
            cache,
            passthrough: Passthrough::default(),
            syncs: Syncs::default(),
            counters: Arc::default(),
            served: OnceLock::new(),
        }
    }

    /// The place of an inode. One that was removed has none.
    pub(super) fn place(&self, ino: u64) -> Result<Place, Errno> {
        self.inodes.place(ino).ok_or(Errno::ENOENT)
    }

    /// Attributes as the kernel wants them.
    pub(super) fn attributes(&self, attributes: &Attributes) -> FileAttr {
        let permissions = attributes.permissions;
        FileAttr {
            ino: INodeNo(attributes.number),
            size: attributes.size,
            blocks: attributes.blocks,
            atime: attributes.accessed,
            mtime: attributes.modified,
            ctime: attributes.changed,
            crtime: SystemTime::UNIX_EPOCH,
            kind: file_type(attributes.kind),
            perm: permissions.mode,
            nlink: attributes.links,
            uid: self.owner.uid(permissions),
            gid: self.owner.gid(permissions),
            rdev: attributes.device,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Tells the kernel once more of a place in a directory with these permissions.
    pub(super) fn entry(&self, directory: Permissions, found: &Found) -> EntryReply {
        let node = self.inodes.look_up(&found.place);
        let lasting = found.lasting && directory.allow_all(EXECUTE);
        EntryReply {
            node,
            shown: self.shown_as(node, &found.attributes, lasting),
        }
    }

    /// Attributes for the kernel. A file that became another place keeps its number for as long
    /// as it is open: whoever has it open finds the same file.
    fn shown_as(&self, node: u64, attributes: &Attributes, lasting: bool) -> AttributesReply {
        let mut attributes = self.attributes(attributes);
        let made = self.number_made(node);
        attributes.ino = made.map_or(attributes.ino, INodeNo);
        AttributesReply {
            attributes,
            lifetime: lifetime(lasting && made.is_none()),
        }
    }

    fn number_made(&self, node: u64) -> Option<u64> {
        let open = self.inodes.was_made(node).then(|| self.files.open_on(node));
        let mut open = open.into_iter().flatten();
        open.find_map(|handle| self.tree.number_made(&handle))
    }

    /// What is known of an inode. One that was removed is asked of a file that is still open on
    /// it.
    pub(super) fn shown(&self, ino: u64) -> Result<Attributes, Errno> {
        let place = self.inodes.place(ino);
        let shown = place.as_ref().map(|place| self.tree.attributes(place));
        let shown = match shown {
            Some(Err(TreeError::NotFound)) | None => match self.files.open_on(ino).pop() {
                Some(handle) => self.tree.handle_attributes(&handle),
                None => Err(TreeError::NotFound),
            },
            Some(shown) => shown,
        };
        shown.map_err(|error| logged(&error))
    }

    /// What stat shows of an inode, and for how long.
    pub(super) fn stat(&self, ino: u64) -> Result<AttributesReply, Errno> {
        let place = self.inodes.place(ino);
        let shown = self.shown(ino)?;
        // What is being written changes with every write, which comes to us.
        // Of the top the kernel asks each time: registries stat it to learn whether we live.
        let settled = ino != TOP && matches!(place, Some(Place::Node(_) | Place::Plain(_)));
        let mut reply = self.shown_as(ino, &shown, settled);
        if place.is_none() {
            // It was removed, and is open still.
            reply.attributes.nlink = 0;
        }
        Ok(reply)
    }
}

fn lifetime(lasting: bool) -> Duration {
    if lasting { LASTING } else { Duration::ZERO }
}

/// Runs a request's work; a panic is that request's alone.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        log::error!("a request was given up after a panic; the mount goes on");
        Err(Errno::EIO)
    })
}

/// The kernel's word for a kind of file.
pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Directory => FileType::Directory,
        FileKind::File => FileType::RegularFile,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharacterDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// The number for an error, which is logged here and nowhere else: what is wrong with the
/// store as an error, what is wrong with a request for whoever wants to know.
pub(super) fn logged(error: &TreeError) -> Errno {
    let number = errno(error);
    if number.code() == libc::EIO {
        log::error!("{error}");
    } else {
        log::debug!("{error}");
    }
    number
}
