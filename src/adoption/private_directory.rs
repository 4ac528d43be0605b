//! A private directory: closed to all other users while it is written to.

use std::io;

use rustix::fs::{Mode, Stat, fchmod, fstat};
use rustix::process::geteuid;

use super::access::{set_owner, set_permissions};
use crate::dir::Dir;
use crate::printable::printable;
use crate::tree::Permissions;

/// A directory that is closed to all other users until this value is dropped, so that a file whose
/// owner is changed by name is certainly the one that was created there. Owner and mode are
/// restored on drop.
#[derive(Debug)]
pub(super) struct PrivateDirectory {
    dir: Dir,
    /// Owner and mode to restore; `None` if the directory belongs to another user and could not be
    /// taken over, so that it was not closed.
    before: Option<Stat>,
}

impl PrivateDirectory {
    /// Closes a directory, if it belongs to this user or this process is root.
    pub(super) fn close(dir: &Dir) -> io::Result<Self> {
        let before = fstat(dir)?;
        let user = geteuid();
        if user.is_root() && before.st_uid != user.as_raw() {
            set_owner(dir, Some(user.as_raw()), None)?;
        }
        let owned = fstat(dir)?.st_uid == user.as_raw();
        if owned {
            fchmod(dir, Mode::RWXU)?;
        }
        Ok(Self {
            dir: dir.clone(),
            before: owned.then_some(before),
        })
    }

    /// Returns `true` if the directory is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.before.is_some()
    }

    /// Restores owner and mode, or sets them to `permissions` if given. A directory that could not
    /// be closed is not changed.
    pub(super) fn open(mut self, permissions: Option<Permissions>) -> io::Result<()> {
        let closed = self.is_closed();
        self.restore()?;
        match permissions {
            Some(permissions) if closed => set_permissions(&self.dir, permissions),
            _ => Ok(()),
        }
    }

    fn restore(&mut self) -> io::Result<()> {
        let Some(before) = self.before.take() else {
            return Ok(());
        };
        set_owner(&self.dir, Some(before.st_uid), Some(before.st_gid))?;
        let mode = Mode::from_raw_mode(before.st_mode & 0o7777);
        Ok(fchmod(&self.dir, mode)?)
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            let path = printable(self.dir.path());
            log::warn!("{path} stays closed to other users: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_private_directory_is_restored_however_it_ends() {
        let work = tempfile::tempdir().unwrap();
        fs::set_permissions(work.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let mode = || fs::metadata(work.path()).unwrap().mode() & 0o7777;
        let dir = Dir::open(work.path()).unwrap();
        drop(PrivateDirectory::close(&dir).unwrap());
        assert_eq!(mode(), 0o1777);
        let private = PrivateDirectory::close(&dir).unwrap();
        assert!(private.is_closed());
        assert_eq!(mode(), 0o700);
        private.open(None).unwrap();
        assert_eq!(mode(), 0o1777);
        let permissions = Permissions {
            uid: None,
            gid: None,
            mode: 0o2750,
        };
        let private = PrivateDirectory::close(&dir).unwrap();
        private.open(Some(permissions)).unwrap();
        assert_eq!(mode(), 0o2750);
    }
}
