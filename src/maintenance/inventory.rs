//! The inventory: what a store holds and how much, counted in the index.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::blobs::Area;
use crate::digest::{Algorithm, Digest};
use crate::index::{DigestId, Index, Link, RepositoryId};
use crate::name::{LinkSet, RepositoryName, Tag};
use crate::registry::{Error, Registry, Snapshot, time};

/// Rows that are read at once.
const PAGE: usize = 1_000;

/// A repository, and how much it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RepositoryUsage {
    /// Its name.
    pub repository: String,
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub revisions: u64,
    /// Layers and configurations.
    pub layers: u64,
    /// Bytes of its manifests, layers and configurations, each counted once.
    pub logical: u64,
    /// Bytes of these that no other repository holds.
    pub unique: u64,
    /// Bytes of these that other repositories hold too.
    pub shared: u64,
}

/// A tag that has a manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TagEntry {
    /// The tag.
    pub tag: String,
    /// Its manifest.
    pub digest: Digest,
    /// The kind of that manifest; `None` if regfs does not know the manifest.
    pub kind: Option<String>,
    /// When the tag was written.
    pub pushed: Timestamp,
}

/// A manifest, and what it names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageReport {
    /// Its digest.
    pub digest: Digest,
    /// Its kind; `None` if regfs does not know the manifest.
    pub kind: Option<String>,
    /// Its media type; `None` if regfs does not know the manifest.
    pub media_type: Option<String>,
    /// Its length in bytes; `None` if it is not stored.
    pub size: Option<u64>,
    /// The blobs and manifests that it names.
    pub references: Vec<ReferencedBlob>,
    /// The manifests of its repository that have it as their subject.
    pub referrers: Vec<Digest>,
}

/// A blob or manifest that a manifest names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReferencedBlob {
    /// Its role: configuration, layer, child or subject.
    pub role: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes; `None` if it is not stored.
    pub size: Option<u64>,
}

/// A manifest that a tag has or had.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TagVersion {
    /// The manifest.
    pub digest: Digest,
    /// When the tag got it.
    pub since: Timestamp,
    /// `true` if the tag has it now.
    pub current: bool,
    /// `true` if it can still be pulled by its digest.
    pub held: bool,
}

/// How much a store holds.
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

/// The size and the number of holders of each digest.
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

    /// Returns the length of a digest in bytes, and `true` if only one repository holds it.
    fn of(&self, id: DigestId) -> (u64, bool) {
        let weight = self.0.get(&id);
        weight.map_or((0, false), |weight| (weight.size, weight.holders == 1))
    }
}

/// The inventory of a store, as of the snapshot that it holds.
#[derive(Debug)]
pub struct Inventory<'a> {
    registry: &'a Registry,
    snapshot: Snapshot<'a>,
}

/// Returns a time as reports have it.
fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}

impl<'a> Inventory<'a> {
    /// Returns the inventory of a registry as of now.
    ///
    /// # Errors
    /// The failure to take the snapshot.
    pub fn of(registry: &'a Registry) -> Result<Self, Error> {
        let snapshot = registry.snapshot()?;
        Ok(Self { registry, snapshot })
    }

    fn index(&self) -> &Index {
        self.snapshot.index()
    }

    fn kind(&self, digest: &Digest) -> Result<Option<String>, Error> {
        Ok(self.registry.queries().kind(digest)?.map(str::to_owned))
    }

    /// Returns every repository that holds something of its own, with its id.
    fn holders(&self) -> Result<Vec<(RepositoryId, RepositoryName)>, Error> {
        let mut last = None;
        let mut found = Vec::new();
        loop {
            let page = self.index().list().repositories(last.as_ref(), PAGE)?;
            let Some((end, _)) = page.last() else {
                return Ok(found);
            };
            last = Some(end.clone());
            // A directory above others that was not made as a repository holds nothing.
            let named = page.into_iter().filter_map(|(name, one)| {
                let made = one.directories != crate::index::RepositoryDirectories::default();
                Some((one.id, name.repository().filter(|_| made)?))
            });
            found.extend(named);
        }
    }

    /// Returns the layers and the manifests of a repository, counted, and the digests of both.
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

    /// Returns the size of every blob, and how many of these repositories hold it.
    fn weights(&self, holders: &[(RepositoryId, RepositoryName)]) -> Result<Weights, Error> {
        let mut weights = Weights::default();
        self.index().each_blob(|_, blob| {
            if blob.present {
                weights.weigh(blob.id, blob.size);
            }
            Ok::<_, Error>(())
        })?;
        for (id, _) in holders {
            for held in self.held(*id)?.2 {
                weights.hold(held);
            }
        }
        Ok(weights)
    }

