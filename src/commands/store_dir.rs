//! The directory of a store: opened if it exists, created if the caller wants that.
//!
//! Nothing here takes the store's lock; `lock.rs` does.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Mode, StatVfsMountFlags};

use super::{CommandError, with_path};
use crate::dir::Dir;
use crate::printable::printable;
use crate::registry::{self, StoreState};

/// The mode of a store's directory: only its owner has access.
pub(super) const PRIVATE_DIRECTORY: Mode = Mode::RWXU;

/// What to do if there is no store at a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfMissing {
    /// Create one in a missing or empty directory.
    #[default]
    Create,
    /// Fail.
    Fail,
}

/// Opens the directory of a store. Returns `None` if the path does not exist.
///
/// # Errors
/// Any other failure to open the directory.
pub(super) fn open_if_exists(store: &Path) -> Result<Option<Dir>, CommandError> {
    match Dir::open(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(with_path(store)),
    }
}

/// Opens the directory of a store, or creates it if it is missing and `if_missing` allows that.
///
/// # Errors
/// The directory cannot be opened or created, holds something else than a store, or holds none
/// and `if_missing` is [`IfMissing::Fail`].
pub(super) fn open(store: &Path, if_missing: IfMissing) -> Result<(Dir, StoreState), CommandError> {
    let dir = match open_if_exists(store)? {
        Some(dir) => dir,
        None if if_missing == IfMissing::Fail => return Err(no_store(store, "it does not exist")),
        None => create(store)?,
    };
    let state = registry::state(&dir)?;
    if state == StoreState::Empty && if_missing == IfMissing::Fail {
        return Err(no_store(store, "it is empty"));
    }
    Ok((dir, state))
}

/// Creates the directory of a store. Another process may create it at the same time.
fn create(store: &Path) -> Result<Dir, CommandError> {
    let mut builder = DirBuilder::new();
    match builder.mode(PRIVATE_DIRECTORY.as_raw_mode()).create(store) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(with_path(store)(error)),
        Ok(()) | Err(_) => Dir::open(store).map_err(with_path(store)),
    }
}

/// Returns the error for a path that holds no store.
fn no_store(store: &Path, why: &str) -> CommandError {
    CommandError::Usage(format!("{} is not a store: {why}", printable(store)))
}

/// Returns `true` if a directory is on a read-only filesystem or a read-only mount.
pub(super) fn is_read_only(dir: &Dir) -> Result<bool, CommandError> {
    let stat = rustix::fs::fstatvfs(dir).map_err(|error| with_path(dir.path())(error.into()))?;
    Ok(stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}
