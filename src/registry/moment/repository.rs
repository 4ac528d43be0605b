//! One repository of a moment: its facts, kind by kind.

use super::PAGE;
use crate::digest::{Algorithm, Digest};
use crate::index::{
    Directories, Index, Link, Repository, RepositoryId, TagDirectories, TagRecord, Upload,
};
use crate::name::{LinkSet, RepositoryName, Tag, UploadId};
use crate::registry::{Directory, Error, Fact};

/// The directories of a repository that were made.
pub(super) fn directories(name: &RepositoryName, made: Directories) -> Vec<Directory> {
    let sets = [
        (Directories::LAYERS, LinkSet::Layers),
        (Directories::REVISIONS, LinkSet::Revisions),
    ];
    let mut found = Vec::new();
    for (flag, directory) in [
        (Directories::MANIFESTS, Directory::Manifests(name.clone())),
        (Directories::TAGS, Directory::Tags(name.clone())),
        (Directories::UPLOADS, Directory::Uploads(name.clone())),
    ] {
        found.extend(made.contains(flag).then_some(directory));
    }
    for (flag, set) in sets {
        if made.contains(flag) {
            found.push(Directory::Links(name.clone(), set.clone()));
        }
        for algorithm in Algorithm::ALL {
            if made.contains(flag.of(algorithm)) {
                let directory = Directory::LinksAlgorithm(name.clone(), set.clone(), algorithm);
                found.push(directory);
            }
        }
    }
    found
}

/// One repository of a moment.
pub(super) struct One<'a> {
    pub(super) index: &'a Index,
    pub(super) name: RepositoryName,
    pub(super) found: Repository,
}

impl One<'_> {
    fn id(&self) -> RepositoryId {
        self.found.id
    }

    pub(super) fn links<E: From<Error>>(
        &self,
        set: &LinkSet,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        for algorithm in Algorithm::ALL {
            let mut last = None;
            loop {
                let page = self
                    .index
                    .links(self.id(), set, algorithm, last.as_ref(), PAGE);
                let page = page.map_err(Error::from)?;
                let Some((end, _)) = page.last() else { break };
                last = Some(*end);
                let full = page.len() == PAGE;
                for (digest, link) in page {
                    visit(self.link(set, digest, link))?;
                }
                if !full {
                    break;
                }
            }
        }
        Ok(())
    }

    fn link(&self, set: &LinkSet, digest: Digest, link: Link) -> Fact {
        match link {
            Link::Directory => {
                Fact::Directory(Directory::Link(self.name.clone(), set.clone(), digest))
            }
            Link::Linked { target, pushed } => Fact::Link {
                repository: self.name.clone(),
                set: set.clone(),
                digest,
                target,
                pushed,
            },
        }
    }

    pub(super) fn signatures<E: From<Error>>(
        &self,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let signed = self.index.signed_revisions(self.id());
        for revision in signed.map_err(Error::from)? {
            let set = LinkSet::Signatures(revision);
            let mut view = self.index.view();
            let mut kept = |algorithm| {
                let kept = view.signatures_kept(self.id(), &revision, algorithm);
                kept.map_err(Error::from)
            };
            if kept(None)? {
                visit(Fact::Directory(Directory::Links(
                    self.name.clone(),
                    set.clone(),
                )))?;
            }
            for algorithm in Algorithm::ALL {
                if kept(Some(algorithm))? {
                    let (name, set) = (self.name.clone(), set.clone());
                    let directory = Directory::LinksAlgorithm(name, set, algorithm);
                    visit(Fact::Directory(directory))?;
                }
            }
            self.links(&set, visit)?;
        }
        Ok(())
    }

    pub(super) fn tags<E: From<Error>>(
        &self,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        loop {
            let page = self.index.tags(self.id(), last.as_ref(), PAGE);
            let page = page.map_err(Error::from)?;
            let Some((end, _)) = page.last() else {
                return Ok(());
            };
            last = Some(end.clone());
            for (tag, record) in page {
                self.tag(tag, &record, visit)?;
            }
        }
    }

    fn tag<E: From<Error>>(
        &self,
        tag: Tag,
        record: &TagRecord,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let (name, made) = (&self.name, record.directories);
        let index = LinkSet::TagIndex(tag.clone());
        visit(Fact::Directory(Directory::Tag(name.clone(), tag.clone())))?;
        if made.contains(TagDirectories::CURRENT) {
            let directory = Directory::Current(name.clone(), tag.clone());
            visit(Fact::Directory(directory))?;
        }
        if made.contains(TagDirectories::INDEX) {
            visit(Fact::Directory(Directory::Links(
                name.clone(),
                index.clone(),
            )))?;
        }
        for algorithm in Algorithm::ALL {
            if made.contains(TagDirectories::index_of(algorithm)) {
                let directory = Directory::LinksAlgorithm(name.clone(), index.clone(), algorithm);
                visit(Fact::Directory(directory))?;
            }
        }
        if let Some((target, pushed)) = record.current {
            visit(Fact::Current {
                repository: name.clone(),
                tag,
                target,
                pushed,
            })?;
        }
        self.links(&index, visit)
    }

    pub(super) fn uploads<E: From<Error>>(
        &self,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        loop {
            let page = self.index.uploads(self.id(), last.as_ref(), PAGE);
            let page = page.map_err(Error::from)?;
            let Some((end, _)) = page.last() else {
                return Ok(());
            };
            last = Some(*end);
            for (id, upload) in page {
                self.upload(id, upload, visit)?;
            }
        }
    }

    fn upload<E: From<Error>>(
        &self,
        id: UploadId,
        upload: Upload,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let name = || self.name.clone();
        visit(Fact::Directory(Directory::Upload(name(), id)))?;
        if upload.hash_states {
            visit(Fact::Directory(Directory::HashStates(name(), id)))?;
        }
        for algorithm in Algorithm::ALL {
            if upload.keeps_hash_states(algorithm) {
                let directory = Directory::HashStatesAlgorithm(name(), id, algorithm);
                visit(Fact::Directory(directory))?;
            }
            let states = self.index.hash_states(self.id(), &id, algorithm);
            for (offset, updated, _) in states.map_err(Error::from)? {
                let mut view = self.index.view();
                let state = view.hash_state(self.id(), &id, algorithm, offset);
                let bytes = state.map_err(Error::from)?.map(|(_, bytes)| bytes);
                visit(Fact::HashState {
                    repository: name(),
                    upload: id,
                    algorithm,
                    offset,
                    updated,
                    bytes: bytes.unwrap_or_default(),
                })?;
            }
        }
        if upload.has_data {
            visit(Fact::UploadData {
                repository: name(),
                upload: id,
            })?;
        }
        match upload.started_at {
            Some(bytes) => visit(Fact::StartedAt {
                repository: name(),
                upload: id,
                bytes,
            }),
            None => Ok(()),
        }
    }
}
