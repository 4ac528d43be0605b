//! The target of an export: a new or empty directory, and how its filesystem can take blobs.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::Mode;

use crate::adoption::error::{AdoptionError, about};
use crate::adoption::private_directory::PrivateDirectory;
use crate::dir::Dir;
use crate::layout::Node;
use crate::printable::printable;
use crate::registry::{INLINE_BYTES_MAX, Snapshot, TransferMode, Value, transfer};

/// The name of the file with which copying by reference is tried.
const PROBE: &str = ".regfs-tried";
/// The mode of created directories, before the umask.
pub(super) const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);
/// The mode of created files, before the umask.
pub(super) const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// Creates the target, or checks that it is empty, and closes it to other users.
pub(super) fn prepare(target: &Path) -> Result<(Dir, PrivateDirectory), AdoptionError> {
    let opened = match fs::create_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Dir::open(target),
        // Opened by its name in its parent, so that a symbolic link that somebody has put in its
        // place is refused.
        made => made.and_then(|()| {
            let above = target
                .parent()
                .filter(|above| !above.as_os_str().is_empty());
            let above = Dir::open(above.unwrap_or(Path::new(".")))?;
            above.open_dir(target.file_name().unwrap_or_default())
        }),
    };
    let opened = opened.map_err(about(target))?;
    let private = PrivateDirectory::close(&opened).map_err(about(target))?;
    if opened.entries().map_err(about(target))?.next().is_some() {
        let path = target.to_owned();
        return Err(AdoptionError::NotEmpty { path });
    }
    Ok((opened, private))
}

/// Returns the mode that gives the tree files of its own: by reference if the filesystem can,
/// otherwise by copying.
///
/// # Errors
/// [`AdoptionError::NoRoom`] if copies would not fit.
pub(super) fn choose_transfer_mode(
    snapshot: &Snapshot<'_>,
    target: &Dir,
) -> Result<TransferMode, AdoptionError> {
    let (mut needed, mut first) = (0, None);
    snapshot.blobs(|fact| {
        if let (Node::BlobData(digest), Value::Blob { size, .. }) = fact
            && size > INLINE_BYTES_MAX as u64
        {
            needed += size;
            first = first.or(Some(digest));
        }
        Ok::<_, AdoptionError>(())
    })?;
    let Some(first) = first else {
        return Ok(TransferMode::Copy);
    };
    if let Ok(reading) = snapshot.open(&first)
        && let Some(file) = reading.file()
        && transfer(file, target, PROBE, TransferMode::Reflink, FILE_MODE).is_ok()
    {
        target
            .remove_file(PROBE)
            .map_err(about(&target.shown(PROBE)))?;
        return Ok(TransferMode::Reflink);
    }
    let space = rustix::fs::fstatvfs(target);
    let space = space.map_err(|error| about(target.path())(error.into()))?;
    let room = space.f_bavail.saturating_mul(space.f_frsize);
    if needed > room {
        let path = target.path().to_owned();
        return Err(AdoptionError::NoRoom { path, needed, room });
    }
    log::warn!(
        "copying {needed} bytes of blobs to {}: its filesystem cannot share them with the store \
         by reference",
        printable(target.path())
    );
    Ok(TransferMode::Copy)
}
