//! fsck: checks a store's facts against each other and against its files, and repairs it.
//!
//! The index verifies its own rows; this checks blobs against their files, and what facts mean to
//! each other. A store that is in use is checked as of a snapshot; a file or fact that seems to be
//! missing is looked up again in the current state.
//!
//! Repair makes facts and files agree again. It cannot bring back lost bytes: what a tag needs
//! and does not have must be pushed again, and the finding says which tags those are.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Instant;

use super::Progress;
use super::tags::tags_that_need;
use crate::blobs::Area;
use crate::digest::Digest;
use crate::index::Census;
use crate::registry::{Error, Registry, Snapshot};

mod blob_files;
mod blobs;
mod fault;
mod finding;
mod repair;
mod report;
mod repositories;

pub use fault::{Severity, StoreFault};
pub use finding::FsckFinding;
use finding::RepairAction;
pub use repair::repair_all;
pub use report::FsckReport;
use report::LISTED_MAX;

/// Most tags that a finding lists.
const TAGS_LISTED: usize = 10;

/// A running check.
struct FsckRun<'a> {
    registry: &'a Registry,
    snapshot: &'a Snapshot<'a>,
    census: Census,
    /// The blobs in the trash.
    trash: HashSet<Digest>,
    report: FsckReport,
}

/// Checks a store: the index by itself, then facts against files and against each other.
///
/// # Errors
/// The failure to read the index or the blobs.
pub fn check(registry: &Registry, progress: &Progress) -> Result<FsckReport, Error> {
    let began = Instant::now();
    let snapshot = registry.snapshot()?;
    let damage = registry.journal_damage();
    let mut report = damage.as_ref().map(FsckReport::from).unwrap_or_default();
    drop(damage);
    progress.begin("index");
    let census = verify_index(&snapshot, &mut report)?;
    let retired = registry.blobs().list(Area::Trash, None, usize::MAX)?;
    let mut run = FsckRun {
        registry,
        snapshot: &snapshot,
        census,
        trash: retired.iter().map(|blob| blob.digest).collect(),
        report,
    };
    progress.add(0.4, 0);
    progress.begin("blobs");
    run.check_files()?;
    progress.add(0.2, 0);
    progress.begin("small blobs");
    run.check_inline()?;
    progress.add(0.1, 0);
    progress.begin("repositories");
    run.check_repositories()?;
    run.list_unused()?;
    let mut report = run.report;
    report
        .findings
        .sort_by(|a, b| (a.fault, &a.subject).cmp(&(b.fault, &b.subject)));
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Verifies the index by itself, and adds its flaws to the report.
fn verify_index(snapshot: &Snapshot<'_>, report: &mut FsckReport) -> Result<Census, Error> {
    let census = snapshot.index().verify(&mut |flaw| {
        let fault = StoreFault::Index(flaw.kind);
        if report.count(fault) {
            let (subject, detail) = (shown_row(&flaw.key), flaw.kind.description());
            let action = RepairAction::MendRow(flaw);
            let finding = FsckFinding::new(fault, subject, detail, action);
            report.findings.push(finding);
        }
    });
    Ok(census?)
}

/// Returns the key of a row, for people: the letter of its table, and the rest in hexadecimal.
fn shown_row(key: &[u8]) -> String {
    let (table, rest) = key.split_at_checked(1).unwrap_or_default();
    let mut shown = format!("{} ", String::from_utf8_lossy(table));
    for byte in rest {
        // Writing to a string does not fail.
        let _ok = write!(shown, "{byte:02x}");
    }
    shown
}

impl FsckRun<'_> {
    /// Returns some of the tags that cannot be pulled without a digest, as `repository:tag`.
    fn needed_by(&self, digest: &Digest) -> Result<Vec<String>, Error> {
        let mut tags = tags_that_need(self.registry, digest, None)?;
        tags.truncate(TAGS_LISTED);
        Ok(tags)
    }

    /// Adds a finding about a blob.
    fn add_blob_finding(
        &mut self,
        fault: StoreFault,
        digest: &Digest,
        detail: impl Into<String>,
        action: RepairAction,
    ) -> Result<(), Error> {
        if !self.report.count(fault) {
            return Ok(());
        }
        let needed_by = self.needed_by(digest)?;
        self.report.findings.push(FsckFinding {
            needed_by,
            ..FsckFinding::new(fault, digest.to_string(), detail, action)
        });
        Ok(())
    }

    /// Returns the missing digest if the trash has it, and counts it as such.
    fn find_in_trash(&mut self, fault: StoreFault, missing: &Digest) -> Option<Digest> {
        let found = self.trash.get(missing).copied()?;
        *self.report.in_trash.entry(fault).or_default() += 1;
        Some(found)
    }
}
