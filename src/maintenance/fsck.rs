//! fsck: facts against each other and against the bytes, as of one moment; and repair.
//!
//! What the index alone can tell it verifies itself; here are blobs and their files, and what
//! facts mean to each other. A store that is in use is checked as it was when the check began;
//! what seems to lack a file, or a fact, is looked at once more as it is now.
//!
//! Repair makes facts and bytes agree again. It brings no bytes back that are gone: what a tag
//! needs and does not have, only a push can bring, and the finding says which tags those are.

use std::collections::HashSet;
use std::fmt;
use std::fmt::Write as _;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Progress;
use crate::blobs::Area;
use crate::digest::Digest;
use crate::index::{Census, DigestId, EdgeRole, Flaw, RepositoryId};
use crate::name::{LinkSet, RepositoryName};
use crate::registry::{Error, Registry, Snapshot};

mod blobs;
mod bytes;
mod fault;
mod repair;
mod report;

pub use fault::{Fault, Severity};
pub use repair::repair_all;
pub use report::FsckReport;
use report::LISTED_MAX;

/// Tags that are named as needing something.
const NEEDING: usize = 10;

/// One fault of a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FsckFinding {
    /// The kind of fault.
    pub fault: Fault,
    /// How bad it is.
    pub severity: Severity,
    /// What has the fault: a digest, a tag, a row of the index.
    pub subject: String,
    /// The fault, for people.
    pub detail: String,
    /// Some of the tags that cannot be pulled because of it, as `repository:tag`.
    pub needed_by: Vec<String>,
    /// What repair does about it, for people; `None` if it can do nothing.
    pub plan: Option<String>,
    /// `true` if repair has done that.
    pub repaired: bool,
    /// The digest in the trash whose restoration would mend the fault.
    pub in_trash: Option<Digest>,
    /// What repair does about it.
    #[serde(skip)]
    action: RepairAction,
}

impl FsckFinding {
    fn new(fault: Fault, subject: String, detail: impl Into<String>, action: RepairAction) -> Self {
        Self {
            fault,
            severity: fault.severity(),
            subject,
            detail: detail.into(),
            needed_by: Vec::new(),
            plan: action.plan().map(str::to_owned),
            repaired: false,
            in_trash: None,
            action,
        }
    }
}

impl fmt::Display for FsckFinding {
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

/// What repair does.
#[derive(Clone, Debug, Default)]
pub(super) enum RepairAction {
    /// Nothing.
    #[default]
    Nothing,
    /// The store goes on with what its journal still holds.
    GoOn,
    /// Row by row in the index.
    Mend(Flaw),
    /// A manifest is read again.
    Learn(Digest),
    /// The bytes are taken back from the trash, or the fact is withdrawn.
    Missing(Digest),
    /// The bytes are taken out, and the fact withdrawn.
    TakeOut(Digest),
    /// The link is removed.
    Unlink(RepositoryName, Digest),
    /// The file becomes a blob if its bytes are right, and is taken out otherwise.
    Adopt(Digest),
}

/// A check in the making.
struct Check<'a> {
    registry: &'a Registry,
    snapshot: &'a Snapshot<'a>,
    census: Census,
    /// What is in the trash.
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
    let census = snapshot.index().verify(&mut |flaw| {
        let fault = Fault::of(flaw.kind);
        if report.count(fault) {
            let (subject, detail) = (row(&flaw.key), flaw.kind_in_words());
            let action = RepairAction::Mend(flaw);
            let finding = FsckFinding::new(fault, subject, detail, action);
            report.findings.push(finding);
        }
    })?;
    let mut check = Check {
        registry,
        snapshot: &snapshot,
        census,
        trash: registry
            .blobs()
            .list(Area::Trash, None, usize::MAX)?
            .iter()
            .map(|one| one.digest)
            .collect(),
        report,
    };
    progress.add(0.4, 0);
    progress.begin("blobs");
    check.blobs()?;
    progress.add(0.2, 0);
    progress.begin("small blobs");
    check.inline()?;
    progress.add(0.1, 0);
    progress.begin("repositories");
    check.repositories()?;
    check.unused()?;
    let mut report = check.report;
    report
        .findings
        .sort_by(|a, b| (a.fault, &a.subject).cmp(&(b.fault, &b.subject)));
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// A row of the index, for people: its table, and the rest in hexadecimal.
fn row(key: &[u8]) -> String {
    let (table, rest) = key.split_at_checked(1).unwrap_or_default();
    let mut shown = format!("{} ", String::from_utf8_lossy(table));
    for byte in rest {
        // Writing to a string does not fail.
        let _ok = write!(shown, "{byte:02x}");
    }
    shown
}

impl Check<'_> {
    /// The tags that need a digest, some of them.
    fn needed_by(&self, digest: &Digest) -> Result<Vec<String>, Error> {
        let tags = self.registry.queries().tags_of(digest, None)?;
        let named = tags.iter().take(NEEDING);
        Ok(named.map(|(name, tag)| format!("{name}:{tag}")).collect())
    }

