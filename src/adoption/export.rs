//! Export: the facts of a snapshot of a store, written as the plain tree of a registry.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::directory_path::create_path;
use super::error::{AdoptionError, about};
use super::export_report::ExportReport;
use super::private_directory::PrivateDirectory;
use super::unmanaged::{copy_files, copy_path_access};
use crate::dir::Dir;
use crate::layout;
use crate::registry::{FILES, Ownership, OwnershipScope};
use crate::tree::Permissions;

mod options;
mod ownership;
mod run;
mod target;

pub use options::ExportOptions;

use run::ExportRun;
use target::{DIRECTORY_MODE, choose_transfer_mode, prepare};

/// Exports a store. The target directory is closed to other users until the export is complete.
///
/// # Errors
/// Before anything is written: [`AdoptionError::NotEmpty`] and [`AdoptionError::NoRoom`]. Later:
/// [`AdoptionError::Stopped`], or the error of a file or of the store; the incomplete tree stays.
pub fn export(options: &ExportOptions<'_>) -> Result<ExportReport, AdoptionError> {
    let began = Instant::now();
    let (target, private) = prepare(options.target)?;
    let root = Path::new(options.root.trim_matches('/')).join(layout::TOP);
    let snapshot = options.registry.snapshot()?;
    let mode = match options.transfer_mode {
        Some(mode) => mode,
        None => choose_transfer_mode(&snapshot, &target)?,
    };
    let tree = create_path(&target, &root, DIRECTORY_MODE).map_err(about(&target.shown(&root)))?;
    let run = ExportRun::new(options, snapshot, tree, mode);
    run.tops()?;
    options.progress.begin("blobs");
    run.blobs()?;
    options.progress.add(0.4, 0);
    options.progress.begin("repositories");
    run.repositories(0.6)?;
    let unmanaged = export_unmanaged(options, &target)?;
    let (tree, ownerships, report) = run.finish();
    finish_target(options, &target, private, &tree, &ownerships)?;
    Ok(ExportReport {
        files: report.files + unmanaged,
        seconds: began.elapsed().as_secs_f64(),
        ..report
    })
}

/// Copies the unmanaged files of the store. Returns their number.
fn export_unmanaged(options: &ExportOptions<'_>, target: &Dir) -> Result<u64, AdoptionError> {
    let files = match options.store.open_dir(FILES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        files => files.map_err(about(&options.store.shown(FILES)))?,
    };
    let count = copy_files(&files, target)?;
    let path = Path::new(options.root.trim_matches('/'));
    copy_path_access(&files, target, path).map_err(about(&target.shown(path)))?;
    Ok(count)
}

/// Applies stored owners and modes, opens the target to its users, and makes it durable.
fn finish_target(
    options: &ExportOptions<'_>,
    target: &Dir,
    private: PrivateDirectory,
    tree: &Dir,
    ownerships: &HashMap<OwnershipScope, Ownership>,
) -> Result<(), AdoptionError> {
    if !ownerships.is_empty() && private.is_closed() {
        ownership::apply(ownerships, tree, options.progress)?;
    }
    let top = ownerships.get(&OwnershipScope::Mountpoint).copied();
    let opened = private.open(top.map(Permissions::from));
    opened.map_err(about(target.path()))?;
    let synced = rustix::fs::syncfs(target);
    synced.map_err(|error| about(target.path())(error.into()))
}
