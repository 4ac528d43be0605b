//! Runs a job: in the daemon if the store is mounted, otherwise in this process.

use std::path::Path;

use super::perform::perform;
use super::progress_bar::{ProgressBar, with_progress_bar};
use super::protocol::{Answer, Question, ask};
use super::store_dir::{IfMissing, open_if_exists};
use super::{CommandError, Job, JobResult, StoreLock};
use crate::adoption::{self, ImportOptions, ImportReport};
use crate::dir::Dir;
use crate::maintenance::Progress;
use crate::printable::printable;
use crate::registry::{self, Policy, Recover, Registry};

/// Surveys a plain tree without importing it. Returns the report of the import that would follow.
///
/// # Errors
/// The tree cannot be read, or holds no registry.
pub fn survey(
    plain: &Path,
    root: &str,
    follow_links: bool,
    jobs: usize,
) -> Result<ImportReport, CommandError> {
    let progress = Progress::default();
    with_progress_bar(&progress, || {
        let importing = ImportOptions {
            plain,
            root,
            into: None,
            transfer_mode: None,
            follow_links,
            verify: false,
            jobs,
            progress: &progress,
        };
        Ok(adoption::import(&importing)?)
    })
}

/// Runs a job on the store at a path: in the daemon if the store is mounted, otherwise in this
/// process. Shows a progress bar on a terminal.
///
/// # Errors
/// The failure of the job, in whichever process; [`CommandError::InUse`] if another process holds
/// the store and serves no mount.
pub fn run(store: &Path, job: &Job) -> Result<JobResult, CommandError> {
    if let Some(dir) = open_if_exists(store)? {
        job.refuse_overlap(&dir, None)?;
        if let Some(result) = delegate(&dir, job)? {
            return Ok(result);
        }
    }
    // Before a store is created for an import that cannot succeed.
    if let Job::Import {
        plain,
        root,
        follow_links,
        ..
    } = job
    {
        adoption::find(plain, root, *follow_links)?;
        refuse_backup(store)?;
    }
    run_here(store, job)
}

/// Fails if there is a backup at the path of a store.
fn refuse_backup(store: &Path) -> Result<(), CommandError> {
    if let Some(dir) = open_if_exists(store)?
        && registry::is_backup(&dir)?
    {
        return Err(CommandError::Usage(format!(
            "{} is a backup, which no import may change: restore it into a store first \
             (regfs restore)",
            printable(store)
        )));
    }
    Ok(())
}

/// Runs a job in this process, which takes the lock of the store.
fn run_here(store: &Path, job: &Job) -> Result<JobResult, CommandError> {
    let if_missing = if job.creates_store() {
        IfMissing::Create
    } else {
        IfMissing::Fail
    };
    let lock = StoreLock::take(store, if_missing)?;
    if let Job::Fsck { .. } = job {
        registry::check_pages(lock.dir())?;
    }
    if lock.is_read_only()
        && let Some(reason) = job.needs_writing()
    {
        return Err(CommandError::Usage(format!(
            "store {} is on a read-only filesystem, and {reason}",
            printable(store)
        )));
    }
    let registry = open_registry(&lock, job)?;
    let progress = Progress::default();
    let result = with_progress_bar(&progress, || perform(job, lock.dir(), &registry, &progress));
    // The registry closes before another process can take the lock.
    drop(registry);
    drop(lock);
    result
}

/// Opens the registry for a job. fsck without repair changes nothing: if the journal is damaged,
/// it checks in memory what can be read.
fn open_registry(lock: &StoreLock, job: &Job) -> Result<Registry, CommandError> {
    match lock.registry(Policy::default(), job.recover()) {
        Err(error) if error.journal_damage().is_some() && matches!(job, Job::Fsck { .. }) => {
            let (policy, recover) = (Policy::default(), Recover::Accept);
            Ok(Registry::open_unwritten(lock.dir(), policy, recover)?)
        }
        opened => Ok(opened?),
    }
}

/// Runs a job in the daemon that has the store mounted. Returns `None` if there is none.
fn delegate(store: &Dir, job: &Job) -> Result<Option<JobResult>, CommandError> {
    let mut bar = ProgressBar::new();
    let answer = ask(store, &Question::Job(job.clone()), |progress| {
        bar.show(progress);
    })?;
    match answer {
        None => Ok(None),
        Some(Answer::Done(result)) => Ok(Some(*result)),
        Some(Answer::Failed(reason)) => Err(CommandError::Failed(reason)),
        Some(Answer::Refused(reason)) => Err(CommandError::Refused(reason)),
        Some(other) => Err(CommandError::Daemon {
            store: store.path().to_owned(),
            reason: format!("it answered another question: {other:?}"),
        }),
    }
}
