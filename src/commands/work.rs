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
use super::inventory::MountRow;
use super::{Absent, CommandError, Inquiry, InquiryAnswer, StoreLock, about};
use crate::adoption::{self, Exported, Exporting, Importing, Report};
use crate::dir::Dir;
use crate::fuse::Mounted;
use crate::maintenance::{
    self, BackupReport, FsckReport, Progress, ScrubOptions, ScrubReport, TrashReport,
};
use crate::printable::printable;
use crate::registry::{self, Error, Policy, Recover, Registry, Way};

/// What is to be done to a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// To take in a plain tree.
    Import {
        /// The registry's rootdirectory.
        plain: PathBuf,
        /// The path below it that holds `v2`.
        root: String,
        /// How blobs come, if that was said.
        way: Option<Way>,
        /// Whether symbolic links to parts of the tree are followed.
        follow_links: bool,
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
    /// To read every blob that was not read for some time.
    Scrub {
        /// Most bytes a second.
        rate: Option<u64>,
        /// That time, in seconds.
        age: u64,
    },
    /// To tell what is there.
    Inquire(Inquiry),
    /// To list the trash, or take these blobs back from it.
    Undelete {
        /// Their digests.
        digests: Vec<String>,
    },
    /// To back everything up.
    Backup {
        /// A new or empty directory, or an earlier backup.
        target: PathBuf,
    },
    /// To give the store back as a plain tree.
    Export {
        /// A new or empty directory.
        target: PathBuf,
        /// The path below it that will hold `v2`.
        root: String,
        /// How blobs come, if that was said.
        way: Option<Way>,
        /// Threads.
        jobs: usize,
    },
}

/// What came of a work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Done {
    /// Of an import.
    Imported(Report),
    /// Of a check.
    Examined(FsckReport),
    /// Of a scrub.
    Scrubbed(ScrubReport),
    /// Of an inquiry.
    Told(InquiryAnswer),
    /// Of the trash.
    Trash(TrashReport),
    /// Of a backup.
    BackedUp(BackupReport),
    /// Of an export.
    Exported(Exported),
}

impl Done {
    /// Adds what only a mount knows.
    pub(super) fn is_mounted(&mut self, mounted: &Mounted) {
        if let Self::Told(InquiryAnswer::Totals { mount, .. }) = self {
            let requests = mounted.requests().into_iter();
            *mount = Some(MountRow {
                served: mounted.served(),
                requests: requests
                    .map(|(kind, count)| (kind.to_owned(), count))
                    .collect(),
            });
        }
    }

    /// What came of it, for machines: one object.
    pub fn json(&self) -> serde_json::Value {
        // Over the socket each object is in one that says what it is.
        let inner = |value: serde_json::Value| match value {
            serde_json::Value::Object(map) => map.into_iter().next().map(|(_, value)| value),
            _ => None,
        };
        let value = serde_json::to_value(self).ok().and_then(inner);
        let value = match self {
            Self::Told(_) => value.and_then(inner),
            _ => value,
        };
        value.unwrap_or_default()
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imported(report) => report.fmt(f),
            Self::Examined(examination) => examination.fmt(f),
            Self::Scrubbed(scrubbed) => scrubbed.fmt(f),
            Self::Told(inventory) => inventory.fmt(f),
            Self::Trash(trash) => trash.fmt(f),
            Self::BackedUp(backed_up) => backed_up.fmt(f),
            Self::Exported(exported) => exported.fmt(f),
        }
    }
}

impl Work {
    /// Whether a store is made if there is none.
    fn makes_a_store(&self) -> bool {
        matches!(self, Self::Import { .. })
    }

    /// Whether the loss of commits is accepted.
    fn recover(&self) -> Recover {
        match self {
            Self::Fsck { repair: true } => Recover::Accept,
            _ => Recover::Refuse,
        }
    }

