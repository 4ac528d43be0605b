//! Entries: names in directories are looked up, made, removed and renamed.

use std::ffi::OsStr;

use fuser::Errno;

use super::access::{EXECUTE, WRITE};
use super::caller::Caller;
use super::coherence::{Coherent, Origin};
use super::errno::logged;
use super::reply::EntryReply;
use super::service::Service;
use crate::tree::FileKind;

impl Service {
    /// Looks up a name.
    pub(super) fn look_up(
        &self,
        caller: Caller,
        parent: u64,
        name: &OsStr,
    ) -> Result<EntryReply, Errno> {
        let parent = self.place(parent)?;
        let permissions = self.may(caller, &parent, EXECUTE)?;
        let found = self
            .tree
            .lookup(&parent, name, caller.writer())
            .map_err(|error| logged(&error))?;
        Ok(self.entry(permissions, &found))
    }

    /// mkdir(2)
    pub(super) fn make_directory(
        &self,
        caller: Caller,
        parent: u64,
        name: &OsStr,
        mode: u32,
    ) -> Result<Coherent<EntryReply>, Errno> {
        let parent = self.place(parent)?;
        let permissions = self.may(caller, &parent, WRITE | EXECUTE)?;
        let new = self
            .owner
            .made(caller, permissions, mode, FileKind::Directory);
        let (found, changes) = self
            .tree
            .make_directory(&parent, name, new, caller.writer())
            .map_err(|error| logged(&error))?;
        let done = self.after((), Origin::NewName, &changes);
        Ok(done.map(|()| self.entry(permissions, &found)))
    }

    /// unlink(2)
    pub(super) fn remove_file(
        &self,
        caller: Caller,
        parent: u64,
        name: &OsStr,
    ) -> Result<Coherent<()>, Errno> {
        let place = self.place(parent)?;
        self.may_take(caller, &place, name)?;
        let changes = self.tree.remove_file(&place, name, caller.writer());
        let changes = changes.map_err(|error| logged(&error))?;
        Ok(self.after((), Origin::Names(&[parent]), &changes))
    }

    /// rmdir(2)
    pub(super) fn remove_directory(
        &self,
        caller: Caller,
        parent: u64,
        name: &OsStr,
    ) -> Result<Coherent<()>, Errno> {
        let place = self.place(parent)?;
        self.may_take(caller, &place, name)?;
        let changes = self.tree.remove_directory(&place, name);
        let changes = changes.map_err(|error| logged(&error))?;
        Ok(self.after((), Origin::Names(&[parent]), &changes))
    }

    /// renameat2(2)
    pub(super) fn rename(
        &self,
        caller: Caller,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        flags: u32,
    ) -> Result<Coherent<()>, Errno> {
        if flags & !(libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE) != 0 {
            return Err(Errno::EINVAL);
        }
        let replace = flags & libc::RENAME_NOREPLACE == 0;
        let (old, new) = (self.place(from.0)?, self.place(to.0)?);
        self.may_move(caller, (&old, from.1), (&new, to.1))?;
        let exchange = flags & libc::RENAME_EXCHANGE != 0;
        let changes = if exchange {
            self.may_move(caller, (&new, to.1), (&old, from.1))?;
            self.tree.exchange((&old, from.1), (&new, to.1))
        } else {
            let writer = caller.writer();
            self.tree
                .rename((&old, from.1), (&new, to.1), replace, writer)
        };
        let changes = changes.map_err(|error| logged(&error))?;
        self.drop_private_name(&new, to);
        if exchange {
            self.drop_private_name(&old, from);
        }
        Ok(self.after((), Origin::Names(&[from.0, to.0]), &changes))
    }

    /// mknod(2), of regular files only.
    pub(super) fn make_file(
        &self,
        caller: Caller,
        parent: u64,
        name: &OsStr,
        mode: u32,
    ) -> Result<Coherent<EntryReply>, Errno> {
        if mode & libc::S_IFMT != libc::S_IFREG {
            return Err(Errno::EPERM);
        }
        let mode = mode & !libc::S_IFMT;
        let created = self.create(caller, parent, name, mode, libc::O_RDWR)?;
        let (node, handle) = (created.value.0.node, created.value.1.handle);
        let mut released = self.release(node, handle);
        released.stale.extend(&created.stale);
        Ok(released.map(|()| created.value.0))
    }
}
