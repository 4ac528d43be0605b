//! The report of an import: what was found, what came of it, and everything odd.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::oddity::{Finding, Oddity, Remedy};
use crate::registry::TransferMode;

/// Oddities of one kind that people are shown; machines are given all.
const SHOWN: usize = 10;

/// Blobs that came, or were given, in one way.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Came {
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Blobs that came, or were given, in each way.
#[derive(Debug, Default)]
pub(super) struct Ways(Mutex<BTreeMap<TransferMode, Came>>);

impl Ways {
    /// Counts one more.
    pub(super) fn add(&self, way: TransferMode, bytes: u64) {
        let mut ways = self.0.lock();
        let came = ways.entry(way).or_default();
        came.blobs += 1;
        came.bytes += bytes;
    }

    pub(super) fn into_inner(self) -> BTreeMap<TransferMode, Came> {
        self.0.into_inner()
    }
}

/// How blobs came, in words.
pub(super) fn in_words(ways: &BTreeMap<TransferMode, Came>) -> String {
    let words = ways.iter().map(|(way, came)| {
        let how = match way {
            TransferMode::Link => "shared by hard links",
            TransferMode::Reflink => "copied by reference",
            TransferMode::Copy => "copied",
            TransferMode::Move => "moved",
        };
        format!("{} blobs of {} bytes {how}", came.blobs, came.bytes)
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What an import has found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Repositories in the tree.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Revisions.
    pub revisions: u64,
    /// Layer links.
    pub layers: u64,
    /// Other links: of tags' indexes and signatures.
    pub others: u64,
    /// Uploads.
    pub uploads: u64,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How blobs came that are files.
    pub ways: BTreeMap<TransferMode, Came>,
    /// Facts that the store did not have.
    pub new: u64,
    /// Files outside the registry's tree.
    pub outside: u64,
    /// How long it took.
    pub seconds: f64,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Everything odd.
    pub odd: Vec<Oddity>,
}

impl Report {
    /// How often each oddity was found, and with which remedy.
    pub fn counts(&self) -> BTreeMap<(Finding, Remedy), usize> {
        let mut counts = BTreeMap::new();
        for one in &self.odd {
            *counts.entry((one.finding, one.remedy)).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.dry_run { "found" } else { "imported" };
        writeln!(
            f,
            "{what}: {} repositories, {} tags, {} revisions, {} layer links, {} other links, \
             {} uploads, {} blobs of {} bytes, {} files beside them",
            self.repositories,
            self.tags,
            self.revisions,
            self.layers,
            self.others,
            self.uploads,
            self.blobs,
            self.bytes,
            self.outside,
        )?;
        if !self.ways.is_empty() {
            writeln!(f, "{}", in_words(&self.ways))?;
        }
        let links = self.tags + self.revisions + self.layers + self.others;
        let rate = f64::from(u32::try_from(links).unwrap_or(u32::MAX)) / self.seconds.max(0.001);
        write!(
            f,
            "{} facts new to the store; {:.1} s, {rate:.0} links a second",
            self.new, self.seconds
        )?;
        for ((finding, remedy), count) in self.counts() {
            write!(f, "\n{finding}, {}: {count}", remedy.name())?;
            let of_kind = |one: &&Oddity| (one.finding, one.remedy) == (finding, remedy);
            for one in self.odd.iter().filter(of_kind).take(SHOWN) {
                write!(f, "\n  {}: {}", one.path, one.detail)?;
            }
            if count > SHOWN {
                write!(f, "\n  and {} more (--json lists all)", count - SHOWN)?;
            }
        }
        Ok(())
    }
}

/// A report in the making, by several threads.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) repositories: AtomicU64,
    pub(super) tags: AtomicU64,
    pub(super) revisions: AtomicU64,
    pub(super) layers: AtomicU64,
    pub(super) others: AtomicU64,
    pub(super) uploads: AtomicU64,
    pub(super) blobs: AtomicU64,
    pub(super) bytes: AtomicU64,
    ways: Ways,
    pub(super) new: AtomicU64,
    pub(super) outside: AtomicU64,
    pub(super) odd: Mutex<Vec<Oddity>>,
}

/// Counts one more.
pub(super) fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    /// Counts a blob that came in this way.
    pub(super) fn came(&self, way: TransferMode, bytes: u64) {
        self.ways.add(way, bytes);
    }

    pub(super) fn report(self, seconds: f64, dry_run: bool) -> Report {
        let mut odd = self.odd.into_inner();
        odd.sort_by(|a, b| (a.finding, &a.path).cmp(&(b.finding, &b.path)));
        Report {
            repositories: self.repositories.into_inner(),
            tags: self.tags.into_inner(),
            revisions: self.revisions.into_inner(),
            layers: self.layers.into_inner(),
            others: self.others.into_inner(),
            uploads: self.uploads.into_inner(),
            blobs: self.blobs.into_inner(),
            bytes: self.bytes.into_inner(),
            ways: self.ways.into_inner(),
            new: self.new.into_inner(),
            outside: self.outside.into_inner(),
            seconds,
            dry_run,
            odd,
        }
    }
}
