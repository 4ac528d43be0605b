//! A pending file: a file being written whose content is not a fact yet.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};

use super::pending_content::{Budget, PendingContent};
use super::pending_name::PendingName;
use super::relocation::Relocation;
use super::write_intent::WriteIntent;
use super::{Attributes, Place, TreeError, Writer, inode_number, process};
use crate::digest::Digest;
use crate::manifest::MANIFEST_BYTES_MAX;
use crate::registry::Registry;

/// A file being written.
#[derive(Debug)]
pub(super) struct PendingFile {
    id: u64,
    created: SystemTime,
    state: Mutex<PendingState>,
    budget: Arc<Budget>,
}

/// Intent, content and progress of a pending file.
#[derive(Debug)]
pub(super) struct PendingState {
    pub(super) intent: WriteIntent,
    pub(super) content: PendingContent,
    /// `true` if the content may be longer than a manifest.
    pub(super) may_be_large: bool,
    /// The number of changes of the content.
    pub(super) version: u64,
    /// The version that last became a fact.
    pub(super) committed: u64,
    /// The position of the journal after that commit.
    pub(super) position: Option<u64>,
    /// The places that the last commit changed besides the file itself. Each close reports them:
    /// programs that share the file may close it at once, and none of them may continue before
    /// the kernel knows.
    pub(super) dropped: Vec<Place>,
    /// The version that was last refused, so that it is reported only once.
    pub(super) refused: Option<u64>,
    /// The blob of the layer that the last commit stored, and `true` if its link was new. Programs
    /// that share a file close it one after the other, and only the last close has all bytes: each
    /// commit replaces the link of the one before.
    pub(super) stored: Option<(Digest, bool)>,
    /// The time of modification that was set since the content last changed.
    pub(super) modified: Option<SystemTime>,
    pub(super) writer: Writer,
    /// The process of the writer's thread, if it was looked up.
    pub(super) process: Option<u32>,
    /// When the file was last written to.
    pub(super) touched: Instant,
    /// The path, for messages.
    pub(super) path: String,
    /// The name under which the file was created; `None` if an existing file was opened.
    pub(super) created_as: Option<PendingName>,
    /// The name that refers to the file now, if any.
    pub(super) name: Option<PendingName>,
}

impl PendingState {
    pub(super) fn new(intent: WriteIntent, content: PendingContent, writer: Writer) -> Self {
        Self {
            may_be_large: intent.may_be_large(),
            intent,
            content,
            version: 0,
            committed: 0,
            position: None,
            dropped: Vec::new(),
            refused: None,
            stored: None,
            modified: None,
            writer,
            process: None,
            touched: Instant::now(),
            path: String::new(),
            created_as: None,
            name: None,
        }
    }

    /// Looks up the process of the writer's thread, to know later whether it has ended.
    pub(super) fn find_process(&mut self) {
        if self.process.is_none() {
            self.process = process::of(self.writer.pid);
        }
    }

    /// Makes room for content of `len` bytes.
    fn make_room(&mut self, registry: &Registry, len: u64) -> Result<(), TreeError> {
        let max = MANIFEST_BYTES_MAX;
        if !self.may_be_large && len > max as u64 {
            return Err(TreeError::TooLarge { max });
        }
        self.content.reopen()?;
        self.content.make_room(registry, len)?;
        self.touched = Instant::now();
        if matches!(self.content, PendingContent::Staged(_)) {
            self.find_process();
        }
        Ok(())
    }
}

impl PendingFile {
    pub(super) fn new(id: u64, state: PendingState, budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            id,
            created: SystemTime::now(),
            state: Mutex::new(state),
            budget: Arc::clone(budget),
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns what stat(2) shows as long as the content is not a fact.
    pub(super) fn attributes(&self) -> Attributes {
        Attributes::file(inode_number::pending(self.id), self.len(), self.modified())
    }

    /// Returns the time of modification that was set, or else the time of creation.
    pub(super) fn modified(&self) -> SystemTime {
        self.state.lock().modified.unwrap_or(self.created)
    }

    /// Returns the length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.state.lock().content.len()
    }

    /// Locks the state, so that nobody else writes or commits.
    pub(super) fn lock(&self) -> MutexGuard<'_, PendingState> {
        self.state.lock()
    }

    /// As [`PendingFile::lock`]; `None` if somebody else holds the lock.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, PendingState>> {
        self.state.try_lock()
    }

    /// Returns `true` if nothing was written since the file was opened.
    pub(super) fn is_unwritten(&self) -> bool {
        self.state.lock().version == 0
    }

    /// Returns the name under which the file was created, and its intent; `None` if an existing
    /// file was opened.
    pub(super) fn created_as(&self) -> Option<(PendingName, WriteIntent)> {
        let state = self.state.lock();
        Some((state.created_as.clone()?, state.intent.clone()))
    }

    /// Returns `true` if this is a new layer to which nothing was written.
    pub(super) fn is_unwritten_layer(&self) -> bool {
        let state = self.state.lock();
        state.version == 1 && matches!(state.intent, WriteIntent::Layer(..))
    }

    /// Returns `true` if all written content is facts. A write by the file's name then begins
    /// another file, even if the kernel has not released this one yet.
    pub(super) fn is_committed(&self) -> bool {
        let state = self.state.lock();
        state.intent != WriteIntent::AwaitRename
            && state.version > 0
            && state.committed == state.version
    }

    /// Returns `true` if the file awaits a rename, so that it outlives its handles.
    pub(super) fn awaits_rename(&self) -> bool {
        let state = self.state.lock();
        state.intent == WriteIntent::AwaitRename && state.name.is_some()
    }

    /// Applies a rename of a namespace.
    pub(super) fn follow(&self, relocation: &Relocation) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.intent.follow(relocation);
        for name in [&mut state.created_as, &mut state.name]
            .into_iter()
            .flatten()
        {
            name.0.follow(relocation);
        }
        for place in &mut state.dropped {
            if let Some(moved) = relocation.place(place) {
                *place = moved;
            }
        }
        match (&state.created_as, &state.intent) {
            (_, WriteIntent::File(node)) => state.path = node.to_string(),
            (Some(name), _) => state.path = name.0.shown(&name.1),
            (None, _) => {}
        }
    }

    /// Closes the host's file of staged content until the next read or write.
    pub(super) fn park(&self) {
        self.state.lock().content.park(&self.budget);
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, TreeError> {
        let mut state = self.state.lock();
        state.content.reopen()?;
        state.content.read_at(offset, buffer)
    }

    pub(super) fn write_at(
        &self,
        registry: &Registry,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        state.make_room(registry, offset.saturating_add(bytes.len() as u64))?;
        state.content.write_at(offset, bytes)?;
        state.version += 1;
        state.modified = None;
        Ok(())
    }

    pub(super) fn truncate(&self, registry: &Registry, len: u64) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        state.make_room(registry, len)?;
        state.content.truncate(len)?;
        state.version += 1;
        state.modified = None;
        Ok(())
    }
}
