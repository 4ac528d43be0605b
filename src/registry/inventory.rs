//! The inventory: what is there and how much, told from facts alone.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Error, Moment, Registry, time};
use crate::digest::{Algorithm, Digest};
use crate::index::{DigestId, Link, RepositoryId};
use crate::name::{LinkSet, RepositoryName, Tag};

/// Rows that are read at once.
const PAGE: usize = 1_000;

/// A repository, and how much it holds.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Its name.
    pub name: RepositoryName,
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub revisions: u64,
    /// Layers and configurations.
    pub layers: u64,
    /// Bytes of all that, each counted once.
    pub logical: u64,
    /// Bytes that no other repository holds.
    pub unique: u64,
}

/// One manifest that a tag was at.
#[derive(Clone, Copy, Debug)]
pub struct Earlier {
    /// The manifest.
    pub digest: Digest,
    /// Since when it was.
    pub since: SystemTime,
    /// Whether it is now.
    pub current: bool,
    /// Whether it can still be pulled.
    pub held: bool,
}

/// How much of everything there is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Repositories.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Manifests that repositories hold; one that two hold counts twice.
    pub revisions: u64,
    /// Layers and configurations that repositories hold, in the same way.
    pub layers: u64,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that are in the index.
    pub small_blobs: u64,
    /// Blobs that were found to be damaged.
    pub damaged: u64,
    /// Blobs in the trash.
    pub trash: u64,
    /// Their bytes.
    pub trash_bytes: u64,
}

/// What every digest is to the inventory.
#[derive(Default)]
struct Weights(HashMap<DigestId, Weight>);

#[derive(Default)]
struct Weight {
    size: u64,
    holders: u32,
}

impl Weights {
    fn weigh(&mut self, id: DigestId, size: u64) {
        self.0.entry(id).or_default().size = size;
    }

    fn hold(&mut self, id: DigestId) {
        self.0.entry(id).or_default().holders += 1;
    }

    /// Bytes of a digest, and whether only one repository holds it.
    fn of(&self, id: DigestId) -> (u64, bool) {
        let weight = self.0.get(&id);
        weight.map_or((0, false), |weight| (weight.size, weight.holders == 1))
    }
}

