//! The report of an export: counts, and what is missing from the exported tree.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::transfer_counts::{TransferCount, in_words};
use crate::registry::TransferMode;

/// What was exported.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExportReport {
    /// Blobs.
    pub blobs: u64,
    /// Blobs whose file is shared with the store by a hard link.
    pub shared: u64,
    /// How the blobs were transferred that are files in the store.
    #[serde(rename = "ways")]
    pub transfers: BTreeMap<TransferMode, TransferCount>,
    /// Files other than blobs.
    pub files: u64,
    /// Blobs that a fact names but whose bytes are missing.
    pub missing: u64,
    /// Blobs that were left out since their bytes do not match their digest.
    pub damaged: u64,
    /// The duration, in seconds.
    pub seconds: f64,
}

impl fmt::Display for ExportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exported: {} blobs and {} other files in {:.1} s",
            self.blobs, self.files, self.seconds
        )?;
        if !self.transfers.is_empty() {
            let transfers = in_words(&self.transfers);
            write!(f, "; of the blobs that are files {transfers}")?;
        }
        if self.missing > 0 {
            write!(f, "; {} blobs are missing: run regfs fsck", self.missing)?;
        }
        if self.damaged > 0 {
            write!(f, "; {} blobs are damaged: run regfs fsck", self.damaged)?;
        }
        Ok(())
    }
}

impl ExportReport {
    /// Returns `true` if everything was exported that a fact names.
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && self.damaged == 0
    }
}
