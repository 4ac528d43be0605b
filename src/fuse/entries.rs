//! Names: looked up, made, removed, moved; and what stat and its like change.

use std::ffi::OsStr;
use std::sync::Arc;

use fuser::Errno;

use super::access::{Caller, EXECUTE, READ, WRITE};
use super::coherence::Coherent;
use super::reply::{AttributesReply, EntryReply};
use super::request::SetAttributes;
use super::service::{Service, logged};
use super::syncs::Answer;
use super::task::Task;
use crate::tree::{Attributes, FileKind, Place, Relocation, Space, TreeError};

impl Service {
    /// Resolves a name.
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

    /// readlink(2)
    pub(super) fn read_link(&self, ino: u64) -> Result<Vec<u8>, Errno> {
        let path = self
            .tree
            .read_link(&self.place(ino)?)
            .map_err(|error| logged(&error))?;
        Ok(path.into_os_string().into_encoded_bytes())
    }

    /// mkdir(2); and the inodes that the kernel must be told of.
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
        let found = self
            .tree
            .make_directory(&parent, name, new, caller.writer())
            .map_err(|error| logged(&error))?;
        let changed = self.beside(&found.place).into_iter().collect();
        Ok(Coherent {
            value: self.entry(permissions, &found),
            stale: changed,
        })
    }

    /// The directory that lists another one, or does no more, since a place came or went.
    fn beside(&self, place: &Place) -> Option<u64> {
        let implied = place.implies()?;
        // One that was made is there in any case.
        if self.tree.lasts(&implied).unwrap_or_default() {
            return None;
        }
        self.inodes.unlist(&implied.above().next()?)
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
        let removed = self.tree.remove_file(&place, name, caller.writer());
        Ok(self.removed(parent, &removed.map_err(|error| logged(&error))?))
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
        let removed = self.tree.remove_directory(&place, name);
        Ok(self.removed(parent, &removed.map_err(|error| logged(&error))?))
    }

    fn removed(&self, parent: u64, removed: &Place) -> Coherent<()> {
        self.inodes.removed(removed);
        self.inodes.age(parent);
        Coherent {
            value: (),
            stale: self.gone_with(removed),
        }
    }

    /// The directories that list another one no more, which went with what was removed.
    fn gone_with(&self, removed: &Place) -> Vec<u64> {
        let gone = |place: &Place| matches!(self.tree.attributes(place), Err(TreeError::NotFound));
        let above = removed.above().take_while(gone);
        let directories = above.filter_map(|gone| gone.above().next());
        let listed = directories.filter_map(|directory| self.inodes.unlist(&directory));
        listed.chain(self.beside(removed)).collect()
    }

    /// rename(2); the inodes that the kernel must be told of.
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
        if flags & libc::RENAME_EXCHANGE != 0 {
            self.may_move(caller, (&new, to.1), (&old, from.1))?;
            return self.exchange((&old, from), (&new, to));
        }
        let renamed = self
            .tree
            .rename((&old, from.1), (&new, to.1), replace, caller.writer());
        let (moved, outcome) = renamed.map_err(|error| logged(&error))?;
        for directory in [from.0, to.0] {
            self.inodes.age(directory);
        }
        self.brought(&new, to);
        self.moved(&moved, outcome.became.as_ref());
        let mut changed = self.stale(&outcome);
        let places = outcome.became.iter().chain([&moved]);
        changed.extend(places.filter_map(|place| self.beside(place)));
        Ok(Coherent {
            value: (),
            stale: changed,
        })
    }

    /// renameat2(2) of two plain files that change their places.
    fn exchange(
        &self,
        one: (&Place, (u64, &OsStr)),
        other: (&Place, (u64, &OsStr)),
    ) -> Result<Coherent<()>, Errno> {
        let exchanged = self
            .tree
            .exchange((one.0, one.1.1), (other.0, other.1.1))
            .map_err(|error| logged(&error))?;
        self.inodes.exchanged(&exchanged.0, &exchanged.1);
        for (directory, name) in [one, other] {
            self.inodes.age(name.0);
            self.brought(directory, name);
        }
        Ok(Coherent::unchanged(()))
    }

    /// Numbers go with what was moved, and with what is below it.
    fn moved(&self, moved: &Place, became: Option<&Place>) {
        let Some(place) = became else {
            return self.inodes.removed(moved);
        };
        if let Some(relocation) = Relocation::of(moved, place) {
            return self.relocated(place, &relocation);
        }
        // A plain file or an upload's bytes that were replaced go on as they were for who has them
        // open. A fact's are read where it stands, whichever number leads there.
        if place.is_replaced() && place != moved {
            self.inodes.removed(place);
        }
        self.inodes.became(moved, place);
        if let (Place::Plain(old), Place::Plain(new)) = (moved, place)
            && let Ok(now) = self.tree.attributes(place)
            && now.kind == FileKind::Directory
        {
            self.inodes.moved_along(old, new);
        }
    }

    /// A part of the layout has moved: so have what is open below it, and what listings go on
    /// with.
    fn relocated(&self, place: &Place, relocation: &Relocation) {
        if relocation.place(place).is_none() {
            // An empty directory that was there is there no more.
            self.inodes.removed(place);
        }
        self.inodes.relocated(relocation);
        self.files
            .replace(|handle| self.tree.relocated(handle, relocation));
        self.directories.forget_pages();
    }

    /// chmod(2), chown(2), utimes(2), truncate(2); the inodes that the kernel must be told of.
    pub(super) fn set(
        &self,
        caller: Caller,
        ino: u64,
        setting: SetAttributes,
    ) -> Result<Coherent<AttributesReply>, Errno> {
        let mut changed = Vec::new();
        if let Some(size) = setting.size {
            if let Some(handle) = setting.handle {
                self.truncate(handle, size, setting.drops_privileges)?;
            } else {
                changed = self.truncate_place(caller, ino, size, setting.drops_privileges)?;
            }
        }
        if setting.changes_attributes() {
            changed.extend(self.change(caller, ino, &setting)?);
        }
        Ok(Coherent {
            value: self.stat(ino)?,
            stale: changed,
        })
    }

    /// chmod(2), chown(2), utimes(2); the inodes that the kernel must be told of.
    fn change(&self, caller: Caller, ino: u64, setting: &SetAttributes) -> Result<Vec<u64>, Errno> {
        let admit = |now: &Attributes| self.owner.admit(caller, setting, now);
        let changed = |now: &Attributes| {
            let change = admit(now)?;
            Ok(self.owner.changed(change, now.permissions))
        };
        let Some(place) = self.inodes.place(ino) else {
            let newest = self.files.open_on(ino).pop();
            let done = newest.map_or(Ok(()), |handle| self.tree.change_opened(&handle, admit));
            return done.map(|()| Vec::new()).map_err(|error| logged(&error));
        };
        let before = self.permissions(&place)?;
        let writer = caller.writer();
        // chown(2) of a plain file moves the time of its last change, whoever it is given to.
        let done = match &place {
            Place::Plain(path) if !path.as_os_str().is_empty() => {
                self.tree.change(&place, writer, admit)
            }
            _ => self.tree.change(&place, writer, changed),
        };
        done.map_err(|error| logged(&error))?;
        let dated = self.tree.dated_by(&place).into_iter();
        let dated = dated.filter_map(|place| self.inodes.number(&place));
        let restricted = self.restricted(ino, &place, before);
        Ok(restricted.into_iter().chain(dated).collect())
    }

    /// access(2)
    pub(super) fn access(&self, caller: Caller, ino: u64, mask: u32) -> Result<(), Errno> {
        if self.owner.may_all(caller, &self.shown(ino)?, mask) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// fsync(2) of a directory.
    #[must_use]
    pub(super) fn sync_directory(self: &Arc<Self>, ino: u64, answer: Answer) -> Option<Task> {
        match self.inodes.place(ino) {
            Some(place) if self.tree.is_note_directory(&place) => {
                answer(Ok(()));
                None
            }
            Some(Place::Plain(path)) => {
                let service = Arc::clone(self);
                Some(Box::new(move || {
                    let synced = service.tree.sync_plain_directory(&path);
                    match synced.map_err(|error| logged(&error)) {
                        Ok(()) => service.make_durable(answer).map_or((), |task| task()),
                        Err(error) => answer(Err(error)),
                    }
                }))
            }
            Some(_) | None => self.make_durable(answer),
        }
    }

    /// Answered once everything before is durable. What this gives the caller must do, where it
    /// may wait.
    #[must_use]
    pub(super) fn make_durable(self: &Arc<Self>, answer: Answer) -> Option<Task> {
        if self.tree.is_durable(None) {
            answer(Ok(()));
            return None;
        }
        let service = Arc::clone(self);
        let flush = move || {
            let flush = || service.tree.make_durable().map_err(|error| logged(&error));
            service.syncs.flush(flush);
        };
        self.syncs.join(answer).then(|| Box::new(flush) as Task)
    }

    /// mknod(2): a plain file, or nothing.
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

    /// statfs(2)
    pub(super) fn space(&self) -> Result<Space, Errno> {
        self.tree.space().map_err(|error| logged(&error))
    }

    /// getxattr(2)
    pub(super) fn extended(
        &self,
        caller: Caller,
        ino: u64,
        name: &OsStr,
    ) -> Result<Vec<u8>, Errno> {
        let place = self.place(ino)?;
        // What programs ask of every file they list is for everybody.
        if name.as_encoded_bytes().starts_with(b"user.") {
            self.may(caller, &place, READ)?;
        }
        self.tree
            .extended(&place, name)
            .map_err(|error| logged(&error))
    }

    /// listxattr(2): none is listed
    pub(super) fn extended_names(&self, ino: u64) -> Result<Vec<u8>, Errno> {
        self.place(ino).map(|_| Vec::new())
    }

    /// setxattr(2), and removexattr(2) without a value
    pub(super) fn set_extended(
        &self,
        ino: u64,
        name: &OsStr,
        value: Option<&[u8]>,
    ) -> Result<(), Errno> {
        self.tree
            .set_extended(&self.place(ino)?, name, value)
            .map_err(|error| logged(&error))
    }
}
