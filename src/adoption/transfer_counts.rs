//! Counts of transferred blobs, by how their files were transferred.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::registry::TransferMode;

/// The blobs that were transferred in one mode.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct TransferCount {
    /// The number of blobs.
    pub blobs: u64,
    /// Their total length, in bytes.
    pub bytes: u64,
}

/// Counts by mode, shared by the threads of an import or export.
#[derive(Debug, Default)]
pub(super) struct TransferCounts(Mutex<BTreeMap<TransferMode, TransferCount>>);

impl TransferCounts {
    /// Counts one blob of `bytes` bytes.
    pub(super) fn add(&self, mode: TransferMode, bytes: u64) {
        let mut counts = self.0.lock();
        let count = counts.entry(mode).or_default();
        count.blobs += 1;
        count.bytes += bytes;
    }

    pub(super) fn into_inner(self) -> BTreeMap<TransferMode, TransferCount> {
        self.0.into_inner()
    }
}

/// Returns counts in words, for people.
pub(super) fn in_words(counts: &BTreeMap<TransferMode, TransferCount>) -> String {
    let words = counts.iter().map(|(mode, count)| {
        let how = match mode {
            TransferMode::Link => "shared by hard links",
            TransferMode::Reflink => "copied by reference",
            TransferMode::Copy => "copied",
            TransferMode::Move => "moved",
        };
        format!("{} blobs of {} bytes {how}", count.blobs, count.bytes)
    });
    words.collect::<Vec<_>>().join(", ")
}
