//! The service: answers requests with plain values. This file has what all kinds of requests
//! share.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use fuser::{Errno, FileAttr, FileType, INodeNo};

use super::access::{EXECUTE, MountOwner};
use super::coherence::KernelCache;
use super::errno::logged;
use super::handles::OpenFiles;
use super::inodes::{Inodes, TOP};
use super::listings::OpenListings;
use super::op_counters::OperationCounters;
use super::passthrough::Passthrough;
use super::reply::{AttributesReply, EntryReply};
use super::syncs::Syncs;
use crate::tree::{Attributes, FileKind, Permissions, Place, Resolved, Tree, TreeError};

/// How long the kernel caches what `coherence` invalidates: without limit, for practical purposes.
const LASTING: Duration = Duration::from_hours(1);

/// Answers requests, whichever transport they came by.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) tree: Tree,
    pub(super) inodes: Inodes,
    pub(super) files: OpenFiles,
    pub(super) listings: OpenListings,
    pub(super) owner: MountOwner,
    pub(super) cache: KernelCache,
    pub(super) passthrough: Passthrough,
    pub(super) syncs: Syncs,
    pub(super) counters: Arc<OperationCounters>,
    /// How the mount is served, for status reports.
    pub(super) served: OnceLock<Vec<String>>,
}

impl Service {
    pub(super) fn new(tree: Tree, owner: MountOwner, cache: KernelCache) -> Self {
        let inodes = Inodes::new(&tree.top());
        Self {
            tree,
            inodes,
            files: OpenFiles::default(),
            listings: OpenListings::default(),
            owner,
            cache,
            passthrough: Passthrough::default(),
            syncs: Syncs::default(),
            counters: Arc::default(),
            served: OnceLock::new(),
        }
    }

    /// Returns the place of an inode.
    ///
    /// # Errors
    /// `ENOENT` if it was removed.
    pub(super) fn place(&self, ino: u64) -> Result<Place, Errno> {
        self.inodes.place(ino).ok_or(Errno::ENOENT)
    }

    /// Converts attributes to those of the kernel.
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

    /// Returns a reply with a place in a directory that has these permissions, and counts the
    /// lookup.
    pub(super) fn entry(&self, directory: Permissions, found: &Resolved) -> EntryReply {
        let node = self.inodes.look_up(&found.place);
        let lasting = found.cacheable && directory.allow_all(EXECUTE);
        EntryReply {
            node,
            shown: self.shown_as(node, &found.attributes, lasting),
        }
    }

    /// Returns a reply with attributes. A pending file that has become a fact shows its old inode
    /// number while it is open, so that its writer sees the same file.
    fn shown_as(&self, node: u64, attributes: &Attributes, lasting: bool) -> AttributesReply {
        let mut attributes = self.attributes(attributes);
        let pending = self.pending_number(node);
        attributes.ino = pending.map_or(attributes.ino, INodeNo);
        AttributesReply {
            attributes,
            lifetime: lifetime(lasting && pending.is_none()),
        }
    }

    fn pending_number(&self, node: u64) -> Option<u64> {
        let open = self
            .inodes
            .was_pending(node)
            .then(|| self.files.open_on(node));
        let mut open = open.into_iter().flatten();
        open.find_map(|handle| self.tree.open_files().creation_number(&handle))
    }

    /// Returns the attributes of an inode: of its place, or of a file that is still open if the
    /// place was removed.
    pub(super) fn shown(&self, ino: u64) -> Result<Attributes, Errno> {
        let place = self.inodes.place(ino);
        let shown = place.as_ref().map(|place| self.tree.metadata().get(place));
        let shown = match shown {
            Some(Err(TreeError::NotFound)) | None => match self.files.open_on(ino).pop() {
                Some(handle) => self.tree.open_files().handle_attributes(&handle),
                None => Err(TreeError::NotFound),
            },
            Some(shown) => shown,
        };
        shown.map_err(|error| logged(&error))
    }

    /// Returns what stat(2) shows of an inode, and for how long the kernel may cache that.
    pub(super) fn stat(&self, ino: u64) -> Result<AttributesReply, Errno> {
        let place = self.inodes.place(ino);
        let shown = self.shown(ino)?;
        // A pending file changes with every write. The root directory is never cached: registries
        // stat it to learn whether the mount is alive.
        let lasting = ino != TOP && matches!(place, Some(Place::Node(_) | Place::Plain(_)));
        let mut reply = self.shown_as(ino, &shown, lasting);
        if place.is_none() {
            // It was removed, and is still open.
            reply.attributes.nlink = 0;
        }
        Ok(reply)
    }
}

fn lifetime(lasting: bool) -> Duration {
    if lasting { LASTING } else { Duration::ZERO }
}

/// Returns the kernel's type for a kind of file.
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
