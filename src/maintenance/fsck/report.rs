//! The report of a check: the faults that it found, and how much it checked.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{FsckFinding, RepairAction, Severity, StoreFault};
use crate::index::JournalDamage;

/// Most findings of one kind that the report lists; further ones are only counted.
pub(super) const LISTED_MAX: usize = 1_000;
/// Most findings of one kind that are printed.
const SHOWN: usize = 20;
/// Most findings of one kind that are printed if the fault needs no action.
const NOTES_SHOWN: usize = 3;

/// The result of a check, and of the repair after it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FsckReport {
    /// The number of faults of each kind.
    pub counts: BTreeMap<StoreFault, u64>,
    /// The findings, at most 1,000 of each kind.
    pub findings: Vec<FsckFinding>,
    /// `true` if repair was asked for.
    pub repair: bool,
    /// Findings that were repaired.
    pub repaired: u64,
    /// Digests that were checked.
    pub digests: u64,
    /// Repositories that were checked.
    pub repositories: u64,
    /// Links of layers and revisions, and tags, that were checked.
    pub links: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How many faults of each kind restoring blobs from the trash would repair.
    #[serde(skip)]
    pub in_trash: BTreeMap<StoreFault, u64>,
}

impl FsckReport {
    /// Returns `true` if every fault was repaired, or needs no action ([`Severity::Note`]).
    pub fn is_clean(&self) -> bool {
        let wrong = |fault: &StoreFault| fault.severity() != Severity::Note;
        let found = self.counts.iter().filter(|(fault, _)| wrong(fault));
        let repaired = self.findings.iter();
        let repaired = repaired.filter(|one| one.repaired && wrong(&one.fault));
        found.map(|(_, count)| *count).sum::<u64>() == repaired.count() as u64
    }

    /// Counts one more fault of a kind. Returns `true` if the report lists it.
    pub(super) fn count(&mut self, fault: StoreFault) -> bool {
        let count = self.counts.entry(fault).or_default();
        *count += 1;
        usize::try_from(*count).is_ok_and(|count| count <= LISTED_MAX)
    }
}

/// Returns the report of a store that cannot be opened: only the faults of its journal.
impl From<&JournalDamage> for FsckReport {
    fn from(damage: &JournalDamage) -> Self {
        let mut report = Self::default();
        for one in &damage.faults {
            let fault = StoreFault::Journal(one.kind);
            if report.count(fault) {
                let detail = format!("{}; {}", one.detail, damage.loss());
                let subject = one.path.clone();
                let finding = FsckFinding::new(fault, subject, detail, RepairAction::AcceptLoss);
                report.findings.push(finding);
            }
        }
        report
    }
}

impl fmt::Display for FsckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (fault, count) in &self.counts {
            writeln!(f, "{fault}: {count}")?;
            let of_kind = self.findings.iter().filter(|one| one.fault == *fault);
            let shown = if fault.severity() == Severity::Note {
                NOTES_SHOWN
            } else {
                SHOWN
            };
            for finding in of_kind.take(shown) {
                writeln!(f, "  {finding}")?;
            }
            if usize::try_from(*count).is_ok_and(|count| count > shown) {
                writeln!(
                    f,
                    "  and {} more (--json lists up to 1,000)",
                    count - shown as u64
                )?;
            }
        }
        let verdict = match (self.is_clean(), self.repair) {
            (true, false) => "clean".to_owned(),
            (true, true) => format!("clean now, {} repaired", self.repaired),
            (false, false) => {
                "not clean: regfs fsck --repair makes the repairs listed above".into()
            }
            (false, true) => format!(
                "{} repaired; the rest needs a push or another run of fsck",
                self.repaired
            ),
        };
        write!(
            f,
            "{} repositories, {} links and tags, {} digests in {:.1} s: {verdict}",
            self.repositories, self.links, self.digests, self.seconds
        )
    }
}
