//! Works: what can be done to a store, by the process that has it mounted or by this one.
//!
//! A work and what comes of it are values that go over the control socket as they are, so that
//! the answer is the same whoever does it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bar::Bar;
use super::control::{Answer, Question, ask};
use super::{CommandError, Examination, StoreLock};
use crate::adoption::{self, Exported, Exporting, Importing, Progress, Report};
use crate::registry::{Policy, Registry, Way};

/// How often who watches is told how far it is.
const TOLD: Duration = Duration::from_millis(200);

/// What is to be done to a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// To take in a plain tree.
    Import {
        /// The registry's rootdirectory.
        plain: PathBuf,
        /// The path below it that holds `v2`.
        root: String,
        /// How blobs come.
        way: Way,
        /// Whether all blobs are verified.
        verify: bool,
        /// Threads.
        jobs: usize,
    },
    /// To check everything, and perhaps to repair it.
    Fsck {
        /// Whether to repair.
        repair: bool,
    },
    /// To give the store back as a plain tree.
    Export {
        /// A new or empty directory.
        target: PathBuf,
        /// The path below it that will hold `v2`.
        root: String,
        /// How blobs come.
        way: Way,
        /// Threads.
        jobs: usize,
    },
}

/// What came of a work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Done {
    /// Of an import.
    Imported(Report),
    /// Of a check.
    Examined(Examination),
    /// Of an export.
    Exported(Exported),
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imported(report) => report.fmt(f),
            Self::Examined(examination) => examination.fmt(f),
            Self::Exported(exported) => exported.fmt(f),
        }
    }
}

impl Work {
    /// Whether a store is made if there is none.
    fn makes_a_store(&self) -> bool {
        matches!(self, Self::Import { .. })
    }

    /// Whether facts may be other ones afterwards.
    pub(super) fn changes_facts(&self) -> bool {
        match self {
            Self::Import { .. } => true,
            Self::Fsck { repair } => *repair,
            Self::Export { .. } => false,
        }
    }

    /// Why it cannot be done by who serves a mount, whose files it would read or write.
    pub(super) fn writes_below(&self, mountpoint: &Path) -> Option<String> {
        let path = match self {
            Self::Import { plain, .. } => plain,
            Self::Export { target, .. } => target,
            Self::Fsck { .. } => return None,
        };
        path.starts_with(mountpoint).then(|| {
            let (path, mountpoint) = (path.display(), mountpoint.display());
            format!("{path} lies below the store's own mount {mountpoint}: choose another place")
        })
    }

    /// Does it.
    pub(super) fn perform(
        &self,
        store: &Path,
        registry: &Registry,
        progress: &Progress,
    ) -> Result<Done, CommandError> {
        Ok(match self {
            Self::Import {
                plain,
                root,
                way,
                verify,
                jobs,
            } => Done::Imported(adoption::import(&Importing {
                plain,
                root,
                store,
                registry: Some(registry),
                way: *way,
                verify: *verify,
                jobs: *jobs,
                progress,
            })?),
            Self::Fsck { repair } => {
                Done::Examined(super::fsck::examine(registry, *repair, progress)?)
            }
            Self::Export {
                target,
                root,
                way,
                jobs,
            } => Done::Exported(adoption::export(&Exporting {
                registry,
                store,
                target,
                root,
                way: *way,
                jobs: *jobs,
                progress,
            })?),
        })
    }
}

/// Looks through a plain tree without taking it in.
pub fn survey(plain: &Path, root: &str, jobs: usize) -> Result<Report, CommandError> {
    let progress = Progress::default();
    watched(&progress, || {
        let importing = Importing {
            plain,
            root,
            store: Path::new(""),
            registry: None,
            way: Way::default(),
            verify: false,
            jobs,
            progress: &progress,
        };
        Ok(adoption::import(&importing)?)
    })
}

/// Has a work done, by whoever has the store.
pub fn work(store: &Path, work: &Work) -> Result<Done, CommandError> {
    if store.is_dir() {
        let mut bar = Bar::new();
        let answer = ask(store, &Question::Work(work.clone()), |standing| {
            bar.show(standing);
        })?;
        drop(bar);
        match answer {
            None => {}
            Some(Answer::Done(done)) => return Ok(*done),
            Some(Answer::Failed(reason)) => return Err(CommandError::Failed(reason)),
            Some(other) => {
                return Err(CommandError::Served {
                    store: store.to_owned(),
                    reason: format!("an answer to another question: {other:?}"),
                });
            }
        }
    }
    if !work.makes_a_store() && !Registry::exists(store) {
        let text = format!("{} is no store: it holds no index", store.display());
        return Err(CommandError::Usage(text));
    }
    if let Work::Import { plain, root, .. } = work {
        // Before a store is made for nothing.
        adoption::find(plain, root)?;
    }
    let lock = StoreLock::take(store)?;
    let registry = Registry::open(store, Policy::default())?;
    let progress = Progress::default();
    let done = watched(&progress, || work.perform(store, &registry, &progress));
    drop(registry);
    drop(lock);
    done
}

/// Runs a work and shows meanwhile how far it is.
fn watched<T>(
    progress: &Progress,
    work: impl FnOnce() -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    std::thread::scope(|scope| {
        let (ended, ending) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let mut bar = Bar::new();
            while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = ending.recv_timeout(TOLD) {
                bar.show(&progress.standing());
            }
        });
        let done = work();
        drop(ended);
        done
    })
}
