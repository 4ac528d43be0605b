//! Access: owner, group and mode of what was copied, and of a directory while it is written to.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Gid, Mode, Stat, Uid, fchmod, fchown, fstat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::dir::Dir;
use crate::printable::printable;
use crate::tree::Permissions;

/// The bits of a file's mode that a copy has too: nothing that runs as somebody else.
const FILE_BITS: u32 = 0o1777;
/// Those of a directory's, where setgid says whose what is made in it will be.
const DIRECTORY_BITS: u32 = 0o3777;

/// The bits of a mode that a copy has too.
pub(super) fn bits(stat: &Stat) -> Mode {
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let kept = if directory { DIRECTORY_BITS } else { FILE_BITS };
    Mode::from_raw_mode(stat.st_mode & kept)
}

/// Whether nobody has changed to whom a directory belongs since we made it.
pub(super) fn is_as_made(stat: &Stat) -> bool {
    (stat.st_uid, stat.st_gid) == (geteuid().as_raw(), getegid().as_raw())
        && bits(stat) == Mode::from_raw_mode(Permissions::DIRECTORY.mode.into())
}

/// Ignores that this process may not change owners: no ordinary user may, nor root in a container
/// without that capability.
pub(super) fn unless_forbidden(done: io::Result<()>) -> io::Result<()> {
    let forbidden = [Errno::PERM, Errno::INVAL];
    match done {
        Err(error) if Errno::from_io_error(&error).is_some_and(|it| forbidden.contains(&it)) => {
            Ok(())
        }
        done => done,
    }
}

/// Sets owner and group, as far as they are given and this process may.
fn set_owner(file: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let done = fchown(file, uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    unless_forbidden(done.map_err(Into::into))
}

/// Gives a copy the owner and mode that something has; who may not give files away keeps them.
pub(super) fn same_access(like: &Stat, copy: impl AsFd) -> io::Result<()> {
    let own = fstat(&copy)?;
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid) {
        set_owner(&copy, Some(like.st_uid), Some(like.st_gid))?;
    }
    Ok(fchmod(&copy, bits(like))?)
}

/// Gives a directory owner and group, as far as they are set and root gives them, and mode.
pub(super) fn set(dir: &Dir, permissions: Permissions) -> io::Result<()> {
    if let Some((uid, gid)) = ids(permissions) {
        set_owner(dir, uid, gid)?;
    }
    Ok(fchmod(dir, Mode::from_raw_mode(permissions.mode.into()))?)
}

/// Owner and group that are to be set; nothing for who is not root, as with tar and cp.
pub(super) fn ids(permissions: Permissions) -> Option<(Option<u32>, Option<u32>)> {
    let ids = (permissions.uid, permissions.gid);
    (geteuid().is_root() && ids != (None, None)).then_some(ids)
}

/// A directory that lets nobody else in while it is written to: what is given away in it by name
/// must be what was made in it. It is as it was again afterwards.
#[derive(Debug)]
pub(super) struct Private {
    dir: Dir,
    /// What it was like, as long as that is not given back; nothing where it belongs to another
    /// and could not be taken.
    before: Option<Stat>,
}

impl Private {
    /// Lets nobody else in.
    pub(super) fn make(dir: &Dir) -> io::Result<Self> {
        let before = fstat(dir)?;
        let mine = geteuid();
        if mine.is_root() && before.st_uid != mine.as_raw() {
            set_owner(dir, Some(mine.as_raw()), None)?;
        }
        let ours = fstat(dir)?.st_uid == mine.as_raw();
        if ours {
            fchmod(dir, Mode::RWXU)?;
        }
        Ok(Self {
            dir: dir.clone(),
            before: ours.then_some(before),
        })
    }

    /// Returns `true` if nobody else could get in.
    pub(super) fn is_ours(&self) -> bool {
        self.before.is_some()
    }

    /// Lets in whom these permissions do, or those that it had; not changed where it is another's.
    pub(super) fn open(mut self, permissions: Option<Permissions>) -> io::Result<()> {
        let ours = self.is_ours();
        self.give_back()?;
        match permissions {
            Some(permissions) if ours => set(&self.dir, permissions),
            _ => Ok(()),
        }
    }

    fn give_back(&mut self) -> io::Result<()> {
        let Some(before) = self.before.take() else {
            return Ok(());
        };
        set_owner(&self.dir, Some(before.st_uid), Some(before.st_gid))?;
        let mode = Mode::from_raw_mode(before.st_mode & 0o7777);
        Ok(fchmod(&self.dir, mode)?)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Err(error) = self.give_back() {
            let path = printable(self.dir.path());
            log::warn!("{path} stays closed to others: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_private_directory_is_as_it_was_again_however_it_ends() {
        let work = tempfile::tempdir().unwrap();
        fs::set_permissions(work.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let mode = || fs::metadata(work.path()).unwrap().mode() & 0o7777;
        let dir = Dir::open(work.path()).unwrap();
        drop(Private::make(&dir).unwrap());
        assert_eq!(mode(), 0o1777);
        let private = Private::make(&dir).unwrap();
        assert!(private.is_ours());
        assert_eq!(mode(), 0o700);
        private.open(None).unwrap();
        assert_eq!(mode(), 0o1777);
        let permissions = Permissions {
            uid: None,
            gid: None,
            mode: 0o2750,
        };
        let private = Private::make(&dir).unwrap();
        private.open(Some(permissions)).unwrap();
        assert_eq!(mode(), 0o2750);
    }
}
