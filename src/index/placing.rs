//! Placing: a file that was made whole under another name gets its own, durably.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Renames a file, in the place of one that is there; durable when this returns.
pub(super) fn place(new: &Path, path: &Path) -> io::Result<()> {
    fs::rename(new, path)?;
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
