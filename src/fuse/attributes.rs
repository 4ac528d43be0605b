//! Attributes: what stat(2) shows is changed, and what else is known of an inode.

use std::ffi::OsStr;

use fuser::Errno;

use super::access::READ;
use super::caller::Caller;
use super::coherence::{Coherent, Origin};
use super::errno::logged;
use super::reply::AttributesReply;
use super::request::SetAttributes;
use super::service::Service;
use crate::tree::{Attributes, DiskSpace, Place};

impl Service {
    /// chmod(2), chown(2), utimes(2), truncate(2)
    pub(super) fn set(
        &self,
        caller: Caller,
        ino: u64,
        request: SetAttributes,
    ) -> Result<Coherent<AttributesReply>, Errno> {
        let mut stale = Vec::new();
        if let Some(size) = request.size {
            if let Some(handle) = request.handle {
                self.truncate(handle, size, request.drops_privileges)?;
            } else {
                let truncated = self.truncate_place(caller, ino, size, request.drops_privileges)?;
                stale = truncated.stale;
            }
        }
        if request.changes_attributes() {
            stale.extend(self.change(caller, ino, &request)?.stale);
        }
        Ok(Coherent {
            value: self.stat(ino)?,
            stale,
        })
    }

    /// chmod(2), chown(2), utimes(2)
    fn change(
        &self,
        caller: Caller,
        ino: u64,
        request: &SetAttributes,
    ) -> Result<Coherent<()>, Errno> {
        let admit = |now: &Attributes| self.owner.admit(caller, request, now);
        let Some(place) = self.inodes.place(ino) else {
            let newest = self.files.open_on(ino).pop();
            let done = newest.map_or(Ok(()), |handle| {
                self.tree.open_files().set_handle_attributes(&handle, admit)
            });
            return done
                .map(Coherent::unchanged)
                .map_err(|error| logged(&error));
        };
        let before = self.permissions(&place)?;
        // chown(2) of a plain file sets the time of its last change even if the owner stays.
        let plain = matches!(&place, Place::Plain(path) if !path.as_os_str().is_empty());
        let admit = |now: &Attributes| {
            let change = admit(now)?;
            Ok(if plain {
                change
            } else {
                self.owner.changed(change, now.permissions)
            })
        };
        let changes = self.tree.metadata().set(&place, caller.writer(), admit);
        let changes = changes.map_err(|error| logged(&error))?;
        let mut done = self.after((), Origin::Inode(ino), &changes);
        let hidden = self.after_permissions(ino, &place, before);
        done.stale.extend(hidden);
        Ok(done)
    }

    /// access(2)
    pub(super) fn access(&self, caller: Caller, ino: u64, mask: u32) -> Result<(), Errno> {
        if self.owner.may_all(caller, &self.shown(ino)?, mask) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// readlink(2)
    pub(super) fn read_link(&self, ino: u64) -> Result<Vec<u8>, Errno> {
        let path = self
            .tree
            .metadata()
            .read_link(&self.place(ino)?)
            .map_err(|error| logged(&error))?;
        Ok(path.into_os_string().into_encoded_bytes())
    }

    /// statfs(2)
    pub(super) fn space(&self) -> Result<DiskSpace, Errno> {
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
            .xattrs()
            .get(&place, name)
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
            .xattrs()
            .set(&self.place(ino)?, name, value)
            .map_err(|error| logged(&error))
    }
}
