//! Run: has a job done by the process that has the store mounted, or else by this one.

use std::path::Path;

use super::perform::perform;
use super::place::existing;
use super::progress_bar::{ProgressBar, watched};
use super::protocol::{Answer, Question, ask};
use super::{Absent, CommandError, Job, JobResult, StoreLock};
use crate::adoption::{self, ImportOptions, ImportReport};
use crate::dir::Dir;
use crate::maintenance::Progress;
use crate::printable::printable;
use crate::registry::{self, Policy, Recover, Registry};

/// Surveys a plain tree without importing it.
///
/// # Errors
/// The failure to read the tree.
pub fn survey(
    plain: &Path,
    root: &str,
    follow_links: bool,
    jobs: usize,
) -> Result<ImportReport, CommandError> {
    let progress = Progress::default();
    watched(&progress, || {
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

/// Has a job done by the process that has the store mounted, or else by this one.
///
/// # Errors
/// The failure of the job, whoever does it; [`CommandError::InUse`] if another process has the
/// store and serves no mount.
pub fn run(store: &Path, job: &Job) -> Result<JobResult, CommandError> {
    if let Some(dir) = existing(store)? {
        job.must_lie_elsewhere(&dir, None)?;
        if let Some(done) = delegate(&dir, job)? {
            return Ok(done);
        }
    }
    let absent = if job.makes_a_store() {
        Absent::Make
    } else {
        Absent::Refuse
    };
    if let Job::Import {
        plain,
        root,
        follow_links,
        ..
    } = job
    {
        // Before a store is made for nothing.
        adoption::find(plain, root, *follow_links)?;
        if let Some(dir) = existing(store)?
            && registry::is_backup(&dir)?
        {
            let text = format!("{} is a backup: restore it first", printable(store));
            return Err(CommandError::Usage(text));
        }
    }
    let lock = StoreLock::take(store, absent)?;
    if let Job::Fsck { .. } = job {
        registry::check_pages(lock.dir())?;
    }
    if lock.is_read_only()
        && let Some(reason) = job.writes()
    {
        let store = store.display();
        let text = format!("{store} is on a read-only filesystem, and {reason}");
        return Err(CommandError::Usage(text));
    }
    let registry = match lock.registry(Policy::default(), job.recover()) {
        // A check changes nothing: it goes on in memory with what there is.
        Err(error) if error.journal_damage().is_some() && matches!(job, Job::Fsck { .. }) => {
            Registry::open_unwritten(lock.dir(), Policy::default(), Recover::Accept)?
        }
        opened => opened?,
    };
    let progress = Progress::default();
    let done = watched(&progress, || perform(job, lock.dir(), &registry, &progress));
    drop(registry);
    drop(lock);
    done
}

/// Has a job done by the process that serves the store. Returns `None` if there is none.
fn delegate(store: &Dir, job: &Job) -> Result<Option<JobResult>, CommandError> {
    let mut bar = ProgressBar::new();
    let answer = ask(store, &Question::Job(job.clone()), |standing| {
        bar.show(standing);
    })?;
    match answer {
        None => Ok(None),
        Some(Answer::Done(done)) => Ok(Some(*done)),
        Some(Answer::Failed(reason)) => Err(CommandError::Failed(reason)),
        Some(Answer::Refused(reason)) => Err(CommandError::Refused(reason)),
        Some(other) => Err(CommandError::Served {
            store: store.path().to_owned(),
            reason: format!("an answer to another question: {other:?}"),
        }),
    }
}