    /// Returns every repository, or one, with how much it holds. Either way it reads what all
    /// repositories hold, to know which bytes are unique.
    ///
    /// # Errors
    /// [`Error::Missing`] if the one does not exist.
    pub fn repositories(
        &self,
        only: Option<&RepositoryName>,
    ) -> Result<Vec<RepositoryUsage>, Error> {
        let holders = self.holders()?;
        let weights = self.weights(&holders)?;
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
            found.push(RepositoryUsage {
                repository: name.to_string(),
                tags,
                revisions,
                layers,
                logical,
                unique,
                shared: logical - unique,
            });
        }
        match only {
            Some(_) if found.is_empty() => Err(Error::Missing),
            _ => Ok(found),
        }
    }

    /// Returns the tags of a repository that have a manifest.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist.
    pub fn tags(&self, name: &RepositoryName) -> Result<Vec<TagEntry>, Error> {
        let id = self.number(name)?;
        let (mut last, mut found) = (None, Vec::new());
        loop {
            let page = self.index().list().tags(id, last.as_ref(), PAGE)?;
            let Some((end, _)) = page.last() else {
                return Ok(found);
            };
            last = Some(end.clone());
            for (tag, record) in page {
                let Some((digest, pushed)) = record.current else {
                    continue;
                };
                found.push(TagEntry {
                    tag: tag.to_string(),
                    digest,
                    kind: self.kind(&digest)?,
                    pushed: timestamp(time(pushed)),
                });
            }
        }
    }

    /// Returns the manifest of a tag and what it names.
    ///
    /// # Errors
    /// [`Error::Missing`] if the tag does not exist or has no manifest.
    pub fn image(&self, name: &RepositoryName, tag: &Tag) -> Result<ImageReport, Error> {
        let record = self.index().view().tags().get(self.number(name)?, tag)?;
        let current = record.and_then(|record| record.current);
        let (digest, _) = current.ok_or(Error::Missing)?;
        let queries = &mut self.registry.queries();
        let (media_type, references) = (queries.media_type(&digest)?, queries.references(&digest)?);
        let referrers = queries.referrers(&digest, Some(name))?;
        let mut size = |digest: &Digest| queries.blob(digest).ok().map(|(size, _)| size);
        Ok(ImageReport {
            digest,
            kind: self.kind(&digest)?,
            media_type,
            size: size(&digest),
            references: references
                .into_iter()
                .map(|(role, digest)| ReferencedBlob {
                    role: role.to_owned(),
                    size: size(&digest),
                    digest,
                })
                .collect(),
            referrers,
        })
    }

    /// Returns every manifest that a tag has or had, the newest first.
    ///
    /// # Errors
    /// [`Error::Missing`] if the tag does not exist.
    pub fn history(&self, name: &RepositoryName, tag: &Tag) -> Result<Vec<TagVersion>, Error> {
        let id = self.number(name)?;
        let mut view = self.index().view();
        let record = view.tags().get(id, tag)?.ok_or(Error::Missing)?;
        let set = LinkSet::TagIndex(tag.clone());
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for (digest, link) in
                self.index()
                    .list()
                    .links(id, &set, algorithm, None, usize::MAX)?
            {
                let Link::Linked { pushed, .. } = link else {
                    continue;
                };
                let held = view.links().get(id, &LinkSet::Revisions, &digest)?;
                found.push(TagVersion {
                    digest,
                    since: timestamp(time(pushed)),
                    current: record.current.is_some_and(|(now, _)| now == digest),
                    held: matches!(held, Some(Link::Linked { .. })),
                });
            }
        }
        found.sort_by_key(|one| std::cmp::Reverse((one.current, one.since)));
        Ok(found)
    }

    fn number(&self, name: &RepositoryName) -> Result<RepositoryId, Error> {
        let found = self.index().view().repositories().get(name.namespace())?;
        Ok(found.ok_or(Error::Missing)?.id)
    }

    /// Returns the totals of the store.
    ///
    /// # Errors
    /// The failure to read the index or the trash.
    pub fn totals(&self) -> Result<Totals, Error> {
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
        for retired in self.registry.blobs().list(Area::Trash, None, usize::MAX)? {
            totals.trash += 1;
            totals.trash_bytes += retired.len;
        }
        Ok(totals)
    }
}
