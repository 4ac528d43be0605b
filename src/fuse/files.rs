//! Files: opened, created, read, written and closed.

use std::sync::Arc;

use fuser::{Errno, FopenFlags};

use super::access::{EXECUTE, READ, WRITE};
use super::caller::Caller;
use super::coherence::{Coherent, Origin};
use super::errno::logged;
use super::handles::{OPEN_MAX, OpenFile, most_each};
use super::passthrough::OpenMode;
use super::reply::{EntryReply, OpenReply};
use super::service::Service;
use crate::tree::{
    Access, Attributes, Caching, FileKind, Handle, PassthroughFile, Place, TreeError,
};

/// Returns the access that flags of open(2) ask for.
pub(super) fn access(flags: i32) -> Access {
    if flags & libc::O_ACCMODE == libc::O_RDONLY {
        Access::Read
    } else {
        Access::Write
    }
}

/// Returns the permission bits that flags of open(2) need. A program that is executed need not be
/// readable.
fn wanted(flags: i32) -> u16 {
    /// `__FMODE_EXEC`, which the kernel sets for execve(2).
    const RUN: i32 = 0x20;
    match flags & libc::O_ACCMODE {
        libc::O_RDONLY if flags & RUN != 0 => EXECUTE,
        libc::O_RDONLY => READ,
        libc::O_WRONLY => WRITE,
        _ => READ | WRITE,
    }
}

impl Service {
    /// Returns an open file by its handle number.
    pub(super) fn handle(&self, number: u64) -> Result<Arc<Handle>, Errno> {
        self.files.get(number).ok_or(Errno::EBADF)
    }

    /// Returns the reply to the opening of a file, and decides whether the kernel reads and writes
    /// it itself.
    fn opened(
        &self,
        uid: u32,
        ino: u64,
        handle: Arc<Handle>,
        access: Access,
    ) -> Result<Coherent<OpenReply>, Errno> {
        let passthrough_disabled = self.inodes.is_passthrough_disabled(ino);
        let direct = self.tree.open_files().passthrough_file(&handle);
        let upload = matches!(direct, Some(PassthroughFile::Upload(_)));
        let direct = direct.filter(|_| !passthrough_disabled);
        let caching = match self.tree.open_files().caching(&handle) {
            Caching::Keep if passthrough_disabled => Caching::Direct,
            caching => caching,
        };
        if caching == Caching::Keep && self.inodes.is_mapped(ino) {
            // The content that the kernel caches by this number may differ from the blob.
            return Err(self.stale_inode(ino, &handle, caching));
        }
        let (mut flags, backing, cached, direct) = match self.passthrough.open(ino, direct, caching)
        {
            OpenMode::Passthrough(backing, direct) => {
                let flags = FopenFlags::FOPEN_PASSTHROUGH;
                (flags, Some(backing), false, Some(direct))
            }
            OpenMode::Daemon { cached: false } => {
                if upload && access == Access::Write {
                    self.inodes.set_mapped(ino);
                }
                (FopenFlags::FOPEN_DIRECT_IO, None, false, None)
            }
            OpenMode::Daemon { cached: true } if caching == Caching::Keep => {
                (FopenFlags::FOPEN_KEEP_CACHE, None, true, None)
            }
            OpenMode::Daemon { cached: true } => (FopenFlags::empty(), None, true, None),
            OpenMode::OtherInode => return Err(self.stale_inode(ino, &handle, caching)),
        };
        if access == Access::Read || self.tree.open_files().flush_is_noop(&handle) {
            flags |= FopenFlags::FOPEN_NOFLUSH;
        }
        let file = OpenFile {
            ino,
            uid,
            handle,
            direct,
            cached,
            caching,
        };
        let stale = self.inodes.set_content_cached(ino, cached) && caching == Caching::Writing;
        Ok(Coherent {
            value: OpenReply {
                handle: self.files.insert(file),
                flags,
                backing,
            },
            stale: stale.then_some(ino).into_iter().collect(),
        })
    }

    /// Makes the kernel look the file up again, under another number.
    fn stale_inode(&self, ino: u64, handle: &Handle, caching: Caching) -> Errno {
        self.inodes.renumber(ino, caching == Caching::Writing);
        // Nothing was written to it.
        let _unchanged = self.tree.open_files().release(handle);
        Errno::ESTALE
    }

    /// open(2). A file that was removed since the kernel looked it up is stale and not missing:
    /// the kernel then looks it up again, and creates it if asked to.
    pub(super) fn open(
        &self,
        caller: Caller,
        ino: u64,
        flags: i32,
    ) -> Result<Coherent<OpenReply>, Errno> {
        let opened = self.open_found(caller, ino, flags);
        opened.map_err(|error| {
            if error.code() == libc::ENOENT {
                Errno::ESTALE
            } else {
                error
            }
        })
    }

