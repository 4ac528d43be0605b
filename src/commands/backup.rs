//! `regfs backup` and `restore`: a store copied as of one moment, and made anew from that.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Absent, CommandError, StoreLock, about};
use crate::adoption::{self, Progress};
use crate::dir::Dir;
use crate::registry::{self, FILES, Registry, Way};

/// What a backup has brought.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct BackedUp {
    /// Blobs in the backup that are files.
    pub blobs: u64,
    /// Those that were not there before.
    pub new: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Blobs that are not needed any more, and are gone.
    pub removed: u64,
    /// Blobs that the facts name but whose bytes were not there.
    pub missing: u64,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for BackedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "backed up: all facts, {} blobs that are files, {} of them ({} bytes) new; {} gone \
             that nothing needs; {:.1} s",
            self.blobs, self.new, self.new_bytes, self.removed, self.seconds
        )?;
        if self.missing > 0 {
            write!(f, "; {} blobs are missing: run regfs fsck", self.missing)?;
        }
        Ok(())
    }
}

/// Backs a store up.
pub(super) fn backup(
    store: &Dir,
    registry: &Registry,
    target: &Path,
    progress: &Progress,
) -> Result<BackedUp, CommandError> {
    let began = Instant::now();
    progress.begin("blobs");
    let lock = StoreLock::hold(registry::prepare(target)?, false)?;
    let done = registry.backup(lock.dir(), |blobs| {
        progress.add(0.0, blobs);
        !progress.is_stopped()
    })?;
    copy_files(store, lock.dir())?;
    drop(lock);
    Ok(BackedUp {
        blobs: done.blobs,
        new: done.new,
        new_bytes: done.new_bytes,
        removed: done.removed,
        missing: done.missing,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Makes a new store of a backup; how many blobs came as files.
pub fn restore(backup: &Path, store: &Path, way: Way) -> Result<u64, CommandError> {
    let progress = Progress::default();
    super::work::watched(&progress, || {
        progress.begin("blobs");
        let from = Dir::open(backup).map_err(about(backup))?;
        if !registry::is_backup(&from)? {
            let text = format!("{} holds no backup", backup.display());
            return Err(CommandError::Usage(text));
        }
        let from = StoreLock::hold(from, false)?;
        let to = StoreLock::take(store, Absent::Make)?;
        let count = registry::restore(from.dir(), to.dir(), way, |blobs| {
            progress.add(0.0, blobs);
            true
        })?;
        copy_files(from.dir(), to.dir())?;
        Ok(count)
    })
}

fn copy_files(from: &Dir, to: &Dir) -> Result<(), CommandError> {
    let files = from.through(FILES);
    if files.is_dir() {
        adoption::copy_files(&files, &to.through(FILES))?;
    }
    let opened = to.open_dir("").map_err(about(to.path()))?;
    rustix::fs::syncfs(&opened).map_err(|error| about(to.path())(error.into()))
}
