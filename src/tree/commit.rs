//! Commits: what was written becomes a fact, as a whole, or is refused with a reason.

use super::change::{self, TreeChange};
use super::content::Content;
use super::draft::{Draft, State};
use super::handle::{Handle, Open};
use super::target::Target;
use super::{Place, Tree, TreeError, Writer};
use crate::digest::{Algorithm, Digest};
use crate::layout::Node;
use crate::manifest::MANIFEST_BYTES_MAX;
use crate::name::{LinkSet, RepositoryName};
use crate::registry::{Destination, Error, Sync};

impl Tree {
    /// close(2) of one descriptor: what was written becomes a fact, visible at once.
    pub fn flush(&self, handle: &Handle) -> Result<Vec<TreeChange>, TreeError> {
        match &handle.open {
            // Shells close a file once before anything is written to it.
            Open::Draft(draft, _) if draft.is_untouched_layer() => Ok(Vec::new()),
            Open::Draft(draft, _) => self.commit(draft),
            Open::Own(..)
            | Open::Shown(..)
            | Open::Blob(..)
            | Open::Upload(..)
            | Open::Plain(..) => Ok(Vec::new()),
        }
    }

    /// Whether a close changes nothing and cannot be refused: [`Tree::flush`] can be spared.
    pub fn closes_quietly(&self, handle: &Handle) -> bool {
        !matches!(handle.open, Open::Draft(..))
    }

    /// fsync(2): the same, and the file's own bytes are durable. The facts are so after
    /// [`Tree::make_durable`], if this says that there is something to wait for: a file that
    /// waits for its rename promises nothing yet, and one that is durable as it is has nothing
    /// to wait for, whatever others do.
    pub fn sync(&self, handle: &Handle) -> Result<(Vec<TreeChange>, bool), TreeError> {
        let changes = self.flush(handle)?;
        let mut position = None;
        match &handle.open {
            Open::Draft(draft, _) => {
                let state = draft.hold();
                if state.target == Target::Later || self.is_note(&state.target) {
                    return Ok((changes, false));
                }
                position = state.position;
            }
            Open::Upload(staging, _) if self.registry.policy().sync != Sync::Lazy => {
                self.registry.uploads().sync(staging)?;
            }
            Open::Plain(file) => super::plain::sync(file)?,
            Open::Own(..) | Open::Shown(..) | Open::Blob(..) | Open::Upload(..) => {}
        }
        Ok((changes, !self.is_durable(position)))
    }

    /// The last descriptor is closed. What never became a fact is dropped.
    pub fn release(&self, handle: &Handle) -> Vec<TreeChange> {
        let Open::Draft(draft, _) = &handle.open else {
            return Vec::new();
        };
        if draft.waits() {
            draft.park();
            return Vec::new();
        }
        let unsettled = {
            let state = draft.hold();
            state.version != state.committed && state.refused != Some(state.version)
        };
        let changes = if unsettled {
            self.commit(draft).unwrap_or_default()
        } else {
            Vec::new()
        };
        self.drafts.remove(draft);
        changes
    }

    /// Makes a draft's content what its target says, unless that was done.
    pub(super) fn commit(&self, draft: &Draft) -> Result<Vec<TreeChange>, TreeError> {
        let _stays = self.relocating.read();
        let mut state = draft.hold();
        if state.version == state.committed || state.target == Target::Later {
            let dropped = state.dropped.iter().cloned();
            return Ok(dropped.map(TreeChange::modified).collect());
        }
        state.content.wake()?;
        let committed = if let Target::Layer(repository, expected) = &state.target {
            let (repository, expected) = (repository.clone(), *expected);
            self.commit_layer(&mut state, &repository, expected.as_ref())
        } else {
            self.commit_as(&state.target, &state.content, state.writer)
        };
        let mut changes = committed.inspect_err(|error| {
            if state.refused != Some(state.version) {
                self.refused(&state, error);
            }
            state.refused = Some(state.version);
        })?;
        let became = match &state.target {
            Target::File(node) => Some(node.clone()),
            Target::Manifest(..) | Target::Layer(..) | Target::Later => None,
        };
        if let Some(node) = &became {
            if let Some(when) = state.modified {
                match self.set_node_time(node, when) {
                    // Removed in the same moment.
                    Err(TreeError::NotFound) => {}
                    set => set?,
                }
            }
            let renamed = TreeChange::renamed(Place::Draft(draft.id()), Place::Node(node.clone()));
            changes.insert(0, renamed);
        }
        state.committed = state.version;
        state.dropped = change::visible_to_others(&changes);
        state.position = Some(self.registry.position());
        drop(state);
        if became.is_none() {
            self.drafts.unname(draft);
            self.linger(draft);
        }
        Ok(changes)
    }

