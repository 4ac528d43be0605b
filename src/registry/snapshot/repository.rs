//! The facts of one repository in a snapshot, visited kind by kind.

use super::PAGE;
use crate::digest::{Algorithm, Digest};
use crate::index::{
    Index, Link, Repository, RepositoryDirectories, RepositoryId, TagDirectories, TagRecord, Upload,
};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag, UploadId};
use crate::registry::directory::flagged_directories;
use crate::registry::{Error, Fact, Value};

/// Returns the directories of a repository that were made and that have a flag in its record.
pub(super) fn made_directories(name: &RepositoryName, made: RepositoryDirectories) -> Vec<Node> {
    let flagged = flagged_directories(name).into_iter();
    let made = flagged.filter(|(flag, _)| made.contains(*flag));
    made.map(|(_, directory)| directory).collect()
}

/// One repository of a snapshot.
pub(super) struct RepositorySnapshot<'a> {
    pub(super) index: &'a Index,
    pub(super) name: RepositoryName,
    pub(super) found: Repository,
}

impl RepositorySnapshot<'_> {
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
                    .list()
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
                let directory = Node::LinkDirectory(self.name.clone(), set.clone(), digest);
                (directory, Value::Directory)
            }
            Link::Linked { target, pushed } => {
                let link = Node::Link(self.name.clone(), set.clone(), digest);
                (link, Value::Link { target, pushed })
            }
        }
    }

    pub(super) fn signatures<E: From<Error>>(
        &self,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let signed = self.index.list().signed_revisions(self.id());
        for revision in signed.map_err(Error::from)? {
            let set = LinkSet::Signatures(revision);
            let mut view = self.index.view();
            let mut was_made = |algorithm| {
                let made =
                    view.signature_directories()
                        .has_directory(self.id(), &revision, algorithm);
                made.map_err(Error::from)
            };
            if was_made(None)? {
                visit((
                    Node::Links(self.name.clone(), set.clone()),
                    Value::Directory,
                ))?;
            }
            for algorithm in Algorithm::ALL {
                if was_made(Some(algorithm))? {
                    let (name, set) = (self.name.clone(), set.clone());
                    let directory = Node::LinksAlgorithm(name, set, algorithm);
                    visit((directory, Value::Directory))?;
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
            let page = self.index.list().tags(self.id(), last.as_ref(), PAGE);
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
        visit((Node::Tag(name.clone(), tag.clone()), Value::Directory))?;
        if made.contains(TagDirectories::CURRENT) {
            let directory = Node::Current(name.clone(), tag.clone());
            visit((directory, Value::Directory))?;
        }
        if made.contains(TagDirectories::INDEX) {
            visit((Node::Links(name.clone(), index.clone()), Value::Directory))?;
        }
        for algorithm in Algorithm::ALL {
            if made.contains(TagDirectories::index_of(algorithm)) {
                let directory = Node::LinksAlgorithm(name.clone(), index.clone(), algorithm);
                visit((directory, Value::Directory))?;
            }
        }
        if let Some((target, pushed)) = record.current {
            let link = Node::CurrentLink(name.clone(), tag);
            visit((link, Value::Link { target, pushed }))?;
        }
        self.links(&index, visit)
    }

    pub(super) fn uploads<E: From<Error>>(
        &self,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        loop {
            let page = self.index.list().uploads(self.id(), last.as_ref(), PAGE);
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
        visit((Node::Upload(name(), id), Value::Directory))?;
        if upload.hash_states {
            visit((Node::HashStates(name(), id), Value::Directory))?;
        }
        for algorithm in Algorithm::ALL {
            if upload.has_hash_states_directory(algorithm) {
                let directory = Node::HashStatesAlgorithm(name(), id, algorithm);
                visit((directory, Value::Directory))?;
            }
            self.hash_states(id, algorithm, visit)?;
        }
        if upload.has_data {
            visit((Node::UploadData(name(), id), Value::UploadData))?;
        }
        match upload.started_at {
            Some(bytes) => visit((
                Node::StartedAt(name(), id),
                Value::File { bytes, written: 0 },
            )),
            None => Ok(()),
        }
    }

    fn hash_states<E: From<Error>>(
        &self,
        id: UploadId,
        algorithm: Algorithm,
        visit: &mut impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), E> {
        let states = self.index.list().hash_states(self.id(), &id, algorithm);
        for (offset, written, _) in states.map_err(Error::from)? {
            let mut view = self.index.view();
            let state = view.uploads().hash_state(self.id(), &id, algorithm, offset);
            let bytes = state.map_err(Error::from)?.map(|(_, bytes)| bytes);
            let bytes = bytes.unwrap_or_default();
            let node = Node::HashState(self.name.clone(), id, algorithm, offset);
            visit((node, Value::File { bytes, written }))?;
        }
        Ok(())
    }
}
