//! Drafts: files being written that are no fact yet.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

use super::content::{Budget, Content};
use super::drafts::Name;
use super::relocate::Relocation;
use super::target::Target;
use super::{Attributes, Place, TreeError, Writer, number, process};
use crate::digest::Digest;
use crate::manifest::MANIFEST_BYTES_MAX;
use crate::registry::Registry;

/// A file being written.
#[derive(Debug)]
pub(super) struct Draft {
    id: u64,
    created: SystemTime,
    state: Mutex<State>,
    budget: Arc<Budget>,
}

/// What a draft is for, holds, and has come to.
#[derive(Debug)]
pub(super) struct State {
    pub(super) target: Target,
    pub(super) content: Content,
    /// Whether the content may be larger than a manifest.
    pub(super) grows: bool,
    /// Counts changes of the content.
    pub(super) version: u64,
    /// The version that last became a fact.
    pub(super) committed: u64,
    /// How far facts had come when it did.
    pub(super) position: Option<u64>,
    /// What that changed where only a drop changes something: programs that share a file may
    /// close it at once, and none may go on before the kernel knows.
    pub(super) dropped: Vec<Place>,
    /// The version that was last refused, for which nobody needs to be told once more.
    pub(super) refused: Option<u64>,
    /// The layer that the content so far was stored as, and whether it was new: programs that
    /// share a file close it one after the other, and only the last close makes it whole.
    pub(super) stored: Option<(Digest, bool)>,
    /// The time that was set of it since the content last changed.
    pub(super) modified: Option<SystemTime>,
    /// Who writes, and of which process that is, where somebody has asked.
    pub(super) writer: Writer,
    pub(super) process: Option<u32>,
    /// When it was last opened or written.
    pub(super) touched: Instant,
    /// Where, for people.
    pub(super) path: String,
    /// Under which name it was made, if it was not opened as what it is.
    pub(super) stood: Option<Name>,
    /// Where it stands, while its name leads to it.
    pub(super) name: Option<Name>,
}

impl State {
    /// What a new draft begins with, for which nothing is decided but this.
    pub(super) fn new(target: Target, content: Content, grows: bool, writer: Writer) -> Self {
        Self {
            target,
            content,
            grows,
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
            stood: None,
            name: None,
        }
    }

    /// Asks of which process the writer is, for when it has ended.
    pub(super) fn watch(&mut self) {
        if self.process.is_none() {
            self.process = process::of(self.writer.pid);
        }
    }
}

impl Draft {
    pub(super) fn new(id: u64, state: State, budget: &Arc<Budget>) -> Arc<Self> {
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

    /// What stat shows of it while it is no fact.
    pub(super) fn attributes(&self) -> Attributes {
        Attributes::file(number::draft(self.id), self.len(), self.modified())
    }

    /// The time that was set, or else that at which it was made.
    pub(super) fn modified(&self) -> SystemTime {
        self.state.lock().modified.unwrap_or(self.created)
    }

    /// Bytes written.
    pub(super) fn len(&self) -> u64 {
        self.state.lock().content.len()
    }

    /// Holds the state, so that nobody else writes or judges it.
    pub(super) fn hold(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The same, unless somebody does.
    pub(super) fn try_hold(&self) -> Option<parking_lot::MutexGuard<'_, State>> {
        self.state.try_lock()
    }

    /// Whether nothing was written since it was opened.
    pub(super) fn is_unwritten(&self) -> bool {
        self.state.lock().version == 0
    }

    /// The name under which it was made, and what it is for.
    pub(super) fn stood(&self) -> Option<(Name, Target)> {
        let state = self.state.lock();
        Some((state.stood.clone()?, state.target.clone()))
    }

    /// Whether it is a new layer to which nothing was written yet.
    pub(super) fn is_untouched_layer(&self) -> bool {
        let state = self.state.lock();
        state.version == 1 && matches!(state.target, Target::Layer(..))
    }

    /// Whether all that was written has become facts: what is written by its name from here on
    /// is another file, even if the kernel has not told us yet that this one was closed.
    pub(super) fn is_whole(&self) -> bool {
        let state = self.state.lock();
        state.target != Target::Later && state.version > 0 && state.committed == state.version
    }

    /// Whether it waits for a rename, and so outlives the files open on it.
    pub(super) fn waits(&self) -> bool {
        let state = self.state.lock();
        state.target == Target::Later && state.name.is_some()
    }

    /// Goes with what has moved.
    pub(super) fn follow(&self, relocation: &Relocation) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.target.follow(relocation);
        for name in [&mut state.stood, &mut state.name].into_iter().flatten() {
            name.0.follow(relocation);
        }
        for place in &mut state.dropped {
            if let Some(moved) = relocation.place(place) {
                *place = moved;
            }
        }
        match (&state.stood, &state.target) {
            (_, Target::File(node)) => state.path = node.to_string(),
            (Some(name), _) => state.path = name.0.shown(&name.1),
            (None, _) => {}
        }
    }

    /// Nobody may need its bytes for long.
    pub(super) fn park(&self) {
        self.state.lock().content.park(&self.budget);
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, TreeError> {
        let mut state = self.state.lock();
        state.content.wake()?;
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

impl State {
    /// Makes sure that there may be so many bytes, and that there is a place for them.
    fn make_room(&mut self, registry: &Registry, len: u64) -> Result<(), TreeError> {
        let max = MANIFEST_BYTES_MAX;
        if !self.grows && len > max as u64 {
            return Err(TreeError::TooLarge { max });
        }
        self.content.wake()?;
        self.content.make_room(registry, len)?;
        self.touched = Instant::now();
        if matches!(self.content, Content::Large(_)) {
            self.watch();
        }
        Ok(())
    }
}