impl Moment<'_> {
    /// Every repository, with its number.
    fn holders(&self) -> Result<Vec<(RepositoryId, RepositoryName)>, Error> {
        let mut last = None;
        let mut found = Vec::new();
        loop {
            let page = self.index().repositories(last.as_ref(), PAGE)?;
            let Some((end, _)) = page.last() else {
                return Ok(found);
            };
            last = Some(end.clone());
            // A directory on the way to others holds nothing.
            let named = page.into_iter().filter_map(|(name, one)| {
                let made = one.directories != crate::index::Directories::default();
                Some((one.id, name.repository().filter(|_| made)?))
            });
            found.extend(named);
        }
    }

    /// What a repository holds: its layers, its manifests, and the blobs of both.
    fn held(&self, id: RepositoryId) -> Result<(u64, u64, HashSet<DigestId>), Error> {
        let (mut layers, mut revisions, mut held) = (0, 0, HashSet::new());
        self.index().each_link(id, &LinkSet::Layers, |_, target| {
            layers += 1;
            held.insert(target);
        })?;
        self.index()
            .each_link(id, &LinkSet::Revisions, |_, target| {
                revisions += 1;
                held.insert(target);
            })?;
        Ok((layers, revisions, held))
    }

    /// Every repository, or one, with how much it holds. What others hold is looked at either
    /// way: it tells what is unique.
    pub fn holdings(&self, only: Option<&RepositoryName>) -> Result<Vec<Holding>, Error> {
        let mut weights = Weights::default();
        self.index().each_blob(|_, blob| {
            if blob.present {
                weights.weigh(blob.id, blob.size);
            }
            Ok::<_, Error>(())
        })?;
        let holders = self.holders()?;
        for (id, _) in &holders {
            for held in self.held(*id)?.2 {
                weights.hold(held);
            }
        }
        let wanted = |name: &RepositoryName| only.is_none_or(|only| only == name);
        let mut found = Vec::new();
        for (id, name) in holders.into_iter().filter(|(_, name)| wanted(name)) {
            let (layers, revisions, held) = self.held(id)?;
            let (mut logical, mut unique, mut tags) = (0, 0, 0);
            for (size, alone) in held.into_iter().map(|id| weights.of(id)) {
                logical += size;
                unique += if alone { size } else { 0 };
            }
            self.index().each_tag(id, |_, _| tags += 1)?;
            found.push(Holding {
                name,
                tags,
                revisions,
                layers,
                logical,
                unique,
            });
        }
        match only {
            Some(_) if found.is_empty() => Err(Error::Missing),
            _ => Ok(found),
        }
    }

    /// The tags of a repository that are at a manifest: which, and since when.
    pub fn tags(&self, name: &RepositoryName) -> Result<Vec<(Tag, Digest, SystemTime)>, Error> {
        let id = self.number(name)?;
        let (mut last, mut found) = (None, Vec::new());
        loop {
            let page = self.index().tags(id, last.as_ref(), PAGE)?;
            let Some((end, _)) = page.last() else {
                return Ok(found);
            };
            last = Some(end.clone());
            found.extend(page.into_iter().filter_map(|(tag, record)| {
                let (digest, pushed) = record.current?;
                Some((tag, digest, time(pushed)))
            }));
        }
    }

    /// The manifest that a tag is at.
    pub fn current(&self, name: &RepositoryName, tag: &Tag) -> Result<Digest, Error> {
        let record = self.index().view().tag(self.number(name)?, tag)?;
        let current = record.and_then(|record| record.current);
        current.map(|(digest, _)| digest).ok_or(Error::Missing)
    }

    /// Every manifest that a tag was at, the newest first.
    pub fn history(&self, name: &RepositoryName, tag: &Tag) -> Result<Vec<Earlier>, Error> {
        let id = self.number(name)?;
        let mut view = self.index().view();
        let record = view.tag(id, tag)?.ok_or(Error::Missing)?;
        let set = LinkSet::TagIndex(tag.clone());
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for (digest, link) in self.index().links(id, &set, algorithm, None, usize::MAX)? {
                let Link::Linked { pushed, .. } = link else {
                    continue;
                };
                let held = view.link(id, &LinkSet::Revisions, &digest)?;
                found.push(Earlier {
                    digest,
                    since: time(pushed),
                    current: record.current.is_some_and(|(now, _)| now == digest),
                    held: matches!(held, Some(Link::Linked { .. })),
                });
            }
        }
        found.sort_by_key(|one| std::cmp::Reverse((one.current, one.since)));
        Ok(found)
    }

    fn number(&self, name: &RepositoryName) -> Result<RepositoryId, Error> {
        let found = self.index().view().repository(name.namespace())?;
        Ok(found.ok_or(Error::Missing)?.id)
    }

    /// How much of everything there is.
    pub fn totals(&self, registry: &Registry) -> Result<Totals, Error> {
        let mut totals = Totals::default();
        for (id, _) in self.holders()? {
            let (layers, revisions, _) = self.held(id)?;
            totals.repositories += 1;
            totals.layers += layers;
            totals.revisions += revisions;
            self.index().each_tag(id, |_, _| totals.tags += 1)?;
        }
        self.index().each_blob(|_, blob| {
            if blob.present {
                totals.blobs += 1;
                totals.bytes += blob.size;
                totals.small_blobs += u64::from(blob.inline);
                totals.damaged += u64::from(blob.damaged);
            }
            Ok::<_, Error>(())
        })?;
        for retired in registry.trash()? {
            totals.trash += 1;
            totals.trash_bytes += retired.len;
        }
        Ok(totals)
    }
}
