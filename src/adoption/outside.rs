//! Outside: files beside the registry's tree (a cache's schedule, lock files), kept as they are.

use std::fs;
use std::io;
use std::path::Path;

use super::{AdoptionError, about};

/// Copies what is below `from` to `to`, but not what is at `except` and not what is there with
/// the same length and time; counts files. What is neither a file, a directory nor a symbolic
/// link is not copied.
pub(super) fn copy(from: &Path, to: &Path, except: &Path) -> Result<u64, AdoptionError> {
    if from == except {
        return Ok(0);
    }
    fs::create_dir_all(to).map_err(about(to))?;
    let mut count = 0;
    for row in fs::read_dir(from).map_err(about(from))? {
        let row = row.map_err(about(from))?;
        let (path, target) = (row.path(), to.join(row.file_name()));
        let metadata = fs::symlink_metadata(&path).map_err(about(&path))?;
        if metadata.is_dir() {
            count += copy(&path, &target, except)?;
        } else if metadata.is_file() || metadata.is_symlink() {
            one(&path, &target, &metadata).map_err(about(&path))?;
            count += 1;
        }
    }
    Ok(count)
}

fn one(path: &Path, target: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    if let Ok(known) = fs::symlink_metadata(target) {
        if known.len() == metadata.len() && known.modified()? == metadata.modified()? {
            return Ok(());
        }
        fs::remove_file(target)?;
    }
    if metadata.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(path)?, target);
    }
    fs::copy(path, target)?;
    fs::File::open(target)?.set_modified(metadata.modified()?)
}