    /// Why it cannot be done to a store that nothing can be written to.
    fn writes(&self) -> Option<&'static str> {
        match self {
            Self::Import { .. } => Some("an import adds to the store"),
            Self::Fsck { repair: true } => Some("a repair changes the store"),
            Self::Undelete { digests } if !digests.is_empty() => Some("bytes would be moved"),
            Self::Fsck { .. }
            | Self::Scrub { .. }
            | Self::Inquire(_)
            | Self::Undelete { .. }
            | Self::Export { .. }
            | Self::Backup { .. } => None,
        }
    }

    /// Whether facts may be other ones afterwards.
    pub(super) fn changes_facts(&self) -> bool {
        match self {
            Self::Import { .. } | Self::Scrub { .. } => true,
            Self::Fsck { repair } => *repair,
            Self::Undelete { digests } => !digests.is_empty(),
            Self::Export { .. } | Self::Inquire(_) | Self::Backup { .. } => false,
        }
    }

    /// Fails if it would read or write in the store itself, or in a mount of it.
    pub(super) fn must_lie_elsewhere(
        &self,
        store: &Dir,
        mountpoint: Option<&Path>,
    ) -> Result<(), CommandError> {
        match self {
            Self::Import { plain: path, .. }
            | Self::Export { target: path, .. }
            | Self::Backup { target: path } => {
                super::place::must_lie_elsewhere(path, store, mountpoint)
            }
            Self::Fsck { .. } | Self::Scrub { .. } | Self::Inquire(_) | Self::Undelete { .. } => {
                Ok(())
            }
        }
    }

    /// Does it.
    pub(super) fn perform(
        &self,
        store: &Dir,
        registry: &Registry,
        progress: &Progress,
    ) -> Result<Done, CommandError> {
        Ok(match self {
            Self::Import {
                plain,
                root,
                way,
                follow_links,
                verify,
                jobs,
            } => Done::Imported(adoption::import(&Importing {
                plain,
                root,
                into: Some((store, registry)),
                way: *way,
                follow_links: *follow_links,
                verify: *verify,
                jobs: *jobs,
                progress,
            })?),
            Self::Fsck { repair } => {
                let mut report = maintenance::check(registry, progress)?;
                if *repair {
                    maintenance::repair_all(registry, &mut report)?;
                }
                Done::Examined(report)
            }
            Self::Scrub { rate, age } => {
                let options = ScrubOptions {
                    rate: *rate,
                    age: Duration::from_secs(*age),
                };
                Done::Scrubbed(maintenance::scrub(registry, &options, progress)?)
            }
            Self::Inquire(inquiry) => Done::Told(super::inventory::inquire(registry, inquiry)?),
            Self::Undelete { digests } => {
                let digests: Result<Vec<_>, _> = digests.iter().map(|one| one.parse()).collect();
                let digests = digests.map_err(|error: crate::digest::DigestError| {
                    CommandError::Usage(error.to_string())
                })?;
                Done::Trash(if digests.is_empty() {
                    maintenance::list_trash(registry)?
                } else {
                    maintenance::undelete_all(registry, &digests).map_err(usage)?
                })
            }
            Self::Backup { target } => {
                Done::BackedUp(super::backup::backup(store, registry, target, progress)?)
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

/// A digest that the trash does not hold is an error in the arguments.
fn usage(error: Error) -> CommandError {
    match error {
        Error::NotInTrash { .. } => CommandError::Usage(error.to_string()),
        error => error.into(),
    }
}

/// Looks through a plain tree without taking it in.
pub fn survey(
    plain: &Path,
    root: &str,
    follow_links: bool,
    jobs: usize,
) -> Result<Report, CommandError> {
    let progress = Progress::default();
    watched(&progress, || {
        let importing = Importing {
            plain,
            root,
            into: None,
            way: None,
            follow_links,
            verify: false,
            jobs,
            progress: &progress,
        };
        Ok(adoption::import(&importing)?)
    })
}

/// Has a work done, by whoever has the store.
pub fn work(store: &Path, work: &Work) -> Result<Done, CommandError> {
    if let Some(dir) = existing(store)? {
        work.must_lie_elsewhere(&dir, None)?;
        if let Some(done) = delegate(&dir, work)? {
            return Ok(done);
        }
    }
    let absent = if work.makes_a_store() {
        Absent::Make
    } else {
        Absent::Refuse
    };
    if let Work::Import {
        plain,
        root,
        follow_links,
        ..
    } = work
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
    if let Work::Fsck { .. } = work {
        registry::check_pages(lock.dir())?;
    }
    if lock.is_read_only()
        && let Some(reason) = work.writes()
    {
        let store = store.display();
        let text = format!("{store} is on a read-only filesystem, and {reason}");
        return Err(CommandError::Usage(text));
    }
    let registry = match lock.registry(Policy::default(), work.recover()) {
        // A check changes nothing: it goes on in memory with what there is.
        Err(error) if error.journal_damage().is_some() && matches!(work, Work::Fsck { .. }) => {
            Registry::open_unwritten(lock.dir(), Policy::default(), Recover::Accept)?
        }
        opened => opened?,
    };
    let progress = Progress::default();
    let done = watched(&progress, || work.perform(lock.dir(), &registry, &progress));
    drop(registry);
    drop(lock);
    done
}

/// The directory of a store, if there is one.
pub(super) fn existing(store: &Path) -> Result<Option<Dir>, CommandError> {
    match Dir::open(store) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(about(store)),
    }
}

/// Has a work done by the process that serves the store; nothing if there is none.
fn delegate(store: &Dir, work: &Work) -> Result<Option<Done>, CommandError> {
    let mut bar = Bar::new();
    let answer = ask(store, &Question::Work(work.clone()), |standing| {
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

/// Runs a work and shows meanwhile how far it is.
pub(super) fn watched<T>(
    progress: &Progress,
    work: impl FnOnce() -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let mut bar = Bar::new();
    progress.watched(move |standing| bar.show(standing), work)
}