    /// Lets the name of a dropped file linger for the process that wrote it.
    fn linger(&self, draft: &Draft) {
        if let (Some((name, _)), Some(shared)) = (draft.stood(), self.drafts.get(draft.id())) {
            let writer = draft.hold().writer;
            self.lingering.keep(name, writer, shared);
        }
    }

    /// Stores what was written as a layer, in place of what was stored of it before.
    fn commit_layer(
        &self,
        state: &mut State,
        repository: &RepositoryName,
        expected: Option<&Digest>,
    ) -> Result<Vec<TreeChange>, TreeError> {
        let bytes = state.content.bytes()?;
        let stored = self.registry.store_layer(repository, bytes, expected)?;
        let link = |digest| {
            let link = Node::Link(repository.clone(), LinkSet::Layers, digest);
            Place::Node(link)
        };
        let blob = Place::Node(Node::BlobData(stored.0));
        let mut changes = vec![TreeChange::added(blob), TreeChange::added(link(stored.0))];
        match state.stored.replace(stored) {
            Some((before, true)) if before != stored.0 => {
                self.registry.links().withdraw_layer(repository, &before)?;
                changes.push(TreeChange::removed(link(before)));
            }
            Some(_) | None => {}
        }
        Ok(changes)
    }

    /// Remembers why something was refused.
    fn refused(&self, state: &State, error: &TreeError) {
        let repository = match &state.target {
            Target::File(node) => node.repository(),
            Target::Manifest(repository, _) | Target::Layer(repository, _) => Some(repository),
            Target::Later => return,
        };
        let State { writer, path, .. } = state;
        if state.content.is_empty() {
            // Shells close a file once before anything is written to it.
            log::debug!("refused {path}, still empty: {error}");
            return;
        }
        self.reject(*writer, repository, path, error);
    }

    /// Remembers and logs why something was refused.
    pub(super) fn reject(
        &self,
        writer: Writer,
        repository: Option<&RepositoryName>,
        path: &str,
        error: &TreeError,
    ) {
        let mut rejected = self.rejected.lock();
        rejected.refused(writer, repository, path, error);
    }

    /// Writes a link; what the audit finds of it is remembered and logged.
    fn set_link(&self, node: &Node, target: &Digest, writer: Writer) -> Result<(), TreeError> {
        let Node::Link(repository, set, digest) = node else {
            return Err(TreeError::IsDirectory);
        };
        let finding = self.registry.links().set(repository, set, digest, target)?;
        if let Some(finding) = finding {
            let path = node.to_string();
            let mut rejected = self.rejected.lock();
            rejected.found(writer, repository, &path, &finding);
        }
        Ok(())
    }

    /// Makes content what a target says.
    pub(super) fn commit_as(
        &self,
        target: &Target,
        content: &Content,
        writer: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        match (target, content) {
            (Target::Later | Target::Layer(..), _) => Ok(Vec::new()),
            (Target::File(node), _) => self.commit_file(node, content, writer),
            (Target::Manifest(repository, destination), _) => {
                self.ingest(repository, destination, &bytes(content)?)
            }
        }
    }

