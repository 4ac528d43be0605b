//! Checking repositories: what each holds, against its own links and against the stored blobs.

use std::collections::HashSet;

use super::{FsckFinding, FsckRun, RepairAction, StoreFault, TAGS_LISTED};
use crate::digest::Digest;
use crate::index::{DigestId, EdgeRole, RepositoryId};
use crate::maintenance::tags::tags_that_need;
use crate::name::{LinkSet, RepositoryName, Tag};
use crate::registry::Error;

/// The links of one repository.
#[derive(Default)]
struct RepositoryLinks {
    /// Layers whose bytes are stored.
    layers: HashSet<DigestId>,
    /// Layers whose bytes are missing.
    missing_layers: Vec<DigestId>,
    revisions: HashSet<DigestId>,
    /// The target of each revision's link.
    targets: Vec<(DigestId, DigestId)>,
    /// The number of tags.
    tags: u64,
    /// Tags that name a manifest that the repository does not hold.
    dangling: Vec<(Tag, DigestId)>,
}

impl FsckRun<'_> {
    /// Checks all repositories, in the order of their names.
    pub(super) fn check_repositories(&mut self) -> Result<(), Error> {
        let known = self.census.repositories.iter();
        let mut known: Vec<(RepositoryId, RepositoryName)> = known
            .filter_map(|(id, name)| Some((*id, name.repository()?)))
            .collect();
        known.sort_by(|a, b| a.1.cmp(&b.1));
        self.report.repositories = known.len() as u64;
        for (id, name) in known {
            self.check_repository(id, &name)?;
        }
        Ok(())
    }

    fn check_repository(&mut self, id: RepositoryId, name: &RepositoryName) -> Result<(), Error> {
        let links = self.links_of(id)?;
        let layers = links.layers.len() + links.missing_layers.len();
        self.report.links += (layers + links.targets.len()) as u64 + links.tags;
        for digest in &links.missing_layers {
            let digest = self.snapshot.index().digest(*digest)?;
            let fault = StoreFault::LayerWithoutBlob;
            self.add_missing_bytes(fault, name, &digest, RepairAction::Nothing)?;
        }
        for (tag, target) in &links.dangling {
            self.add_dangling_tag(name, tag, *target)?;
        }
        for (digest, target) in &links.targets {
            self.check_revision(name, *digest, *target, &links)?;
        }
        Ok(())
    }

    fn links_of(&self, id: RepositoryId) -> Result<RepositoryLinks, Error> {
        let (index, census) = (self.snapshot.index(), &self.census);
        let mut links = RepositoryLinks::default();
        index.each_link(id, &LinkSet::Layers, |digest, target| {
            if census.get(target).is_some_and(|known| known.present) {
                links.layers.insert(digest);
            } else {
                links.missing_layers.push(digest);
            }
        })?;
        index.each_link(id, &LinkSet::Revisions, |digest, target| {
            links.revisions.insert(digest);
            links.targets.push((digest, target));
        })?;
        index.each_tag(id, |tag, target| {
            links.tags += 1;
            if !links.revisions.contains(&target) {
                links.dangling.push((tag, target));
            }
        })?;
        Ok(links)
    }

    fn add_dangling_tag(
        &mut self,
        name: &RepositoryName,
        tag: &Tag,
        target: DigestId,
    ) -> Result<(), Error> {
        let fault = StoreFault::DanglingTag;
        if !self.report.count(fault) {
            return Ok(());
        }
        let target = self.snapshot.index().digest(target)?;
        let subject = format!("{name}:{tag}");
        let detail = format!("it names {target}, which the repository does not hold");
        self.report.findings.push(FsckFinding {
            needed_by: vec![subject.clone()],
            ..FsckFinding::new(fault, subject, detail, RepairAction::Nothing)
        });
        Ok(())
    }

    /// Checks that the manifest of a revision is stored, that its references are recorded, and
    /// that the repository holds what it references.
    fn check_revision(
        &mut self,
        name: &RepositoryName,
        id: DigestId,
        target: DigestId,
        links: &RepositoryLinks,
    ) -> Result<(), Error> {
        let index = self.snapshot.index();
        let Some(known) = self.census.get(target).filter(|known| known.present) else {
            let digest = index.digest(id)?;
            let action = RepairAction::Unlink(name.clone(), digest);
            return self.add_missing_bytes(StoreFault::RevisionWithoutBlob, name, &digest, action);
        };
        if !known.manifest {
            let digest = index.digest(target)?;
            return self.check_references_recorded(name, &digest);
        }
        for (role, named) in index.reference_ids(target)? {
            if !self.is_held(role, named, links) {
                self.add_missing_reference(name, id, role, named)?;
            }
        }
        Ok(())
    }

    /// Returns `true` if a repository holds what one of its manifests references in this role.
    fn is_held(&self, role: EdgeRole, named: DigestId, links: &RepositoryLinks) -> bool {
        match role {
            EdgeRole::Config | EdgeRole::Layer => links.layers.contains(&named),
            EdgeRole::Child => {
                let is_manifest = self.census.get(named).is_some_and(|one| one.manifest);
                links.revisions.contains(&named) || (!is_manifest && links.layers.contains(&named))
            }
            // A referrer may be pushed before its subject (OCI distribution specification 1.1).
            EdgeRole::Subject => true,
        }
    }

    fn add_missing_reference(
        &mut self,
        name: &RepositoryName,
        manifest: DigestId,
        role: EdgeRole,
        named: DigestId,
    ) -> Result<(), Error> {
        let index = self.snapshot.index();
        let (manifest, named) = (index.digest(manifest)?, index.digest(named)?);
        if self.may_be_elsewhere(&manifest, &named)? {
            return Ok(());
        }
        let fault = StoreFault::MissingReference;
        let in_trash = self.find_in_trash(fault, &named);
        if !self.report.count(fault) {
            return Ok(());
        }
        let needed_by = self.needed_by(&manifest)?;
        let subject = format!("{name}@{manifest}");
        let detail = format!("{} {named} is missing", role.name());
        self.report.findings.push(FsckFinding {
            needed_by,
            in_trash,
            ..FsckFinding::new(fault, subject, detail, RepairAction::Nothing)
        });
        Ok(())
    }

    /// Adds a finding about a digest of a repository whose bytes only a push, or the trash, can
    /// bring back.
    fn add_missing_bytes(
        &mut self,
        fault: StoreFault,
        name: &RepositoryName,
        digest: &Digest,
        action: RepairAction,
    ) -> Result<(), Error> {
        let in_trash = self.find_in_trash(fault, digest);
        if !self.report.count(fault) {
            return Ok(());
        }
        let mut needed_by = match tags_that_need(self.registry, digest, Some(name)) {
            Err(Error::Missing) => Vec::new(),
            tags => tags?,
        };
        needed_by.truncate(TAGS_LISTED);
        let subject = format!("{name}@{digest}");
        self.report.findings.push(FsckFinding {
            needed_by,
            in_trash,
            ..FsckFinding::new(fault, subject, "its bytes are missing", action)
        });
        Ok(())
    }
}
