//! `regfs backup` and `restore`: a store copied as of one moment, and made anew from that.

use std::io;
use std::path::Path;
use std::time::Instant;

use rustix::fs::Mode;

use super::progress_bar::watched;
use super::{Absent, CommandError, StoreLock, about};
use crate::adoption;
use crate::dir::Dir;
use crate::maintenance::{self, BackupReport, Progress, RestoreReport};
use crate::printable::printable;
use crate::registry::{self, FILES, Registry, TransferMode};

/// Backs a store up: its index and blobs, and the files that are not of its registry.
pub(super) fn backup(
    store: &Dir,
    registry: &Registry,
    target: &Path,
    progress: &Progress,
) -> Result<BackupReport, CommandError> {
    let began = Instant::now();
    let lock = StoreLock::hold(maintenance::prepare(target)?, false)?;
    let mut report = maintenance::back_up(registry, lock.dir(), progress)?;
    copy_files(store, lock.dir())?;
    drop(lock);
    progress.begin("looking for faults");
    report.add_faults(maintenance::check(registry, &Progress::default())?);
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Makes a new store of a backup; what became of the blobs that are files.
///
/// # Errors
/// There is no backup, or something where the store should be; or what could not be read or
/// written.
pub fn restore(
    backup: &Path,
    store: &Path,
    way: Option<TransferMode>,
) -> Result<RestoreReport, CommandError> {
    let progress = Progress::default();
    watched(&progress, || {
        let from = Dir::open(backup).map_err(about(backup))?;
        if !registry::is_backup(&from)? {
            let text = format!("{} holds no backup", printable(backup));
            return Err(CommandError::Usage(text));
        }
        super::place::must_lie_elsewhere(store, &from, None)?;
        let from = StoreLock::hold(from, false)?;
        let to = StoreLock::take(store, Absent::Make)?;
        let restored = maintenance::restore(from.dir(), to.dir(), way, &progress)?;
        copy_files(from.dir(), to.dir())?;
        Ok(restored)
    })
}

fn copy_files(from: &Dir, to: &Dir) -> Result<(), CommandError> {
    match from.open_dir(FILES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        files => {
            let files = files.map_err(about(&from.shown(FILES)))?;
            let copies = to.ensure_dir(FILES, Mode::RWXU);
            let copies = copies.map_err(about(&to.shown(FILES)))?;
            adoption::copy_files(&files, &copies)?;
        }
    }
    let opened = to.open_dir("").map_err(about(to.path()))?;
    rustix::fs::syncfs(&opened).map_err(|error| about(to.path())(error.into()))
}