    /// # Errors
    /// `EMFILE` if the caller has too many files open, `ENFILE` if all users together have.
    fn may_open(&self, caller: Caller) -> Result<(), Errno> {
        let privileged = caller.uid == 0 || caller.uid == self.owner.uid;
        let most = if privileged { OPEN_MAX } else { most_each() };
        self.files.admit(caller.uid, most)
    }

    fn open_found(
        &self,
        caller: Caller,
        ino: u64,
        flags: i32,
    ) -> Result<Coherent<OpenReply>, Errno> {
        self.may_open(caller)?;
        let place = self.place(ino)?;
        let (access, wanted) = (access(flags), wanted(flags));
        // Permissions of a plain file are checked once it is open: another file may get its name
        // meanwhile.
        let plain = matches!(place, Place::Plain(_));
        if !plain {
            self.may(caller, &place, wanted)?;
        }
        let handle = self
            .tree
            .open_files()
            .open(&place, access, caller.writer())
            .map_err(|error| logged(&error))?;
        if plain {
            self.may_hold(caller, &handle, wanted)?;
        }
        self.opened(caller.uid, ino, handle, access)
    }

    /// Fails with `EACCES` if a caller lacks these permission bits for an open plain file.
    pub(super) fn may_hold(&self, caller: Caller, handle: &Handle, bits: u16) -> Result<(), Errno> {
        let of = self.tree.open_files().handle_attributes(handle);
        self.must(
            caller,
            of.map_err(|error| logged(&error))?.permissions,
            bits,
        )
    }

    /// open(2) with `O_CREAT`, after a lookup that found nothing.
    pub(super) fn create(
        &self,
        caller: Caller,
        parent: u64,
        name: &std::ffi::OsStr,
        mode: u32,
        flags: i32,
    ) -> Result<Coherent<(EntryReply, OpenReply)>, Errno> {
        self.may_open(caller)?;
        let parent = self.place(parent)?;
        let permissions = self.may(caller, &parent, WRITE | EXECUTE)?;
        let new = self.owner.made(caller, permissions, mode, FileKind::File);
        let admit = |found: &Attributes| {
            let may = self.owner.may(caller, found.permissions, wanted(flags));
            may.then_some(()).ok_or(TreeError::Denied)
        };
        let (found, handle) = self
            .tree
            .create(&parent, name, new, caller.writer(), admit)
            .map_err(|error| logged(&error))?;
        let entry = self.entry(permissions, &found);
        let ino = entry.node;
        let opened = self.opened(caller.uid, ino, handle, Access::Write);
        // The kernel does not learn of this lookup.
        let opened = opened.inspect_err(|_| self.inodes.forget(ino, 1))?;
        Ok(opened.map(|opened| (entry, opened)))
    }

    /// read(2). Returns the number of bytes read.
    pub(super) fn read(&self, number: u64, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let handle = self.handle(number)?;
        self.tree
            .open_files()
            .read(&handle, offset, buffer)
            .map_err(|error| logged(&error))
    }

    /// read(2) of bytes that are in memory. Returns `None` if reading them may block.
    pub(super) fn read_at_hand(
        &self,
        number: u64,
        offset: u64,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let handle = self.files.get(number)?;
        self.tree
            .blocking()
            .try_read_cached(&handle, offset, buffer)
    }

    /// write(2). Clears set-user-ID and set-group-ID if `drops_privileges`. Returns the number of
    /// bytes written.
    pub(super) fn write(
        &self,
        number: u64,
        offset: u64,
        bytes: &[u8],
        drops_privileges: bool,
    ) -> Result<u32, Errno> {
        let handle = self.handle(number)?;
        self.tree
            .open_files()
            .write(&handle, offset, bytes)
            .and_then(|()| self.drop_privileges(&handle, drops_privileges))
            .map_err(|error| logged(&error))?;
        u32::try_from(bytes.len()).map_err(|_| Errno::EINVAL)
    }

    /// close(2) of one descriptor.
    pub(super) fn flush(&self, ino: u64, number: u64) -> Result<Coherent<()>, Errno> {
        let handle = self.handle(number)?;
        let changes = self.tree.open_files().flush(&handle);
        let changes = changes.map_err(|error| logged(&error))?;
        Ok(self.after((), Origin::Inode(ino), &changes))
    }

    /// close(2) of the last descriptor.
    pub(super) fn release(&self, ino: u64, number: u64) -> Coherent<()> {
        let Some(file) = self.files.remove(number) else {
            return Coherent::unchanged(());
        };
        let passed = file.direct.is_some();
        self.passthrough
            .close(file.ino, passed, file.cached, file.caching);
        drop(file.direct);
        if file.caching == Caching::Writing {
            self.inodes.enable_passthrough(ino);
        }
        let changes = self.tree.open_files().release(&file.handle);
        self.after((), Origin::Inode(ino), &changes)
    }
}
