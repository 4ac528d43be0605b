//! `regfs backup` and `restore`: a store copied as of one moment, and made anew from that.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{CommandError, StoreLock, about};
use crate::adoption::{self, Progress};
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
    store: &Path,
    registry: &Registry,
    target: &Path,
    progress: &Progress,
) -> Result<BackedUp, CommandError> {
    let began = Instant::now();
    progress.begin("blobs");
    registry::prepare(target)?;
    let lock = StoreLock::take(target)?;
    let done = registry.backup(target, |blobs| {
        progress.add(0.0, blobs);
        !progress.is_stopped()
    })?;
    copy_files(store, target)?;
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
        if !registry::is_backup(backup) {
            let text = format!("{} holds no backup", backup.display());
            return Err(CommandError::Usage(text));
        }
        let backup_lock = StoreLock::take(backup)?;
        let lock = StoreLock::take(store)?;
        let count = registry::restore(backup, store, way, |blobs| {
            progress.add(0.0, blobs);
            true
        })?;
        copy_files(backup, store)?;
        drop((lock, backup_lock));
        Ok(count)
    })
}

fn copy_files(from: &Path, to: &Path) -> Result<(), CommandError> {
    let files = from.join(FILES);
    if files.is_dir() {
        adoption::copy_files(&files, &to.join(FILES))?;
    }
    let directory = std::fs::File::open(to).map_err(about(to))?;
    rustix::fs::syncfs(&directory).map_err(|error| about(to)(error.into()))
}
