//! The report of an import: counts, and all findings.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::finding::{Finding, FindingKind, Remedy};
use super::transfer_counts::{TransferCount, TransferCounts, in_words};
use crate::registry::TransferMode;

/// The number of findings of one kind that are printed; the JSON report has all.
const SHOWN: usize = 10;

/// What an import found and stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// Repositories in the tree.
    pub repositories: u64,
    /// Tags in the tree.
    pub tags: u64,
    /// Revision links in the tree.
    pub revisions: u64,
    /// Layer links in the tree.
    pub layers: u64,
    /// Other links in the tree: of tag indexes and of signatures.
    #[serde(rename = "others")]
    pub other_links: u64,
    /// Uploads in the tree.
    pub uploads: u64,
    /// Blobs in the tree.
    pub blobs: u64,
    /// Total length of the blobs, in bytes.
    pub bytes: u64,
    /// How the blobs were transferred that are files in the store.
    #[serde(rename = "ways")]
    pub transfers: BTreeMap<TransferMode, TransferCount>,
    /// Facts that the store did not have before.
    pub new: u64,
    /// Unmanaged files: those outside the registry's tree.
    #[serde(rename = "outside")]
    pub unmanaged: u64,
    /// The duration, in seconds.
    pub seconds: f64,
    /// `true` if nothing was stored.
    pub dry_run: bool,
    /// All findings, sorted by kind and path.
    #[serde(rename = "odd")]
    pub findings: Vec<Finding>,
}

impl ImportReport {
    /// Returns the number of findings of each kind and remedy.
    pub fn counts(&self) -> BTreeMap<(FindingKind, Remedy), usize> {
        let mut counts = BTreeMap::new();
        for finding in &self.findings {
            *counts.entry((finding.kind, finding.remedy)).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.dry_run { "found" } else { "imported" };
        writeln!(
            f,
            "{what}: {} repositories, {} tags, {} revisions, {} layer links, {} other links, \
             {} uploads, {} blobs of {} bytes, {} files outside the registry's tree",
            self.repositories,
            self.tags,
            self.revisions,
            self.layers,
            self.other_links,
            self.uploads,
            self.blobs,
            self.bytes,
            self.unmanaged,
        )?;
        if !self.transfers.is_empty() {
            writeln!(f, "{}", in_words(&self.transfers))?;
        }
        let links = self.tags + self.revisions + self.layers + self.other_links;
        let rate = f64::from(u32::try_from(links).unwrap_or(u32::MAX)) / self.seconds.max(0.001);
        write!(
            f,
            "{} facts new to the store; {:.1} s, {rate:.0} links a second",
            self.new, self.seconds
        )?;
        for ((kind, remedy), count) in self.counts() {
            write!(f, "\n{kind}, {}: {count}", remedy.name())?;
            let same = |one: &&Finding| (one.kind, one.remedy) == (kind, remedy);
            for one in self.findings.iter().filter(same).take(SHOWN) {
                write!(f, "\n  {}: {}", one.path, one.detail)?;
            }
            if count > SHOWN {
                write!(f, "\n  and {} more (--json lists all)", count - SHOWN)?;
            }
        }
        Ok(())
    }
}

/// The counters of a running import, shared by its threads.
#[derive(Debug, Default)]
pub(super) struct ImportCounters {
    pub(super) repositories: AtomicU64,
    pub(super) tags: AtomicU64,
    pub(super) revisions: AtomicU64,
    pub(super) layers: AtomicU64,
    pub(super) other_links: AtomicU64,
    pub(super) uploads: AtomicU64,
    pub(super) blobs: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) transfers: TransferCounts,
    pub(super) new: AtomicU64,
    pub(super) unmanaged: AtomicU64,
    pub(super) findings: Mutex<Vec<Finding>>,
}

/// Adds one to a counter.
pub(super) fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl ImportCounters {
    /// Returns the report of the finished import.
    pub(super) fn report(self, seconds: f64, dry_run: bool) -> ImportReport {
        let mut findings = self.findings.into_inner();
        findings.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
        ImportReport {
            repositories: self.repositories.into_inner(),
            tags: self.tags.into_inner(),
            revisions: self.revisions.into_inner(),
            layers: self.layers.into_inner(),
            other_links: self.other_links.into_inner(),
            uploads: self.uploads.into_inner(),
            blobs: self.blobs.into_inner(),
            bytes: self.bytes.into_inner(),
            transfers: self.transfers.into_inner(),
            new: self.new.into_inner(),
            unmanaged: self.unmanaged.into_inner(),
            seconds,
            dry_run,
            findings,
        }
    }
}
