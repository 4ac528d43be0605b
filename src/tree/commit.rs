//! Commits: the content of a pending file becomes a fact as a whole, or is refused with a reason.

use super::change::{self, TreeChange};
use super::handle::{Handle, HandleTarget};
use super::open::OpenFileAccess;
use super::pending_content::PendingContent;
use super::pending_file::{PendingFile, PendingState};
use super::write_intent::WriteIntent;
use super::{Place, Tree, TreeError, Writer, plain_files};
use crate::digest::{Algorithm, Digest};
use crate::layout::Node;
use crate::manifest::MANIFEST_BYTES_MAX;
use crate::name::{LinkSet, RepositoryName};
use crate::registry::{Destination, Error, Sync};

impl Tree {
    /// Makes the content what the intent says, unless that was done for this version.
    pub(super) fn commit(&self, pending: &PendingFile) -> Result<Vec<TreeChange>, TreeError> {
        let _no_relocation = self.relocating.read();
        let mut state = pending.lock();
        if state.version == state.committed || state.intent == WriteIntent::AwaitRename {
            let dropped = state.dropped.iter().cloned();
            return Ok(dropped.map(TreeChange::modified).collect());
        }
        state.content.reopen()?;
        let committed = if let WriteIntent::Layer(repository, expected) = &state.intent {
            let (repository, expected) = (repository.clone(), *expected);
            self.commit_layer(&mut state, &repository, expected.as_ref())
        } else {
            self.commit_as(&state.intent, &state.content, state.writer)
        };
        let mut changes = committed.inspect_err(|error| {
            if state.refused != Some(state.version) {
                self.refused(&state, error);
            }
            state.refused = Some(state.version);
        })?;
        let became = match &state.intent {
            WriteIntent::File(node) => Some(node.clone()),
            WriteIntent::Manifest(..) | WriteIntent::Layer(..) | WriteIntent::AwaitRename => None,
        };
        if let Some(node) = &became {
            if let Some(when) = state.modified {
                match self.set_node_time(node, when) {
                    // It was removed at the same time.
                    Err(TreeError::NotFound) => {}
                    set => set?,
                }
            }
            let renamed =
                TreeChange::renamed(Place::Pending(pending.id()), Place::Node(node.clone()));
            changes.insert(0, renamed);
        }
        state.committed = state.version;
        state.dropped = change::visible_to_others(&changes);
        state.position = Some(self.registry.position());
        drop(state);
        if became.is_none() {
            self.pending_files.unname(pending);
            self.remember_name(pending);
        }
        Ok(changes)
    }

    /// Lets the process that wrote a dropped file find it by its name for a while.
    fn remember_name(&self, pending: &PendingFile) {
        if let (Some((name, _)), Some(shared)) =
            (pending.created_as(), self.pending_files.get(pending.id()))
        {
            let writer = pending.lock().writer;
            self.recently_dropped.insert(name, writer, shared);
        }
    }

