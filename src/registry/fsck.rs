//! fsck: facts against each other and against the bytes, as of one moment; and repair.
//!
//! What the index alone can tell it verifies itself; here are blobs and their files, and what
//! facts mean to each other. A store that is in use is checked as it was when the check began;
//! what seems to lack a file, or a fact, is looked at once more as it is now.
//!
//! Repair makes facts and bytes agree again. It brings no bytes back that are gone: what a tag
//! needs and does not have, only a push can bring, and the finding says which tags those are.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::{Error, Moment, Registry};
use crate::digest::Digest;
use crate::index::{Census, DigestId, Flaw, JournalDamage, RepositoryId, Role};
use crate::name::{LinkSet, RepositoryName};

mod blobs;
mod bytes;
mod fault;
mod repair;

pub use fault::{Fault, Severity};
pub(super) use repair::hash;

/// Findings that are kept of one kind; more are counted only.
const KEPT: usize = 1_000;
/// Tags that are named as needing something.
const NEEDING: usize = 10;

/// One thing that is not as it should be.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// What.
    pub fault: Fault,
    /// Of what: a digest, a tag, a row of the index.
    pub subject: String,
    /// In words.
    pub detail: String,
    /// Tags that cannot be pulled because of it, as `repository:tag`; some of them.
    pub needed_by: Vec<String>,
    /// What repair would do.
    pub(super) cure: Cure,
    /// What the trash has that would put it right, if that is taken back.
    pub in_trash: Option<Digest>,
}

impl Discovery {
    /// What repair would do, in words; nothing if it can do nothing.
    pub fn plan(&self) -> Option<&'static str> {
        self.cure.plan()
    }
}

/// What repair does.
#[derive(Clone, Debug)]
pub(super) enum Cure {
    /// Nothing.
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

/// What a check has found.
#[derive(Debug, Default)]
pub struct Diagnosis {
    /// What is not as it should be; of many of one kind some.
    pub discoveries: Vec<Discovery>,
    /// How many of each kind.
    pub counts: std::collections::BTreeMap<Fault, u64>,
    /// How many of each kind the trash would put right.
    pub in_trash: std::collections::BTreeMap<Fault, u64>,
    /// Digests that were looked at.
    pub digests: u64,
    /// Repositories, and directories on the way to them.
    pub repositories: u64,
    /// Links and tags.
    pub links: u64,
}

impl Diagnosis {
    /// Counts one more; whether it is to be told of.
    fn count(&mut self, fault: Fault) -> bool {
        let count = self.counts.entry(fault).or_default();
        *count += 1;
        usize::try_from(*count).is_ok_and(|count| count <= KEPT)
    }
}

/// What is wrong with a journal; nothing else is known of a store that was not opened for it.
impl From<&JournalDamage> for Diagnosis {
    fn from(damage: &JournalDamage) -> Self {
        let mut found = Self::default();
        for one in &damage.faults {
            let fault = Fault::of_journal(one.kind);
            if found.count(fault) {
                found.discoveries.push(Discovery {
                    fault,
                    subject: one.path.clone(),
                    detail: format!("{}; {}", one.detail, damage.loss()),
                    needed_by: Vec::new(),
                    cure: Cure::GoOn,
                    in_trash: None,
                });
            }
        }
        found
    }
}

/// A check in the making.
struct Check<'a> {
    registry: &'a Registry,
    moment: &'a Moment<'a>,
    census: Census,
    /// What is in the trash.
    trash: HashSet<Digest>,
    found: Diagnosis,
}

impl Registry {
    /// Checks everything. `told` hears what is being checked, and what part of all is done.
    pub fn check_all(&self, mut told: impl FnMut(&'static str, f64)) -> Result<Diagnosis, Error> {
        let moment = self.moment()?;
        let damage = self.damage.lock();
        let mut found = damage.as_ref().map(Diagnosis::from).unwrap_or_default();
        drop(damage);
        told("index", 0.0);
        let census = moment.index().verify(&mut |flaw| {
            let fault = Fault::of(flaw.kind);
            if found.count(fault) {
                found.discoveries.push(Discovery {
                    fault,
                    subject: row(&flaw.key),
                    detail: flaw.kind_in_words().into(),
                    needed_by: Vec::new(),
                    cure: Cure::Mend(flaw),
                    in_trash: None,
                });
            }
        })?;
        let mut check = Check {
            registry: self,
            moment: &moment,
            census,
            trash: self.trash()?.into_iter().map(|one| one.digest).collect(),
            found,
        };
        told("blobs", 0.4);
        check.blobs()?;
        told("small blobs", 0.6);
        check.inline()?;
        told("repositories", 0.7);
        check.repositories()?;
        check.unused()?;
        let mut found = check.found;
        found
            .discoveries
            .sort_by(|a, b| (a.fault, &a.subject).cmp(&(b.fault, &b.subject)));
        Ok(found)
    }
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
        cure: Cure,
    ) -> Result<(), Error> {
        if !self.found.count(fault) {
            return Ok(());
        }
        let needed_by = self.needed_by(digest)?;
        self.found.discoveries.push(Discovery {
            fault,
            subject: digest.to_string(),
            detail,
            needed_by,
            cure,
            in_trash: None,
        });
        Ok(())
    }

