//! Jobs: what can be done to a store, and the results.
//!
//! A job and its result are values that travel over the control socket unchanged, so that the
//! answer is the same whether the process that has the store mounted does the job or this one.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CommandError, Inquiry, InquiryAnswer};
use crate::adoption::{ExportReport, ImportReport};
use crate::dir::Dir;
use crate::maintenance::{BackupReport, FsckReport, ScrubReport, TrashReport};
use crate::registry::{Recover, TransferMode};

/// What is to be done to a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// To take in a plain tree.
    Import {
        /// The registry's rootdirectory.
        plain: PathBuf,
        /// The path below it that holds `v2`.
        root: String,
        /// How blobs come, if that was said.
        way: Option<TransferMode>,
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
        way: Option<TransferMode>,
        /// Threads.
        jobs: usize,
    },
}

/// The result of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum JobResult {
    /// Of an import.
    Imported(ImportReport),
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
    Exported(ExportReport),
}

impl JobResult {
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

impl fmt::Display for JobResult {
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

impl Job {
    /// Whether a store is made if there is none.
    pub(super) fn makes_a_store(&self) -> bool {
        matches!(self, Self::Import { .. })
    }

    /// Whether the loss of commits is accepted.
    pub(super) fn recover(&self) -> Recover {
        match self {
            Self::Fsck { repair: true } => Recover::Accept,
            _ => Recover::Refuse,
        }
    }

    /// Why it cannot be done to a store that nothing can be written to.
    pub(super) fn writes(&self) -> Option<&'static str> {
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
}
