//! What the host keeps of a plain file besides its bytes, as the tree has it, and back.

use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    FileType, Gid, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, fchmod, fchown, fstat, futimens,
};
use rustix::process::{getegid, geteuid};

use super::{about_open, mode, time};
use crate::tree::stat::{Attributes, Change, FileKind, Permissions};
use crate::tree::{TreeError, number};

/// Set-user-ID, set-group-ID, and the bit that makes the second one mean something.
const SET_UID: u16 = 0o4000;
const SET_GID: u16 = 0o2000;
const GROUP_RUNS: u16 = 0o0010;

/// What a plain file's own metadata show. What belongs to the daemon's own user or group belongs
/// to the mount's: files of older stores and of daemons that may not give files away.
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
        number: number::plain(stat.st_ino),
    }
}

/// Makes what is asked for with these calls: the owner first, since giving a file away takes
/// bits of its mode.
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

/// A time for the host, or that it stays as it is.
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

/// Gives a file that was just made to whom it is for.
pub(super) fn owned(file: &File, new: Permissions) -> io::Result<()> {
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

/// What an open plain file's metadata show.
pub(in crate::tree) fn shown(file: &File) -> Result<Attributes, TreeError> {
    let stat = fstat(file).map_err(|error| about_open(error.into()))?;
    Ok(attributes(&stat))
}

/// Changes an open plain file, wherever its name may be, as `admit` says, which sees what it is.
pub(in crate::tree) fn change_opened(
    file: &File,
    admit: impl FnOnce(&Attributes) -> Result<Change, TreeError>,
) -> Result<(), TreeError> {
    change_file(file, admit(&shown(file)?)?).map_err(about_open)
}

/// Takes set-user-ID and set-group-ID from a file whose content somebody changes who may not
/// grant them.
pub(in crate::tree) fn drop_privileges(file: &File) -> Result<(), TreeError> {
    let bits = shown(file)?.permissions.mode;
    let mut kept = bits & !SET_UID;
    if bits & GROUP_RUNS != 0 {
        kept &= !SET_GID;
    }
    if kept == bits {
        return Ok(());
    }
    fchmod(file, mode(kept)).map_err(|error| about_open(error.into()))
}
