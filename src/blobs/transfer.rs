//! Transfers: the bytes of an open file become those of another, by link, reflink or copy.
//!
//! Files are given by descriptor, so that the file that was examined is the one transferred.
//! Nothing here verifies bytes or chooses the mode.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, flistxattr, fstat, ioctl_ficlone};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::BLOB_MODE;
use crate::dir::Dir;

/// Bytes that are copied by one call.
const COPIED_AT_ONCE: usize = 1 << 20;
/// Bytes of the names of a file's extended attributes that are examined. A file with more counts
/// as one with unknown attributes.
const NAMES_BYTES_MAX: usize = 4_096;

/// How the bytes of a file become those of another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferMode {
    /// A hard link: one file with both names.
    Link,
    /// A reflink: the files share extents. Only some filesystems can (xfs, btrfs).
    Reflink,
    /// A copy.
    Copy,
    /// A move; a copy if the file is on another filesystem.
    Move,
}

/// How a file could become a blob without a copy of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shareable {
    /// By [`TransferMode::Reflink`].
    pub by_reference: bool,
    /// By [`TransferMode::Link`].
    pub by_link: bool,
}

/// Gives the bytes of an open file to a name beneath `to`, which must not exist. A copy has the
/// given mode, less the umask. Returns the mode of transfer that was used: a file that can have
/// no more names is copied. [`TransferMode::Move`] leaves the old name; the caller removes it
/// once the new one is durable.
///
/// # Errors
/// The error of the operating system. The name does not exist then.
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
        // A copy for which there was no room takes none.
        let _gone = to.remove_file(name);
    }
    copied
}

/// Returns `true` if an error says that a file cannot have another name, and a copy is allowed
/// instead.
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

/// Returns why somebody besides root and the user `owner` could write an open file, for people;
/// `None` if nobody could. Does not see who has the file open for writing already.
///
/// # Errors
/// The error of the operating system. Callers must assume then that others can write.
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

/// Makes a blob's file the store's own: it gets mode [`BLOB_MODE`] and belongs to `owner`. A file
/// that has another name is left as it is.
///
/// # Errors
/// The error of the operating system.
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
