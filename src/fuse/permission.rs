//! Permission: what each request needs by the rules of `access`, and what the kernel must drop
//! when that changes.

use std::ffi::OsStr;

use fuser::Errno;

use super::access::{Caller, EXECUTE, WRITE};
use super::service::{Service, logged};
use crate::tree::{FileKind, Permissions, Place};

impl Service {
    /// Who may do what with a place.
    pub(super) fn permissions(&self, place: &Place) -> Result<Permissions, Errno> {
        self.tree.permissions(place).map_err(|error| logged(&error))
    }

    /// Refuses a caller who may not do all that these bits say; gives the permissions.
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

    pub(super) fn must(&self, caller: Caller, of: Permissions, bits: u16) -> Result<(), Errno> {
        if self.owner.may(caller, of, bits) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// Refuses a caller who may not remove a name from a directory.
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

    /// Refuses a caller who may not move a name to another, perhaps in place of what is there.
    pub(super) fn may_move(
        &self,
        caller: Caller,
        from: (&Place, &OsStr),
        to: (&Place, &OsStr),
    ) -> Result<(), Errno> {
        self.may_take(caller, from.0, from.1)?;
        match self.may_take(caller, to.0, to.1) {
            // Nothing stands there.
            Err(error) if error.code() == libc::ENOENT => {}
            taken => taken?,
        }
        if from.0 == to.0 || !self.tree.holds_movable(from.0) {
            return Ok(());
        }
        // The name of the parent in a directory changes with it.
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
