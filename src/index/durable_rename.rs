//! Durable rename: replaces a file by one that was completed under another name.

use std::io;
use std::path::Path;

use rustix::fs::RenameFlags;

use crate::dir::Dir;

/// Renames the file `new` of a directory to `name`, replacing a file of that name. Returns once the
/// rename is durable.
pub(super) fn durable_rename(dir: &Dir, new: &Path, name: &Path) -> io::Result<()> {
    dir.rename(new, dir, name, RenameFlags::empty())?;
    dir.sync()
}