    fn commit_file(
        &self,
        node: &Node,
        content: &Content,
        writer: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        if let Node::BlobData(digest) = node {
            self.registry.publish(content.bytes()?, digest)?;
            return Ok(added(node));
        }
        if let Node::UploadData(repository, id) = node {
            // Not as registries do it, but as people copy.
            self.registry
                .uploads()
                .set_data(repository, id, content.bytes()?)?;
            return Ok(added(node));
        }
        let bytes = bytes(content)?;
        if let Some((repository, destination)) = ingests(node)
            && is_document(&bytes)
        {
            let mut changes = self.ingest(repository, &destination, &bytes)?;
            // What was written is the manifest, and the file shows a digest.
            changes.push(TreeChange::modified(Place::Node(node.clone())));
            return Ok(changes);
        }
        match node {
            Node::Link(_, _, digest) => {
                let target = link_target(&bytes, Some(digest))?;
                self.set_link(node, &target, writer)?;
            }
            Node::CurrentLink(repository, tag) => {
                self.registry
                    .links()
                    .set_current(repository, tag, &link_target(&bytes, None)?)?;
            }
            Node::StartedAt(repository, id) => {
                self.registry
                    .uploads()
                    .set_started_at(repository, id, &bytes)?;
            }
            Node::HashState(repository, id, algorithm, offset) => {
                self.registry
                    .uploads()
                    .set_hash_state(repository, id, *algorithm, *offset, &bytes)?;
            }
            _ => return Err(TreeError::IsDirectory),
        }
        Ok(added(node))
    }

    /// Stores a manifest; the places that look different now are those of its tag.
    fn ingest(
        &self,
        repository: &RepositoryName,
        destination: &Destination,
        bytes: &[u8],
    ) -> Result<Vec<TreeChange>, TreeError> {
        let ingested = self.registry.ingest(repository, bytes, destination)?;
        let mut modified = vec![Node::Manifests(repository.clone())];
        let mut added = Vec::new();
        for (set, digest) in ingested.links {
            added.push(Node::BlobData(digest));
            added.push(Node::Link(repository.clone(), set, digest));
        }
        if let Some(tag) = &destination.tag {
            let current = Node::CurrentLink(repository.clone(), tag.clone());
            modified.extend([
                Node::Tags(repository.clone()),
                Node::Tag(repository.clone(), tag.clone()),
                Node::Current(repository.clone(), tag.clone()),
                current.clone(),
            ]);
            let index = LinkSet::TagIndex(tag.clone());
            added.push(Node::Link(repository.clone(), index, ingested.digest));
            added.push(current);
        }
        let modified = modified.into_iter().map(Place::Node);
        let added = added.into_iter().map(Place::Node);
        let modified = modified.map(TreeChange::modified);
        Ok(modified.chain(added.map(TreeChange::added)).collect())
    }
}

fn added(node: &Node) -> Vec<TreeChange> {
    vec![TreeChange::added(Place::Node(node.clone()))]
}

/// The whole of small content.
fn bytes(content: &Content) -> Result<Vec<u8>, TreeError> {
    match content {
        Content::Small(held) => Ok(held.bytes().to_vec()),
        Content::Large(_) | Content::Parked(_) => {
            let len = usize::try_from(content.len()).unwrap_or(usize::MAX);
            if len > MANIFEST_BYTES_MAX {
                return Err(TreeError::TooLarge {
                    max: MANIFEST_BYTES_MAX,
                });
            }
            let mut bytes = vec![0; len];
            let read = content.read_at(0, &mut bytes)?;
            bytes.truncate(read);
            Ok(bytes)
        }
    }
}

/// Where a manifest goes that is written through a link: to its revision, or to its tag.
fn ingests(node: &Node) -> Option<(&RepositoryName, Destination)> {
    let (repository, tag, digest) = match node {
        Node::Link(repository, LinkSet::Revisions, digest) => (repository, None, Some(*digest)),
        Node::CurrentLink(repository, tag) => (repository, Some(tag.clone()), None),
        _ => return None,
    };
    Some((repository, Destination { tag, digest }))
}

/// Whether something written to a link is a manifest rather than a digest.
pub(super) fn is_document(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// The digest that a link's content names. Below a sha256 it can be no other; below another
/// algorithm distribution links the canonical sha256.
fn link_target(bytes: &[u8], path: Option<&Digest>) -> Result<Digest, TreeError> {
    let shown = || String::from_utf8_lossy(bytes.get(..80).unwrap_or(bytes)).into_owned();
    let malformed = || Error::Malformed { content: shown() };
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    let target: Digest = text.parse().map_err(|_| malformed())?;
    let canonical = path.filter(|path| path.algorithm() == Algorithm::Sha256);
    if canonical.is_some_and(|path| *path != target) {
        return Err(malformed().into());
    }
    Ok(target)
}
