//! Owner, group and mode of copied files and directories.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Gid, Mode, Stat, Uid, fchmod, fchown, fstat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::dir::Dir;
use crate::tree::Permissions;

/// The mode bits that are copied from a file: not setuid and setgid.
const FILE_BITS: u32 = 0o1777;
/// The mode bits that are copied from a directory: setgid too, which decides the group of files
/// created in it.
const DIRECTORY_BITS: u32 = 0o3777;

/// Returns the bits of a mode that a copy has too.
pub(super) fn copied_bits(stat: &Stat) -> Mode {
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let bits = if directory { DIRECTORY_BITS } else { FILE_BITS };
    Mode::from_raw_mode(stat.st_mode & bits)
}

/// Returns `true` if owner and mode of a directory are those that this process gave it at its
/// creation.
pub(super) fn is_as_created(stat: &Stat) -> bool {
    (stat.st_uid, stat.st_gid) == (geteuid().as_raw(), getegid().as_raw())
        && copied_bits(stat) == Mode::from_raw_mode(Permissions::DIRECTORY.mode.into())
}

/// Ignores that this process may not change owners: ordinary users may not, nor may root in a
/// container without `CAP_CHOWN`.
pub(super) fn ignore_forbidden(done: io::Result<()>) -> io::Result<()> {
    let forbidden = [Errno::PERM, Errno::INVAL];
    match done {
        Err(error) if Errno::from_io_error(&error).is_some_and(|it| forbidden.contains(&it)) => {
            Ok(())
        }
        done => done,
    }
}

/// Sets owner and group as far as they are given and this process may.
pub(super) fn set_owner(file: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let done = fchown(file, uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    ignore_forbidden(done.map_err(Into::into))
}

/// Sets owner and mode of a copy to those of its original, the owner as far as this process may.
pub(super) fn copy_access(original: &Stat, copy: impl AsFd) -> io::Result<()> {
    let now = fstat(&copy)?;
    if (now.st_uid, now.st_gid) != (original.st_uid, original.st_gid) {
        set_owner(&copy, Some(original.st_uid), Some(original.st_gid))?;
    }
    Ok(fchmod(&copy, copied_bits(original))?)
}

/// Sets the mode of a directory; and, as root, owner and group as far as they are given.
pub(super) fn set_permissions(dir: &Dir, permissions: Permissions) -> io::Result<()> {
    if let Some((uid, gid)) = owner_to_set(permissions) {
        set_owner(dir, uid, gid)?;
    }
    Ok(fchmod(dir, Mode::from_raw_mode(permissions.mode.into()))?)
}

/// Returns owner and group to set. `None` if neither is given, or if this process is not root: as
/// with tar and cp, its files are then its own.
pub(super) fn owner_to_set(permissions: Permissions) -> Option<(Option<u32>, Option<u32>)> {
    let ids = (permissions.uid, permissions.gid);
    (geteuid().is_root() && ids != (None, None)).then_some(ids)
}
