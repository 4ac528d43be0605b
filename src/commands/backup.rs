//! `regfs backup` and `regfs restore`: a snapshot of a store copied into a directory, and back.

use std::io;
use std::path::Path;
use std::time::Instant;

use rustix::fs::Mode;

use super::progress_bar::with_progress_bar;
use super::store_dir::IfMissing;
use super::{CommandError, StoreLock, with_path};
use crate::adoption;
use crate::dir::Dir;
use crate::maintenance::{self, BackupReport, Progress, RestoreReport};
use crate::printable::printable;
use crate::registry::{self, FILES, Registry, TransferMode};

/// Backs up a store: its index and blobs, and the plain files beside the registry root. Then
/// checks the store, and adds its faults to the report.
///
/// # Errors
/// `target` is neither empty nor a backup, or is in use; the failure to read or write.
pub(super) fn backup(
    store: &Dir,
    registry: &Registry,
    target: &Path,
    progress: &Progress,
) -> Result<BackupReport, CommandError> {
    let began = Instant::now();
    let lock = StoreLock::take_open(maintenance::prepare(target)?, false)?;
    let mut report = maintenance::back_up(registry, lock.dir(), progress)?;
    copy_files(store, lock.dir())?;
    drop(lock);
    progress.begin("checking for faults");
    report.add_faults(maintenance::check(registry, &Progress::default())?);
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Creates a new store from a backup. Returns how the blobs were transferred.
///
/// # Errors
/// `backup` is not a backup; the path of the store is not empty, or lies in the backup; the
/// failure to read or write.
pub fn restore(
    backup: &Path,
    store: &Path,
    transfer: Option<TransferMode>,
) -> Result<RestoreReport, CommandError> {
    let progress = Progress::default();
    with_progress_bar(&progress, || {
        let from = Dir::open(backup).map_err(with_path(backup))?;
        if !registry::is_backup(&from)? {
            let text = format!(
                "{} holds no backup: expected a directory that regfs backup has written",
                printable(backup)
            );
            return Err(CommandError::Usage(text));
        }
        super::overlap::refuse_overlap(store, &from, None)?;
        let from = StoreLock::take_open(from, false)?;
        let to = StoreLock::take(store, IfMissing::Create)?;
        let restored = maintenance::restore(from.dir(), to.dir(), transfer, &progress)?;
        copy_files(from.dir(), to.dir())?;
        Ok(restored)
    })
}

/// Copies the plain files of a store, and makes everything written to `to` durable.
fn copy_files(from: &Dir, to: &Dir) -> Result<(), CommandError> {
    match from.open_dir(FILES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        files => {
            let files = files.map_err(with_path(&from.shown(FILES)))?;
            let target = to.ensure_dir(FILES, Mode::RWXU);
            let target = target.map_err(with_path(&to.shown(FILES)))?;
            adoption::copy_files(&files, &target)?;
        }
    }
    let root = to.open_dir("").map_err(with_path(to.path()))?;
    rustix::fs::syncfs(&root).map_err(|error| with_path(to.path())(error.into()))
}
