//! Permission checks: which permissions each request needs, by the rules of `access`.

use std::ffi::OsStr;

use fuser::Errno;

use super::access::{EXECUTE, WRITE};
use super::caller::Caller;
use super::errno::logged;
use super::service::Service;
use crate::tree::{FileKind, Permissions, Place};

impl Service {
    /// Returns the permissions of a place.
    pub(super) fn permissions(&self, place: &Place) -> Result<Permissions, Errno> {
        self.tree
            .metadata()
            .permissions(place)
            .map_err(|error| logged(&error))
    }

    /// Returns the permissions of a place if they give the caller all of `bits`.
    ///
    /// # Errors
    /// `EACCES` if they do not.
    pub(super) fn may(
        &self,
        caller: Caller,
        place: &Place,
        bits: u16,
    ) -> Result<Permissions, Errno> {
        let of = self.permissions(place)?;
        self.must(caller, of, bits)?;
        Ok(of)
    }

    /// Fails with `EACCES` if permissions do not give the caller all of `bits`.
    pub(super) fn must(&self, caller: Caller, of: Permissions, bits: u16) -> Result<(), Errno> {
        if self.owner.may(caller, of, bits) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// Fails if a caller may not remove a name from a directory: with `EACCES` for lack of write
    /// permission, with `EPERM` if the directory is sticky and the file is another user's.
    pub(super) fn may_take(
        &self,
        caller: Caller,
        directory: &Place,
        name: &OsStr,
    ) -> Result<(), Errno> {
        let permissions = self.may(caller, directory, WRITE | EXECUTE)?;
        let taken = self.owner.may_take(caller, permissions, || {
            let found = self.tree.lookup(directory, name, caller.writer())?;
            Ok(found.attributes.permissions)
        });
        match taken {
            Ok(true) => Ok(()),
            Ok(false) => Err(Errno::EPERM),
            Err(error) => Err(logged(&error)),
        }
    }

    /// Fails in the same way if a caller may not rename a file, perhaps over another one.
    pub(super) fn may_move(
        &self,
        caller: Caller,
        from: (&Place, &OsStr),
        to: (&Place, &OsStr),
    ) -> Result<(), Errno> {
        self.may_take(caller, from.0, from.1)?;
        match self.may_take(caller, to.0, to.1) {
            // There is no such name.
            Err(error) if error.code() == libc::ENOENT => {}
            taken => taken?,
        }
        if from.0 == to.0 || !self.tree.may_hold_movable(from.0) {
            return Ok(());
        }
        // A directory that moves to another parent is changed itself: its `..` is another.
        let moved = self
            .tree
            .lookup(from.0, from.1, caller.writer())
            .map_err(|error| logged(&error))?;
        match moved.attributes.kind {
            FileKind::Directory => self.must(caller, moved.attributes.permissions, WRITE),
            _ => Ok(()),
        }
    }
}
