//! About a digest, for people who ask: what it is, what it names, what names it, and under which
//! tags it is found.

use std::collections::{BTreeSet, VecDeque};

use super::Queries;
use crate::digest::Digest;
use crate::index::{EdgeRole, RepositoryId};
use crate::manifest::{self, Kind};
use crate::name::{LinkSet, RepositoryName, Tag};
use crate::registry::Error;

/// Most rows of one answer: more than these no attribute could show.
const ROWS_MAX: usize = 1_000;

impl Queries<'_> {
    /// What a digest is: a kind of manifest, or how manifests use it; nothing if unknown.
    pub fn kind(&mut self, digest: &Digest) -> Result<Option<&'static str>, Error> {
        if let Some(media_type) = self.media_type(digest)? {
            return Ok(Some(
                Kind::from_media_type(&media_type).map_or("manifest", Kind::name),
            ));
        }
        for (role, name) in [(EdgeRole::Config, "config"), (EdgeRole::Layer, "layer")] {
            if !self
                .registry
                .index
                .referenced_by(digest, &[role])?
                .is_empty()
            {
                return Ok(Some(name));
            }
        }
        Ok(self.blob(digest).is_ok().then_some("blob"))
    }

    /// What a manifest names, and as what, in its own order.
    pub fn references(&mut self, manifest: &Digest) -> Result<Vec<(&'static str, Digest)>, Error> {
        let named = self.registry.index.references(manifest)?.into_iter();
        named
            .map(|(role, digest)| Ok((self.role_name(role, &digest)?, digest)))
            .collect()
    }

    /// What a manifest uses a digest as. What an index names is a blob if its bytes are here and
    /// nobody takes them for a manifest.
    fn role_name(&mut self, role: EdgeRole, digest: &Digest) -> Result<&'static str, Error> {
        let is_blob = role == EdgeRole::Child
            && self.registry.queries().has_blob(digest)?
            && self.media_type(digest)?.is_none()
            && !self.registry.index.is_revision(digest)?;
        Ok(if is_blob { "blob" } else { role.name() })
    }

    /// The manifests of a repository, or of all, that say they are about this one.
    pub fn referrers(
        &mut self,
        digest: &Digest,
        repository: Option<&RepositoryName>,
    ) -> Result<Vec<Digest>, Error> {
        let mut referrers = self
            .registry
            .index
            .referenced_by(digest, &[EdgeRole::Subject])?;
        let mut failed = None;
        referrers.retain(|referrer| {
            let held = match repository {
                Some(name) => Ok(self.link(name, &LinkSet::Revisions, referrer).is_ok()),
                None => self.registry.index.is_revision(referrer),
            };
            held.unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
        });
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(referrers),
        }
    }

    /// The tags, of one repository or of all, that are at a manifest; of a layer or
    /// configuration, those that cannot be pulled without it.
    pub fn tags_of(
        &mut self,
        digest: &Digest,
        repository: Option<&RepositoryName>,
    ) -> Result<Vec<(RepositoryName, Tag)>, Error> {
        let only = repository.map(|name| self.number(name)).transpose()?;
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([*digest]);
        let mut queue = VecDeque::from([*digest]);
        let climb = !self.registry.index.is_revision(digest)?;
        while let Some(next) = queue.pop_front() {
            for (repository, tag) in self.registry.index.tags_at(&next, only, ROWS_MAX)? {
                found.extend(self.named(repository)?.map(|name| (name, tag)));
            }
            if !climb || seen.len() > ROWS_MAX || found.len() > ROWS_MAX {
                continue;
            }
            let needing = [EdgeRole::Config, EdgeRole::Layer, EdgeRole::Child];
            for above in self.registry.index.referenced_by(&next, &needing)? {
                if seen.insert(above) {
                    queue.push_back(above);
                }
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn named(&mut self, id: RepositoryId) -> Result<Option<RepositoryName>, Error> {
        let namespace = self.registry.index.repository_name(id)?;
        Ok(namespace.and_then(|name| name.as_str().parse().ok()))
    }

    /// A signed schema 1 manifest, its payload and its signatures put together again; nothing
    /// where a revision has no signatures.
    pub fn signed(
        &mut self,
        name: &RepositoryName,
        revision: &Digest,
    ) -> Result<Option<Vec<u8>>, Error> {
        let set = LinkSet::Signatures(*revision);
        let mut signatures = Vec::new();
        for algorithm in crate::digest::Algorithm::ALL {
            for (digest, _) in self.links(name, &set, algorithm, None, ROWS_MAX)? {
                let Ok((target, _)) = self.link(name, &set, &digest) else {
                    continue;
                };
                signatures.push(self.registry.read_blob(&target)?.read_all()?);
            }
        }
        if signatures.is_empty() {
            return Ok(None);
        }
        Ok(manifest::assemble(
            &self.registry.read_blob(revision)?.read_all()?,
            &signatures,
        ))
    }
}
