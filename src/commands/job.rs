//! Jobs: the operations that commands run on a store, and their results.
//!
//! A job and its result travel over the control socket unchanged, so that the output is the same
//! whether the daemon of a mounted store runs the job or the command itself. Tags and fields on
//! the wire therefore keep their names when a variant or field is renamed (see `protocol.rs`).

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CommandError, Inquiry, InquiryAnswer};
use crate::adoption::{ExportReport, ImportReport};
use crate::dir::Dir;
use crate::maintenance::{BackupReport, FsckReport, ScrubReport, TrashReport};
use crate::registry::{Recover, TransferMode};

/// An operation on a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Import the plain tree of a registry.
    Import {
        /// The rootdirectory of the registry.
        plain: PathBuf,
        /// The path of the directory that holds `v2`, relative to the rootdirectory.
        root: String,
        /// How to transfer blobs; `None` lets the import choose.
        #[serde(rename = "way")]
        transfer: Option<TransferMode>,
        /// Follow symbolic links in place of directories of the tree.
        follow_links: bool,
        /// Verify the digest of every blob.
        verify: bool,
        /// The number of threads.
        jobs: usize,
    },
    /// Check the store, and repair it if asked.
    Fsck {
        /// Repair the faults that can be repaired.
        repair: bool,
    },
    /// Verify the bytes of every blob that was not verified recently.
    Scrub {
        /// The most bytes to read in a second; `None` for no limit.
        rate: Option<u64>,
        /// Skip blobs that were verified within this many seconds.
        age: u64,
    },
    /// Answer an inquiry about the content of the store.
    #[serde(rename = "Inquire")]
    Inquiry(Inquiry),
    /// Restore blobs from the trash, or list the trash if there are no digests.
    Undelete {
        /// The digests of the blobs.
        digests: Vec<String>,
    },
    /// Back up the store.
    Backup {
        /// A new or empty directory, or an earlier backup.
        target: PathBuf,
    },
    /// Export the store as the plain tree of a registry.
    Export {
        /// A new or empty directory.
        target: PathBuf,
        /// The path of the directory that will hold `v2`, relative to the target.
        root: String,
        /// How to transfer blobs; `None` lets the export choose.
        #[serde(rename = "way")]
        transfer: Option<TransferMode>,
        /// The number of threads.
        jobs: usize,
    },
}

/// The result of a job, as the command prints it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum JobResult {
    /// The result of [`Job::Import`].
    #[serde(rename = "Imported")]
    Import(ImportReport),
    /// The result of [`Job::Fsck`].
    #[serde(rename = "Examined")]
    Fsck(FsckReport),
    /// The result of [`Job::Scrub`].
    #[serde(rename = "Scrubbed")]
    Scrub(ScrubReport),
    /// The result of [`Job::Inquiry`].
    #[serde(rename = "Told")]
    Inquiry(InquiryAnswer),
    /// The result of [`Job::Undelete`].
    Trash(TrashReport),
    /// The result of [`Job::Backup`].
    #[serde(rename = "BackedUp")]
    Backup(BackupReport),
    /// The result of [`Job::Export`].
    #[serde(rename = "Exported")]
    Export(ExportReport),
}

impl JobResult {
    /// Returns the result as one JSON object, without the tags that it has on the wire.
    pub fn json(&self) -> serde_json::Value {
        let untagged = |value: serde_json::Value| match value {
            serde_json::Value::Object(map) => map.into_iter().next().map(|(_, value)| value),
            _ => None,
        };
        let value = serde_json::to_value(self).ok().and_then(untagged);
        let value = match self {
            Self::Inquiry(_) => value.and_then(untagged),
            _ => value,
        };
        value.unwrap_or_default()
    }
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Import(report) => report.fmt(f),
            Self::Fsck(report) => report.fmt(f),
            Self::Scrub(report) => report.fmt(f),
            Self::Inquiry(answer) => answer.fmt(f),
            Self::Trash(report) => report.fmt(f),
            Self::Backup(report) => report.fmt(f),
            Self::Export(report) => report.fmt(f),
        }
    }
}

impl Job {
    /// Returns `true` if the job creates the store if there is none.
    pub(super) fn creates_store(&self) -> bool {
        matches!(self, Self::Import { .. })
    }

    /// Returns whether the job accepts the loss of transactions that a damaged journal no longer
    /// holds: only a repair does.
    pub(super) fn recover(&self) -> Recover {
        match self {
            Self::Fsck { repair: true } => Recover::Accept,
            _ => Recover::Refuse,
        }
    }

    /// Returns why the job must write to the store, or `None` if it need not.
    pub(super) fn needs_writing(&self) -> Option<&'static str> {
        match self {
            Self::Import { .. } => Some("an import writes to the store"),
            Self::Fsck { repair: true } => Some("a repair writes to the store"),
            Self::Undelete { digests } if !digests.is_empty() => {
                Some("undelete writes to the store")
            }
            Self::Fsck { .. }
            | Self::Scrub { .. }
            | Self::Inquiry(_)
            | Self::Undelete { .. }
            | Self::Export { .. }
            | Self::Backup { .. } => None,
        }
    }

    /// Returns `true` if the job may change facts, so that the caches of a mount are out of date.
    pub(super) fn changes_facts(&self) -> bool {
        match self {
            Self::Import { .. } | Self::Scrub { .. } => true,
            Self::Fsck { repair } => *repair,
            Self::Undelete { digests } => !digests.is_empty(),
            Self::Export { .. } | Self::Inquiry(_) | Self::Backup { .. } => false,
        }
    }

    /// Fails if the source or target of the job lies in the store itself or in its mount.
    ///
    /// # Errors
    /// [`CommandError::Refused`] if it does; the failure to compare the directories.
    pub(super) fn refuse_overlap(
        &self,
        store: &Dir,
        mountpoint: Option<&Path>,
    ) -> Result<(), CommandError> {
        match self {
            Self::Import { plain: path, .. }
            | Self::Export { target: path, .. }
            | Self::Backup { target: path } => {
                super::overlap::refuse_overlap(path, store, mountpoint)
            }
            Self::Fsck { .. } | Self::Scrub { .. } | Self::Inquiry(_) | Self::Undelete { .. } => {
                Ok(())
            }
        }
    }
}