    /// Stores the content as a layer, and removes the link of the layer that an earlier commit of
    /// the same file has stored.
    fn commit_layer(
        &self,
        state: &mut PendingState,
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
                self.registry.links().unlink_layer(repository, &before)?;
                changes.push(TreeChange::removed(link(before)));
            }
            Some(_) | None => {}
        }
        Ok(changes)
    }

    /// Records why a commit was refused.
    fn refused(&self, state: &PendingState, error: &TreeError) {
        let repository = match &state.intent {
            WriteIntent::File(node) => node.repository(),
            WriteIntent::Manifest(repository, _) | WriteIntent::Layer(repository, _) => {
                Some(repository)
            }
            WriteIntent::AwaitRename => return,
        };
        let PendingState { writer, path, .. } = state;
        if state.content.is_empty() {
            // Shells close a new file once before they write to it.
            log::debug!("refused {path}, still empty: {error}");
            return;
        }
        self.reject(*writer, repository, path, error);
    }

    /// Records and logs why an operation was refused.
    pub(super) fn reject(
        &self,
        writer: Writer,
        repository: Option<&RepositoryName>,
        path: &str,
        error: &TreeError,
    ) {
        let mut rejections = self.rejections.lock();
        rejections.refused(writer, repository, path, error);
    }

    /// Writes a link; records and logs what the audit finds in its manifest.
    fn set_link(&self, node: &Node, target: &Digest, writer: Writer) -> Result<(), TreeError> {
        let Node::Link(repository, set, digest) = node else {
            return Err(TreeError::IsDirectory);
        };
        let finding = self.registry.links().set(repository, set, digest, target)?;
        if let Some(finding) = finding {
            let path = node.to_string();
            let mut rejections = self.rejections.lock();
            rejections.audited(writer, repository, &path, &finding);
        }
        Ok(())
    }

    /// Makes the content what the intent says; a layer is not committed here.
    pub(super) fn commit_as(
        &self,
        intent: &WriteIntent,
        content: &PendingContent,
        writer: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        match (intent, content) {
            (WriteIntent::AwaitRename | WriteIntent::Layer(..), _) => Ok(Vec::new()),
            (WriteIntent::File(node), _) => self.commit_file(node, content, writer),
            (WriteIntent::Manifest(repository, destination), _) => {
                self.ingest(repository, destination, &bytes(content)?)
            }
        }
    }

    fn commit_file(
        &self,
        node: &Node,
        content: &PendingContent,
        writer: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        if let Node::BlobData(digest) = node {
            self.registry.publish(content.bytes()?, digest)?;
            return Ok(added(node));
        }
        if let Node::UploadData(repository, id) = node {
            // Registries rename the upload's file instead; cp writes here.
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
            // The manifest was written to this file, which shows a digest.
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

    /// Stores a manifest. Returns the changes of its tag and its links.
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

impl OpenFileAccess<'_> {
    /// close(2) of one descriptor: the written content becomes a fact and is visible at once. It is
    /// not durable yet. Returns the changes.
    ///
    /// # Errors
    /// [`TreeError::Registry`] if the content is refused or cannot be stored;
    /// [`TreeError::TooLarge`] if it is too long for a manifest. A refusal is recorded in
    /// `.regfs/rejected` and logged.
    pub fn flush(self, handle: &Handle) -> Result<Vec<TreeChange>, TreeError> {
        match &handle.open {
            // Shells close a new file once before they write to it.
            HandleTarget::Pending(pending, _) if pending.is_unwritten_layer() => Ok(Vec::new()),
            HandleTarget::Pending(pending, _) => self.0.commit(pending),
            HandleTarget::Control(..)
            | HandleTarget::Rendered(..)
            | HandleTarget::Blob(..)
            | HandleTarget::Upload(..)
            | HandleTarget::Plain(..) => Ok(Vec::new()),
        }
    }

    /// Returns `true` if [`OpenFileAccess::flush`](super::OpenFileAccess::flush) of an open file
    /// has no effect and cannot fail.
    pub fn flush_is_noop(self, handle: &Handle) -> bool {
        !matches!(handle.open, HandleTarget::Pending(..))
    }

    /// fsync(2), first half: as [`OpenFileAccess::flush`](super::OpenFileAccess::flush), and the
    /// file's own bytes become durable. Returns `true` with the changes if [`Tree::make_durable`]
    /// has to follow; `false` if the file awaits its rename, so that nothing is promised yet, or if
    /// its fact is durable already.
    ///
    /// # Errors
    /// As [`OpenFileAccess::flush`](super::OpenFileAccess::flush); or the error of the blob store
    /// or of the host.
    pub fn sync(self, handle: &Handle) -> Result<(Vec<TreeChange>, bool), TreeError> {
        let changes = self.0.open_files().flush(handle)?;
        let mut position = None;
        match &handle.open {
            HandleTarget::Pending(pending, _) => {
                let state = pending.lock();
                if state.intent == WriteIntent::AwaitRename
                    || self.0.is_relaxed_metadata(&state.intent)
                {
                    return Ok((changes, false));
                }
                position = state.position;
            }
            HandleTarget::Upload(staging, _) if self.0.registry.policy().sync != Sync::Lazy => {
                self.0.registry.uploads().sync(staging)?;
            }
            HandleTarget::Plain(file) => plain_files::sync(file)?,
            HandleTarget::Control(..)
            | HandleTarget::Rendered(..)
            | HandleTarget::Blob(..)
            | HandleTarget::Upload(..) => {}
        }
        Ok((changes, !self.0.blocking().is_durable(position)))
    }

    /// close(2) of the last descriptor. Content that is not a fact is committed if it was not
    /// refused before, and otherwise dropped; errors were recorded and are not returned. Returns
    /// the changes.
    pub fn release(self, handle: &Handle) -> Vec<TreeChange> {
        let HandleTarget::Pending(pending, _) = &handle.open else {
            return Vec::new();
        };
        if pending.awaits_rename() {
            pending.park();
            return Vec::new();
        }
        let uncommitted = {
            let state = pending.lock();
            state.version != state.committed && state.refused != Some(state.version)
        };
        let changes = if uncommitted {
            self.0.commit(pending).unwrap_or_default()
        } else {
            Vec::new()
        };
        self.0.pending_files.remove(pending);
        changes
    }
}

fn added(node: &Node) -> Vec<TreeChange> {
    vec![TreeChange::added(Place::Node(node.clone()))]
}

/// Returns all bytes of content that is not longer than a manifest.
fn bytes(content: &PendingContent) -> Result<Vec<u8>, TreeError> {
    match content {
        PendingContent::Buffered(buffered) => Ok(buffered.bytes().to_vec()),
        PendingContent::Staged(_) | PendingContent::Closed(_) => {
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

/// Returns where a manifest goes that is written to a link: to the revision, or to the tag.
fn ingests(node: &Node) -> Option<(&RepositoryName, Destination)> {
    let (repository, tag, digest) = match node {
        Node::Link(repository, LinkSet::Revisions, digest) => (repository, None, Some(*digest)),
        Node::CurrentLink(repository, tag) => (repository, Some(tag.clone()), None),
        _ => return None,
    };
    Some((repository, Destination { tag, digest }))
}

/// Returns `true` if the content of a link is a manifest rather than a digest.
pub(super) fn is_document(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Parses the digest in the content of a link. It must be the digest of the path if that is a
/// sha256. A link below another algorithm names the canonical sha256, as distribution writes it.
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
