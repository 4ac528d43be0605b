//! Lengths: truncation, preallocation and holes of files.

use fuser::Errno;

use super::access::WRITE;
use super::caller::Caller;
use super::coherence::{Coherent, Origin};
use super::errno::logged;
use super::service::Service;
use crate::tree::{Access, Handle, Place, Seek, TreeError};

impl Service {
    /// Clears set-user-ID and set-group-ID of a file, if `drops`.
    pub(super) fn drop_privileges(&self, handle: &Handle, drops: bool) -> Result<(), TreeError> {
        if drops {
            self.tree.drop_privileges(handle)?;
        }
        Ok(())
    }

    /// ftruncate(2)
    pub(super) fn truncate(&self, number: u64, len: u64, drops: bool) -> Result<(), Errno> {
        let handle = self.handle(number)?;
        self.tree
            .metadata()
            .truncate(&handle, len)
            .and_then(|()| self.drop_privileges(&handle, drops))
            .map_err(|error| logged(&error))
    }

    /// truncate(2)
    pub(super) fn truncate_place(
        &self,
        caller: Caller,
        ino: u64,
        len: u64,
        drops: bool,
    ) -> Result<Coherent<()>, Errno> {
        if let Some(place @ Place::Plain(_)) = self.inodes.place(ino) {
            let handle = self
                .tree
                .open_files()
                .open(&place, Access::Write, caller.writer());
            let handle = handle.map_err(|error| logged(&error))?;
            self.may_hold(caller, &handle, WRITE)?;
            let done = self.tree.metadata().truncate(&handle, len);
            let done = done.and_then(|()| self.drop_privileges(&handle, drops));
            return done
                .map(Coherent::unchanged)
                .map_err(|error| logged(&error));
        }
        self.must(caller, self.shown(ino)?.permissions, WRITE)?;
        let open = self.files.open_on(ino);
        let opened = self
            .tree
            .open_files()
            .truncate_opened(&open, len, caller.writer());
        if opened.map_err(|error| logged(&error))? {
            return Ok(Coherent::unchanged(()));
        }
        let place = self.place(ino)?;
        let changes = self
            .tree
            .metadata()
            .truncate_place(&place, len, caller.writer())
            .map_err(|error| logged(&error))?;
        Ok(self.after((), Origin::Inode(ino), &changes))
    }

    /// lseek(2) to data or to a hole.
    pub(super) fn seek(
        &self,
        number: u64,
        offset: u64,
        wanted: Option<Seek>,
    ) -> Result<u64, Errno> {
        let wanted = wanted.ok_or(Errno::EINVAL)?;
        let handle = self.handle(number)?;
        let found = self.tree.open_files().seek(&handle, offset, wanted);
        found.map_err(|error| logged(&error))
    }

    /// fallocate(2)
    pub(super) fn allocate(
        &self,
        number: u64,
        flags: u32,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let handle = self.handle(number)?;
        let done = self.tree.open_files().allocate(&handle, flags, offset, len);
        done.map_err(|error| logged(&error))
    }
}
