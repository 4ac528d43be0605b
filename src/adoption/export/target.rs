//! The target of an export: a directory that is new or empty, and what its filesystem can do.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::Mode;

use super::FILE;
use crate::adoption::access::Private;
use crate::adoption::{AdoptionError, about};
use crate::dir::Dir;
use crate::layout::Node;
use crate::printable::printable;
use crate::registry::{INLINE_BYTES_MAX, Snapshot, TransferMode, Value, transfer};

/// The name under which it is tried whether files can be copied by reference.
const TRIED: &str = ".regfs-tried";
/// The mode of directories that are made, less the umask.
const DIRECTORY: Mode = Mode::from_raw_mode(0o777);

/// Makes the target, which must be new or empty. It lets nobody else in until it is opened.
pub(super) fn prepare(target: &Path) -> Result<(Dir, Private), AdoptionError> {
    let opened = match fs::create_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Dir::open(target),
        // By its name in its parent: a symbolic link that somebody put in its place is refused.
        made => made.and_then(|()| {
            let above = target
                .parent()
                .filter(|above| !above.as_os_str().is_empty());
            let above = Dir::open(above.unwrap_or(Path::new(".")))?;
            above.open_dir(target.file_name().unwrap_or_default())
        }),
    };
    let opened = opened.map_err(about(target))?;
    let private = Private::make(&opened).map_err(about(target))?;
    if opened.entries().map_err(about(target))?.next().is_some() {
        let path = target.to_owned();
        return Err(AdoptionError::NotEmpty { path });
    }
    Ok((opened, private))
}

/// The way in which blobs become the tree's own: by reference if the filesystem can, or else by
/// a copy for which there must be room.
pub(super) fn own(moment: &Snapshot<'_>, target: &Dir) -> Result<TransferMode, AdoptionError> {
    let (mut needed, mut first) = (0, None);
    moment.blobs(|fact| {
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
    if let Ok(reading) = moment.open(&first)
        && let Some(file) = reading.file()
        && transfer(file, target, TRIED, TransferMode::Reflink, FILE).is_ok()
    {
        target
            .remove_file(TRIED)
            .map_err(about(&target.shown(TRIED)))?;
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
        "{needed} bytes of blobs are copied to {}, which shares none with the store by reference",
        printable(target.path())
    );
    Ok(TransferMode::Copy)
}

/// Opens a directory beneath another, and makes those that lead to it.
pub(super) fn make_all(top: &Dir, path: &Path) -> io::Result<Dir> {
    match top.open_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut at = top.clone();
            for name in path.components() {
                at = at.ensure_dir(name, DIRECTORY)?;
            }
            Ok(at)
        }
        opened => opened,
    }
}
