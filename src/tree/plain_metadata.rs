//! Metadata of plain files: conversion from the host's stat(2) and back.

use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    FileType, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, fchmod, fchown, fstat,
    futimens,
};
use rustix::process::{getegid, geteuid};

use super::stat::{Attributes, Change, FileKind, Permissions};
use super::{TreeError, inode_number};

/// The bits for set-user-ID and set-group-ID, and the bit without which set-group-ID has no effect.
const SET_UID: u16 = 0o4000;
const SET_GID: u16 = 0o2000;
const GROUP_RUNS: u16 = 0o0010;

/// Returns the attributes of a plain file. Files that belong to the daemon's own user or group are
/// shown as the mount's own: older stores have such files, and daemons that may not change owners
/// create them.
pub(super) fn attributes(stat: &Stat) -> Attributes {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharacterDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::RegularFile | FileType::Unknown => FileKind::File,
    };
    let permissions = Permissions {
        uid: Some(stat.st_uid).filter(|uid| *uid != geteuid().as_raw()),
        gid: Some(stat.st_gid).filter(|gid| *gid != getegid().as_raw()),
        mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or_default(),
    };
    Attributes {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        blocks: u64::try_from(stat.st_blocks).unwrap_or_default(),
        accessed: time(stat.st_atime, stat.st_atime_nsec),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        device: u32::try_from(stat.st_rdev).unwrap_or_default(),
        permissions,
        number: inode_number::plain(stat.st_ino),
    }
}

/// Makes a change with these calls: the owner first, since chown(2) clears bits of the mode.
pub(super) fn change(
    asked: Change,
    set_owner: impl FnOnce(Option<u32>, Option<u32>) -> io::Result<()>,
    set_mode: impl FnOnce(u16) -> io::Result<()>,
    set_times: impl FnOnce(&Timestamps) -> io::Result<()>,
) -> io::Result<()> {
    if asked.uid.is_some() || asked.gid.is_some() {
        set_owner(asked.uid, asked.gid)?;
    }
    if let Some(bits) = asked.mode {
        set_mode(bits)?;
    }
    if asked.accessed.is_some() || asked.modified.is_some() {
        let times = Timestamps {
            last_access: timespec(asked.accessed),
            last_modification: timespec(asked.modified),
        };
        set_times(&times)?;
    }
    Ok(())
}

/// Converts a time for the host; `None` leaves it unchanged.
fn timespec(time: Option<SystemTime>) -> Timespec {
    let Some(time) = time else {
        return Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        };
    };
    let seconds = |since: Duration| i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Timespec {
            tv_sec: seconds(since),
            tv_nsec: since.subsec_nanos().into(),
        },
        Err(before) => {
            let before = before.duration();
            let nanos = i64::from(before.subsec_nanos());
            Timespec {
                tv_sec: -seconds(before) - i64::from(nanos > 0),
                tv_nsec: if nanos > 0 { 1_000_000_000 - nanos } else { 0 },
            }
        }
    }
}

/// Sets owner and mode of a file that was just created.
pub(super) fn set_created_attributes(file: &File, new: Permissions) -> io::Result<()> {
    let change = Change {
        mode: Some(new.mode),
        uid: new.uid,
        gid: new.gid,
        ..Change::default()
    };
    change_file(file, change)
}

fn change_file(file: &File, asked: Change) -> io::Result<()> {
    change(
        asked,
        |uid, gid| {
            let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
            Ok(fchown(file, uid, gid)?)
        },
        |bits| Ok(fchmod(file, mode(bits))?),
        |times| Ok(futimens(file, times)?),
    )
}

/// Returns the attributes of an open plain file.
pub(super) fn shown(file: &File) -> Result<Attributes, TreeError> {
    let stat = fstat(file).map_err(|error| about_open(error.into()))?;
    Ok(attributes(&stat))
}

/// Changes an open plain file as `admit` says, given its attributes, wherever its name is now.
pub(super) fn change_opened(
    file: &File,
    admit: impl FnOnce(&Attributes) -> Result<Change, TreeError>,
) -> Result<(), TreeError> {
    change_file(file, admit(&shown(file)?)?).map_err(about_open)
}

/// Clears set-user-ID and set-group-ID of a file whose content is changed by a user who may not
/// grant them.
pub(super) fn drop_privileges(file: &File) -> Result<(), TreeError> {
    let bits = shown(file)?.permissions.mode;
    let mut cleared = bits & !SET_UID;
    if bits & GROUP_RUNS != 0 {
        cleared &= !SET_GID;
    }
    if cleared == bits {
        return Ok(());
    }
    fchmod(file, mode(cleared)).map_err(|error| about_open(error.into()))
}

/// Converts permission bits for the host.
pub(super) fn mode(bits: u16) -> Mode {
    Mode::from_raw_mode(u32::from(bits) & 0o7777)
}

/// Converts an error about an open plain file.
pub(super) fn about_open(error: io::Error) -> TreeError {
    TreeError::Plain {
        path: "an open file".into(),
        error,
    }
}

/// Converts a time of the host.
fn time(seconds: i64, nanos: u64) -> SystemTime {
    let nanos = Duration::from_nanos(nanos);
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds < 0 {
        UNIX_EPOCH.checked_sub(whole)
    } else {
        UNIX_EPOCH.checked_add(whole)
    };
    whole
        .and_then(|whole| whole.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}
