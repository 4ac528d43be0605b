//! Import: a plain tree read, repaired and stored.
//!
//! A check first searches the tree for everything that needs a decision of the caller. Then the
//! blobs are imported, and then the repositories, so that a manifest can be read when its link is
//! imported. The tree is read through descriptors only, so that nobody who changes it during the
//! import can lead the import out of it. Nothing in the tree is changed unless blobs are to be
//! moved. An import can be repeated, after a crash or after further pushes: what the store has
//! already is not imported again.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::fs::Mode;

use super::error::{AdoptionError, about, require_running};
use super::import_report::{ImportCounters, ImportReport};
use super::quarantine::{self, Quarantine};
use super::read::OpenDirectory;
use super::unmanaged::{UnmanagedCopy, UnmanagedEntry};
use super::walk::{Walk, on_threads};
use crate::layout::Node;
use crate::registry::FILES;

mod file;
mod link;
mod options;
mod ownership;
mod precheck;
mod route;
mod run;
mod transfer_planner;
mod worker;

pub use options::ImportOptions;

use ownership::ownership;
use route::Route;
use run::ImportRun;
use transfer_planner::TransferPlanner;
use worker::{ImportTask, ImportWorker};

/// The share of the whole progress that the check has.
const CHECK_SHARE: f64 = 0.1;

/// Imports a tree.
///
/// # Errors
/// Before anything is stored: [`AdoptionError::NoTree`], and [`AdoptionError::Links`] or
/// [`AdoptionError::Choose`] if the caller has to decide something. Later:
/// [`AdoptionError::Stopped`], [`AdoptionError::Changed`], or the error of a file or of the store;
/// what was stored by then stays, and the same import continues from there.
pub fn import(options: &ImportOptions<'_>) -> Result<ImportReport, AdoptionError> {
    let began = Instant::now();
    let route = route::open(options.plain, options.root, options.follow_links)?;
    let registry = options.into.map(|(_, registry)| registry);
    let planner = registry.map(|registry| TransferPlanner::new(registry, options.transfer_mode));
    let run = ImportRun {
        options,
        top: Arc::new(OpenDirectory::top(&route.tree)),
        quarantine: options.into.map(|(store, _)| Quarantine::of(store)),
        planner: planner.transpose()?,
        counters: ImportCounters::default(),
        seen: Mutex::default(),
    };
    if let (Some(registry), Some(planner)) = (registry, &run.planner) {
        options.progress.begin("checking the tree");
        precheck::check(options, registry, planner, &run.top, CHECK_SHARE)?;
    }
    for (what, share, part) in [
        ("blobs", 0.4, Node::Blobs),
        ("repositories", 0.6, Node::Repositories),
    ] {
        options.progress.begin(what);
        import_part(&run, &part, share * (1.0 - CHECK_SHARE))?;
    }
    import_top_ownership(&run, &route)?;
    import_others(&run, &route)?;
    if let Some(registry) = registry {
        registry.sync_always()?;
    }
    let report = run
        .counters
        .report(began.elapsed().as_secs_f64(), registry.is_none());
    if let Some((store, _)) = options.into {
        quarantine::write_report(store, &report)?;
    }
    Ok(report)
}

/// Checks that there is a registry's tree to import.
///
/// # Errors
/// [`AdoptionError::NoTree`] if there is none, [`AdoptionError::Links`] if it is behind a symbolic
/// link that is not to be followed, [`AdoptionError::System`] if it cannot be read.
pub fn find(plain: &Path, root: &str, follow_links: bool) -> Result<(), AdoptionError> {
    route::open(plain, root, follow_links).map(drop)
}

/// Imports the blobs or the repositories.
fn import_part(run: &ImportRun<'_>, part: &Node, share: f64) -> Result<(), AdoptionError> {
    let name = OsString::from(part.name());
    let progress = run.options.progress;
    if run.top.stat(&name).is_err() {
        progress.add(share, 0);
        return Ok(());
    }
    let first = ImportTask::Directory(Arc::clone(&run.top), name, part.clone());
    let walk = Walk::new(vec![first], share, progress);
    on_threads(run.options.jobs, || {
        let mut worker = ImportWorker::new(run);
        walk.work(|task| worker.run(task))?;
        worker.finish()
    })?;
    require_running(progress)
}

/// Imports owner and mode of the directories that every tree has.
fn import_top_ownership(run: &ImportRun<'_>, route: &Route) -> Result<(), AdoptionError> {
    let mut worker = ImportWorker::new(run);
    let top = ownership(&route.plain).map_err(about(route.plain.path()))?;
    if let Some(ownership) = top {
        worker.mountpoint_ownership(ownership)?;
    }
    worker.ownership(&route.tree, &Node::Root)?;
    worker.finish()
}

/// Imports everything that the layout does not have: below `v2`, where it is quarantined, and
/// outside the tree, where files are copied.
fn import_others(run: &ImportRun<'_>, route: &Route) -> Result<(), AdoptionError> {
    for (name, kind) in run.top.list().map_err(about(run.top.dir.path()))? {
        let known = name.to_str().and_then(|name| Node::Root.child(name));
        if known.is_none() || run.open_directory(&run.top, &name, kind).is_none() {
            run.quarantine_name(&run.top, &Node::Root, &name, kind);
        }
    }
    let Some((store, _)) = run.options.into else {
        return Ok(());
    };
    let files = store.ensure_dir(FILES, Mode::RWXU);
    let files = files.map_err(about(&store.shown(FILES)))?;
    let mut copy = UnmanagedCopy {
        steps: &route.steps,
        other: |entry: &UnmanagedEntry<'_>| {
            run.quarantine_unmanaged(entry);
            Ok(())
        },
        count: 0,
    };
    copy.run(&route.plain, &files)?;
    run.counters.unmanaged.store(copy.count, Ordering::Relaxed);
    Ok(())
}