    /// What the trash has of what is missing; counted.
    fn in_trash(&mut self, fault: Fault, missing: &Digest) -> Option<Digest> {
        let found = self.trash.get(missing).copied()?;
        *self.found.in_trash.entry(fault).or_default() += 1;
        Some(found)
    }

    /// What repositories hold, against each other and against the blobs.
    fn repositories(&mut self) -> Result<(), Error> {
        let known = self.census.repositories.iter();
        let mut known: Vec<(RepositoryId, RepositoryName)> = known
            .filter_map(|(id, name)| Some((*id, name.repository()?)))
            .collect();
        known.sort_by(|a, b| a.1.cmp(&b.1));
        self.found.repositories = known.len() as u64;
        for (id, name) in known {
            self.repository(id, &name)?;
        }
        Ok(())
    }

    fn repository(&mut self, id: RepositoryId, name: &RepositoryName) -> Result<(), Error> {
        let index = self.moment.index();
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
        self.found.links += (layers.len() + bare.len() + held.len()) as u64 + tags;
        for digest in bare {
            let digest = index.digest_of(digest)?;
            self.in_repository(Fault::LayerWithoutBlob, name, &digest, Cure::Nothing)?;
        }
        for (tag, target) in dangling {
            if !self.found.count(Fault::DanglingTag) {
                continue;
            }
            let target = index.digest_of(target)?;
            self.found.discoveries.push(Discovery {
                fault: Fault::DanglingTag,
                subject: format!("{name}:{tag}"),
                detail: format!("it is at {target}, which the repository does not hold"),
                needed_by: vec![format!("{name}:{tag}")],
                cure: Cure::Nothing,
                in_trash: None,
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
        let index = self.moment.index();
        let Some(known) = self.census.get(target).filter(|known| known.present) else {
            let digest = index.digest_of(id)?;
            let cure = Cure::Unlink(name.clone(), digest);
            return self.in_repository(Fault::RevisionWithoutBlob, name, &digest, cure);
        };
        if !known.manifest {
            let digest = index.digest_of(target)?;
            return self.unlearned(name, &digest);
        }
        for (role, named) in index.names_of(target)? {
            let there = match role {
                Role::Config | Role::Layer => layers.contains(&named),
                Role::Child => {
                    let is_manifest = self.census.get(named).is_some_and(|one| one.manifest);
                    revisions.contains(&named) || (!is_manifest && layers.contains(&named))
                }
                Role::Subject => true,
            };
            if there {
                continue;
            }
            let (manifest, named) = (index.digest_of(id)?, index.digest_of(named)?);
            if self.may_be_elsewhere(&manifest, &named)? {
                continue;
            }
            let in_trash = self.in_trash(Fault::MissingReference, &named);
            if !self.found.count(Fault::MissingReference) {
                continue;
            }
            let needed_by = self.needed_by(&manifest)?;
            self.found.discoveries.push(Discovery {
                fault: Fault::MissingReference,
                subject: format!("{name}@{manifest}"),
                detail: format!("{} {named} is not there", role.name()),
                needed_by,
                cure: Cure::Nothing,
                in_trash,
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
        cure: Cure,
    ) -> Result<(), Error> {
        let in_trash = self.in_trash(fault, digest);
        if !self.found.count(fault) {
            return Ok(());
        }
        let tags = self.registry.queries().tags_of(digest, Some(name));
        let tags = match tags {
            Err(Error::Missing) => Vec::new(),
            tags => tags?,
        };
        let needing = tags.iter().take(NEEDING);
        self.found.discoveries.push(Discovery {
            fault,
            subject: format!("{name}@{digest}"),
            detail: "its bytes are not there".into(),
            needed_by: needing.map(|(name, tag)| format!("{name}:{tag}")).collect(),
            cure,
            in_trash,
        });
        Ok(())
    }
}
