//! Placing: a file that was made whole under another name gets its own, durably.

use std::io;
use std::path::Path;

use rustix::fs::RenameFlags;

use crate::dir::Dir;

/// Renames a file of a directory, in the place of one that is there; durable when this returns.
pub(super) fn durable_rename(dir: &Dir, new: &Path, name: &Path) -> io::Result<()> {
    dir.rename(new, dir, name, RenameFlags::empty())?;
    dir.sync()
}
