//! `regfs fsck`: what is wrong with a store, and what was done about it, for people and
//! machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::CommandError;
use crate::adoption::Progress;
use crate::registry::{Diagnosis, Discovery, Fault, Registry, Severity};

/// Findings of one kind that people are shown; machines are given up to a thousand.
const SHOWN: usize = 20;
/// The same where nothing is wrong.
const NOTES_SHOWN: usize = 3;

/// What a check has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Examination {
    /// How often each fault was found.
    pub counts: BTreeMap<Fault, u64>,
    /// What was found, of many of one kind some.
    pub findings: Vec<Finding>,
    /// Whether repairs were asked for.
    pub repair: bool,
    /// Faults that were repaired.
    pub repaired: u64,
    /// Digests that were looked at.
    pub digests: u64,
    /// Repositories.
    pub repositories: u64,
    /// Links of layers and revisions, and tags.
    pub links: u64,
    /// How long it took.
    pub seconds: f64,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// How bad it is.
    pub severity: Severity,
    /// Of what.
    pub subject: String,
    /// In words.
    pub detail: String,
    /// Tags that cannot be pulled because of it, some of them.
    pub needed_by: Vec<String>,
    /// What repair does about it, or nothing if it can do nothing.
    pub plan: Option<String>,
    /// Whether that was done.
    pub repaired: bool,
    /// The digest in the trash that would put it right.
    pub in_trash: Option<String>,
}

impl Finding {
    fn of(discovery: &Discovery) -> Self {
        Self {
            fault: discovery.fault,
            severity: discovery.fault.severity(),
            subject: discovery.subject.clone(),
            detail: discovery.detail.clone(),
            needed_by: discovery.needed_by.clone(),
            plan: discovery.plan().map(str::to_owned),
            repaired: false,
            in_trash: discovery.in_trash.map(|digest| digest.to_string()),
        }
    }
}

impl Examination {
    /// Whether nothing is wrong that was not repaired; notes are not wrong.
    pub fn is_clean(&self) -> bool {
        let wrong = |fault: &Fault| fault.severity() != Severity::Note;
        let found = self.counts.iter().filter(|(fault, _)| wrong(fault));
        let repaired = self.findings.iter();
        let repaired = repaired.filter(|one| one.repaired && wrong(&one.fault));
        found.map(|(_, count)| *count).sum::<u64>() == repaired.count() as u64
    }
}

/// Checks a store, and repairs it if that is asked for.
pub(super) fn examine(
    registry: &Registry,
    repair: bool,
    progress: &Progress,
) -> Result<Examination, CommandError> {
    let began = Instant::now();
    let mut done = 0.0;
    let diagnosis = registry.check_all(|what, so_far| {
        progress.begin(what);
        progress.add(so_far - done, 0);
        done = so_far;
    })?;
    let mut repaired = Vec::new();
    for discovery in &diagnosis.discoveries {
        repaired.push(repair && registry.repair(discovery)?);
    }
    if repair {
        registry.sync_always()?;
    }
    let mut examination = Examination::from(diagnosis);
    for (finding, repaired) in examination.findings.iter_mut().zip(repaired) {
        finding.repaired = repaired;
        examination.repaired += u64::from(repaired);
    }
    examination.repair = repair;
    examination.seconds = began.elapsed().as_secs_f64();
    Ok(examination)
}

impl From<Diagnosis> for Examination {
    fn from(diagnosis: Diagnosis) -> Self {
        Self {
            findings: diagnosis.discoveries.iter().map(Finding::of).collect(),
            counts: diagnosis.counts,
            repair: false,
            repaired: 0,
            digests: diagnosis.digests,
            repositories: diagnosis.repositories,
            links: diagnosis.links,
            seconds: 0.0,
        }
    }
}

impl fmt::Display for Examination {
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
                "{} repaired; what is left needs a push, or another look",
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

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.detail)?;
        if !self.needed_by.is_empty() {
            write!(f, "; needed by {}", self.needed_by.join(", "))?;
        }
        if let Some(digest) = &self.in_trash {
            write!(f, " [in the trash: regfs undelete STORE {digest}]")?;
        }
        match (&self.plan, self.repaired) {
            (Some(_), true) => write!(f, " [repaired]"),
            (Some(plan), false) => write!(f, " [repair: {plan}]"),
            (None, _) => Ok(()),
        }
    }
}
