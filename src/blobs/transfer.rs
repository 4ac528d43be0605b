//! Transfer: how the bytes of an open file become those of another, and who could change them.
//!
//! Files are given by descriptor: what was looked at is what is taken. Nothing here verifies
//! bytes, and nothing decides which way is right.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, flistxattr, fstat, ioctl_ficlone};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::BLOB_MODE;
use crate::dir::Dir;

/// Bytes that are copied at once.
const COPIED_AT_ONCE: usize = 1 << 20;
/// Bytes of the names of a file's attributes that are looked at; a file with more has some that
/// nobody knows.
const NAMES_BYTES_MAX: usize = 4_096;

/// How the bytes of a file become those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferMode {
    /// One file under both names.
    Link,
    /// Copied by reference: only on filesystems that can (xfs, btrfs).
    Reflink,
    /// Copied.
    Copy,
    /// Moved; copied from another filesystem.
    Move,
}

/// How a file could become a blob without a copy of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shareable {
    /// The filesystem copies it by reference.
    pub by_reference: bool,
    /// It can have another name among the blobs.
    pub by_link: bool,
}

/// Gives the bytes of an open file to a name beneath `to` at which nothing stands: a copy has
/// this mode, less the umask. Returns how that was done: a file that can have no more names is
/// copied. [`TransferMode::Move`] leaves the old name for the caller to remove once the new one counts.
///
/// # Errors
/// What the system says; nothing is left at the name then.
pub fn transfer(
    source: &File,
    to: &Dir,
    name: impl AsRef<Path>,
    way: TransferMode,
    mode: Mode,
) -> io::Result<TransferMode> {
    let name = name.as_ref();
    if matches!(way, TransferMode::Link | TransferMode::Move) {
        match to.link(source, name) {
            Ok(()) => return Ok(TransferMode::Link),
            Err(error) if may_be_copied(&error, way) => {}
            Err(error) => return Err(error),
        }
    }
    let target = to.open_file(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)?;
    let copied = copy(source, &target, way);
    if copied.is_err() {
        // What there was no room for takes none.
        let _gone = to.remove_file(name);
    }
    copied
}

/// Returns `true` if a copy does instead of the other name that a file cannot have.
fn may_be_copied(error: &io::Error, way: TransferMode) -> bool {
    let is = |one: Errno| error.raw_os_error() == Some(one.raw_os_error());
    let elsewhere = [Errno::XDEV, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS];
    is(Errno::MLINK) || (way == TransferMode::Move && elsewhere.into_iter().any(is))
}

fn copy(source: &File, mut target: &File, way: TransferMode) -> io::Result<TransferMode> {
    let done = if way == TransferMode::Reflink {
        ioctl_ficlone(target, source)?;
        TransferMode::Reflink
    } else {
        let (mut buffer, mut offset) = (vec![0; COPIED_AT_ONCE], 0);
        loop {
            let read = source.read_at(&mut buffer, offset)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break TransferMode::Copy;
            };
            target.write_all(bytes)?;
            offset += read as u64;
        }
    };
    target.set_modified(source.metadata()?.modified()?)?;
    Ok(done)
}

/// Returns who could write an open file besides root and the user `owner`, in words; nothing if
/// nobody could. Who has it open for writing already is not seen.
///
/// # Errors
/// What the system says: then nobody knows.
pub fn other_writers(file: &File, owner: u32) -> io::Result<Option<String>> {
    let stat = fstat(file)?;
    if stat.st_uid != owner && stat.st_uid != 0 {
        return Ok(Some(format!("it belongs to user {}", stat.st_uid)));
    }
    if stat.st_mode & 0o022 != 0 {
        return Ok(Some(format!("its mode is {:o}", stat.st_mode & 0o7777)));
    }
    let mut names = vec![0; NAMES_BYTES_MAX];
    let len = match flistxattr(file, names.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => 0,
        Err(Errno::RANGE) => return Ok(Some("it has many attributes".into())),
        len => len?,
    };
    let names = names.get(..len).unwrap_or_default();
    let listed = names
        .split(|byte| *byte == 0)
        .any(|name| name.ends_with(b"acl_access") || name.ends_with(b"acl"));
    Ok(listed.then(|| "it has an access control list".into()))
}

/// Makes a blob's file the store's own: nobody may write it, and only `owner` may read it. A
/// file that has another name as well is left as it is.
///
/// # Errors
/// What the system says.
pub fn claim(file: &File, owner: u32) -> io::Result<()> {
    let stat = fstat(file)?;
    if stat.st_nlink > 1 {
        return Ok(());
    }
    if stat.st_uid != owner {
        fchown(file, Some(Uid::from_raw(owner)), None::<Gid>)?;
    }
    Ok(fchmod(file, Mode::from_raw_mode(BLOB_MODE))?)
}
