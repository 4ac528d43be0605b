//! A path of directories that is created as far as it does not exist.

use std::io;
use std::path::Path;

use rustix::fs::Mode;

use crate::dir::Dir;

/// Opens a directory below another. Directories of the path that do not exist are created with
/// `mode`, to which the umask applies.
pub(super) fn create_path(top: &Dir, path: &Path, mode: Mode) -> io::Result<Dir> {
    match top.open_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut at = top.clone();
            for name in path.components() {
                at = at.ensure_dir(name, mode)?;
            }
            Ok(at)
        }
        opened => opened,
    }
}
