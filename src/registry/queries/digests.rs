//! Queries about a digest, for people: its kind, its references, its referrers and its tags.

use std::collections::{BTreeSet, VecDeque};

use super::Queries;
use crate::digest::Digest;
use crate::index::{EdgeRole, RepositoryId};
use crate::manifest::{self, Kind};
use crate::name::{LinkSet, RepositoryName, Tag};
use crate::registry::Error;

/// Most rows of one answer: an extended attribute cannot hold more.
const ROWS_MAX: usize = 1_000;

impl Queries<'_> {
    /// Returns the kind of a manifest, or the role in which manifests reference a blob; `None` if
    /// the digest is unknown.
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

    /// Returns what a manifest references, each with its role, in the order of the manifest.
    pub fn references(&mut self, manifest: &Digest) -> Result<Vec<(&'static str, Digest)>, Error> {
        let named = self.registry.index.references(manifest)?.into_iter();
        named
            .map(|(role, digest)| Ok((self.role_name(role, &digest)?, digest)))
            .collect()
    }

    /// Returns the name of the role in which a manifest references a digest. A child of an index is
    /// a blob if its bytes are stored and no repository holds it as a manifest.
    fn role_name(&mut self, role: EdgeRole, digest: &Digest) -> Result<&'static str, Error> {
        let is_blob = role == EdgeRole::Child
            && self.registry.queries().has_blob(digest)?
            && self.media_type(digest)?.is_none()
            && !self.registry.index.is_revision(digest)?;
        Ok(if is_blob { "blob" } else { role.name() })
    }

    /// Returns the manifests of a repository, or of all repositories, that have this manifest as
    /// their subject (OCI distribution specification 1.1, "Listing Referrers").
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

    /// Returns the tags, of one repository or of all, that name a manifest; for a layer or
    /// configuration, the tags that cannot be pulled without it. The search ends when it has about
    /// 1,000 tags or has seen 1,000 manifests.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist.
    pub fn tags_of(
        &mut self,
        digest: &Digest,
        repository: Option<&RepositoryName>,
    ) -> Result<Vec<(RepositoryName, Tag)>, Error> {
        let only = repository
            .map(|name| self.repository_id(name))
            .transpose()?;
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

    /// Returns a signed schema 1 manifest, assembled from its payload and its signatures; `None` if
    /// the revision has no signatures.
    pub fn signed(
        &mut self,
        name: &RepositoryName,
        revision: &Digest,
    ) -> Result<Option<Vec<u8>>, Error> {
        let set = LinkSet::Signatures(*revision);
        let mut signatures = Vec::new();
        for algorithm in crate::digest::Algorithm::ALL {
            for (digest, _) in self.pages().links(name, &set, algorithm, None, ROWS_MAX)? {
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
