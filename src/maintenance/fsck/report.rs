//! Report: the faults that a check found, and how much it looked at.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Fault, FsckFinding, RepairAction, Severity};
use crate::index::JournalDamage;

/// Findings of one kind that the report lists; more are counted only.
pub(super) const LISTED_MAX: usize = 1_000;
/// Findings of one kind that are shown to people.
const SHOWN: usize = 20;
/// The same of faults that need no action.
const NOTES_SHOWN: usize = 3;

/// What a check found, and what repair did about it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FsckReport {
    /// How often each fault was found.
    pub counts: BTreeMap<Fault, u64>,
    /// The findings: of one kind at most 1,000.
    pub findings: Vec<FsckFinding>,
    /// `true` if repair was asked for.
    pub repair: bool,
    /// Findings that were repaired.
    pub repaired: u64,
    /// Digests that were looked at.
    pub digests: u64,
    /// Repositories that were looked at.
    pub repositories: u64,
    /// Links of layers and revisions, and tags, that were looked at.
    pub links: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How many faults of each kind restoring blobs from the trash would mend.
    #[serde(skip)]
    pub in_trash: BTreeMap<Fault, u64>,
}

impl FsckReport {
    /// Returns `true` if every fault was repaired, or needs no action ([`Severity::Note`]).
    pub fn is_clean(&self) -> bool {
        let wrong = |fault: &Fault| fault.severity() != Severity::Note;
        let found = self.counts.iter().filter(|(fault, _)| wrong(fault));
        let repaired = self.findings.iter();
        let repaired = repaired.filter(|one| one.repaired && wrong(&one.fault));
        found.map(|(_, count)| *count).sum::<u64>() == repaired.count() as u64
    }

    /// Counts one more fault of a kind. Returns `true` if the report lists it.
    pub(super) fn count(&mut self, fault: Fault) -> bool {
        let count = self.counts.entry(fault).or_default();
        *count += 1;
        usize::try_from(*count).is_ok_and(|count| count <= LISTED_MAX)
    }
}

/// The faults of a journal: all that is known of a store that could not be opened.
impl From<&JournalDamage> for FsckReport {
    fn from(damage: &JournalDamage) -> Self {
        let mut report = Self::default();
        for one in &damage.faults {
            let fault = Fault::of_journal(one.kind);
            if report.count(fault) {
                let detail = format!("{}; {}", one.detail, damage.loss());
                let subject = one.path.clone();
                let finding = FsckFinding::new(fault, subject, detail, RepairAction::GoOn);
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
            (false, false) => "not clean: regfs fsck --repair does what is planned above".into(),
            (false, true) => format!(
                "{} repaired; the rest needs a push, or another run of fsck",
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