    fn about(
        &mut self,
        fault: Fault,
        digest: &Digest,
        detail: String,
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

    /// What the trash has of what is missing; counted.
    fn in_trash(&mut self, fault: Fault, missing: &Digest) -> Option<Digest> {
        let found = self.trash.get(missing).copied()?;
        *self.report.in_trash.entry(fault).or_default() += 1;
        Some(found)
    }

    /// What repositories hold, against each other and against the blobs.
    fn repositories(&mut self) -> Result<(), Error> {
        let known = self.census.repositories.iter();
        let mut known: Vec<(RepositoryId, RepositoryName)> = known
            .filter_map(|(id, name)| Some((*id, name.repository()?)))
            .collect();
        known.sort_by(|a, b| a.1.cmp(&b.1));
        self.report.repositories = known.len() as u64;
        for (id, name) in known {
            self.repository(id, &name)?;
        }
        Ok(())
    }

    fn repository(&mut self, id: RepositoryId, name: &RepositoryName) -> Result<(), Error> {
        let index = self.snapshot.index();
        let present = |census: &Census, id| census.get(id).is_some_and(|known| known.present);
        let (mut layers, mut bare) = (HashSet::new(), Vec::new());
        let census = &self.census;
        index.each_link(id, &LinkSet::Layers, |digest, target| {
            if present(census, target) {
                layers.insert(digest);
            } else {
                bare.push(digest);
            }
        })?;
        let (mut revisions, mut held) = (HashSet::new(), Vec::new());
        index.each_link(id, &LinkSet::Revisions, |digest, target| {
            revisions.insert(digest);
            held.push((digest, target));
        })?;
        let mut dangling = Vec::new();
        let mut tags = 0;
        index.each_tag(id, |tag, target| {
            tags += 1;
            if !revisions.contains(&target) {
                dangling.push((tag, target));
            }
        })?;
        self.report.links += (layers.len() + bare.len() + held.len()) as u64 + tags;
        for digest in bare {
            let digest = index.digest(digest)?;
            self.in_repository(
                Fault::LayerWithoutBlob,
                name,
                &digest,
                RepairAction::Nothing,
            )?;
        }
        for (tag, target) in dangling {
            if !self.report.count(Fault::DanglingTag) {
                continue;
            }
            let target = index.digest(target)?;
            self.report.findings.push(FsckFinding {
                needed_by: vec![format!("{name}:{tag}")],
                ..FsckFinding::new(
                    Fault::DanglingTag,
                    format!("{name}:{tag}"),
                    format!("it is at {target}, which the repository does not hold"),
                    RepairAction::Nothing,
                )
            });
        }
        for (digest, target) in held {
            self.revision(name, digest, target, &layers, &revisions)?;
        }
        Ok(())
    }

    /// A revision, what it names, and whether the repository holds that.
    fn revision(
        &mut self,
        name: &RepositoryName,
        id: DigestId,
        target: DigestId,
        layers: &HashSet<DigestId>,
        revisions: &HashSet<DigestId>,
    ) -> Result<(), Error> {
        let index = self.snapshot.index();
        let Some(known) = self.census.get(target).filter(|known| known.present) else {
            let digest = index.digest(id)?;
            let action = RepairAction::Unlink(name.clone(), digest);
            return self.in_repository(Fault::RevisionWithoutBlob, name, &digest, action);
        };
        if !known.manifest {
            let digest = index.digest(target)?;
            return self.unlearned(name, &digest);
        }
        for (role, named) in index.reference_ids(target)? {
            let there = match role {
                EdgeRole::Config | EdgeRole::Layer => layers.contains(&named),
                EdgeRole::Child => {
                    let is_manifest = self.census.get(named).is_some_and(|one| one.manifest);
                    revisions.contains(&named) || (!is_manifest && layers.contains(&named))
                }
                EdgeRole::Subject => true,
            };
            if there {
                continue;
            }
            let (manifest, named) = (index.digest(id)?, index.digest(named)?);
            if self.may_be_elsewhere(&manifest, &named)? {
                continue;
            }
            let in_trash = self.in_trash(Fault::MissingReference, &named);
            if !self.report.count(Fault::MissingReference) {
                continue;
            }
            let needed_by = self.needed_by(&manifest)?;
            self.report.findings.push(FsckFinding {
                needed_by,
                in_trash,
                ..FsckFinding::new(
                    Fault::MissingReference,
                    format!("{name}@{manifest}"),
                    format!("{} {named} is not there", role.name()),
                    RepairAction::Nothing,
                )
            });
        }
        Ok(())
    }

    /// Something about a digest of a repository whose bytes only a push can bring.
    fn in_repository(
        &mut self,
        fault: Fault,
        name: &RepositoryName,
        digest: &Digest,
        action: RepairAction,
    ) -> Result<(), Error> {
        let in_trash = self.in_trash(fault, digest);
        if !self.report.count(fault) {
            return Ok(());
        }
        let tags = self.registry.queries().tags_of(digest, Some(name));
        let tags = match tags {
            Err(Error::Missing) => Vec::new(),
            tags => tags?,
        };
        let needing = tags.iter().take(NEEDING);
        self.report.findings.push(FsckFinding {
            needed_by: needing.map(|(name, tag)| format!("{name}:{tag}")).collect(),
            in_trash,
            ..FsckFinding::new(
                fault,
                format!("{name}@{digest}"),
                "its bytes are not there",
                action,
            )
        });
        Ok(())
    }
}
