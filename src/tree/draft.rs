//! Drafts: files being written that are no fact yet.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::target::Target;
use super::{Place, TreeError, Writer};
use crate::digest::Digest;
use crate::layout::Node;
use crate::manifest::MANIFEST_BYTES_MAX;
use crate::registry::{Bytes, Staging, read_held};

/// What was written so far.
#[derive(Debug)]
pub(super) enum Content {
    /// Links, manifests, notes, and what else is small: in memory, since a crash drops it anyway.
    Small(Vec<u8>),
    /// Layers that are not: among the staged bytes.
    Large(Staging),
}

impl Content {
    /// The bytes, to be published.
    pub(super) fn bytes(&self) -> Bytes<'_> {
        match self {
            Self::Small(bytes) => Bytes::Held(bytes),
            Self::Large(staging) => Bytes::Staged(staging),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Small(bytes) => bytes.is_empty(),
            Self::Large(staging) => staging.is_empty(),
        }
    }
}

/// A file being written.
#[derive(Debug)]
pub(super) struct Draft {
    id: u64,
    created: SystemTime,
    state: Mutex<State>,
}

/// What a draft is for, holds, and has come to.
#[derive(Debug)]
pub(super) struct State {
    pub(super) target: Target,
    pub(super) content: Content,
    /// Whether the content may become larger than what is kept in memory.
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
    /// Who writes.
    pub(super) writer: Writer,
    /// Where, for people.
    pub(super) path: String,
    /// Under which name it was made, if it was not opened as what it is.
    stood: Option<(Node, OsString)>,
    /// Where it stands, while its name leads to it.
    name: Option<(Node, OsString)>,
}

impl Draft {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The time that was set, or else that at which it was made.
    pub(super) fn modified(&self) -> SystemTime {
        self.state.lock().modified.unwrap_or(self.created)
    }

    /// Bytes written.
    pub(super) fn len(&self) -> u64 {
        match &self.state.lock().content {
            Content::Small(bytes) => bytes.len() as u64,
            Content::Large(staging) => staging.len(),
        }
    }

    /// Holds the state, so that nobody else writes or judges it.
    pub(super) fn hold(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether nothing was written since it was opened.
    pub(super) fn is_unwritten(&self) -> bool {
        self.state.lock().version == 0
    }

    /// The name under which it was made, and what it is for.
    pub(super) fn stood(&self) -> Option<((Node, OsString), Target)> {
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

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, TreeError> {
        match &self.state.lock().content {
            Content::Small(bytes) => Ok(read_held(bytes, offset, buffer)),
            Content::Large(staging) => Ok(staging.read_at(offset, buffer)?),
        }
    }

    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        match &mut state.content {
            Content::Small(content) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let end = start.saturating_add(bytes.len());
                if end > MANIFEST_BYTES_MAX {
                    return Err(TreeError::TooLarge {
                        max: MANIFEST_BYTES_MAX,
                    });
                }
                content.resize(content.len().max(end), 0);
                content.splice(start..end, bytes.iter().copied());
            }
            Content::Large(staging) => staging.write_at(offset, bytes)?,
        }
        state.version += 1;
        state.modified = None;
        Ok(())
    }

    pub(super) fn truncate(&self, len: u64) -> Result<(), TreeError> {
        let mut state = self.state.lock();
        match &mut state.content {
            Content::Small(content) => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                if len > MANIFEST_BYTES_MAX {
                    return Err(TreeError::TooLarge {
                        max: MANIFEST_BYTES_MAX,
                    });
                }
                content.resize(len, 0);
            }
            Content::Large(staging) => staging.truncate(len)?,
        }
        state.version += 1;
        state.modified = None;
        Ok(())
    }
}

/// The drafts there are, by number and by name.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    next: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    drafts: HashMap<u64, Arc<Draft>>,
    names: HashMap<(Node, OsString), u64>,
}

impl Drafts {
    /// A new file, of which so many versions count as written. One that waits for its rename is
    /// found by its name; any other will be facts, and is not seen by others until it is.
    pub(super) fn create(
        &self,
        name: (Node, OsString),
        target: Target,
        grows: bool,
        writer: Writer,
        version: u64,
    ) -> Arc<Draft> {
        let path = format!("{}/{}", name.0, name.1.display());
        let stood = Some(name.clone());
        let name = Some(name).filter(|_| target == Target::Later);
        self.add(State {
            target,
            content: Content::Small(Vec::new()),
            grows,
            version,
            committed: 0,
            position: None,
            dropped: Vec::new(),
            refused: None,
            stored: None,
            modified: None,
            writer,
            path,
            stood,
            name,
        })
    }

    /// New content for a file of the layout, which is what it was until something is written.
    pub(super) fn rewrite(&self, node: &Node, content: Vec<u8>, writer: Writer) -> Arc<Draft> {
        self.add(State {
            target: Target::File(node.clone()),
            content: Content::Small(content),
            grows: matches!(node, Node::BlobData(_)),
            version: 0,
            committed: 0,
            position: None,
            dropped: Vec::new(),
            refused: None,
            stored: None,
            modified: None,
            writer,
            path: node.to_string(),
            stood: None,
            name: None,
        })
    }

    fn add(&self, state: State) -> Arc<Draft> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let name = state.name.clone();
        let draft = Draft {
            id,
            created: SystemTime::now(),
            state: Mutex::new(state),
        };
        let draft = Arc::new(draft);
        let mut table = self.table.lock();
        table.drafts.insert(id, Arc::clone(&draft));
        if let Some(name) = name {
            table.names.insert(name, id);
        }
        draft
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<Draft>> {
        self.table.lock().drafts.get(&id).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.table.lock().drafts.len()
    }

    /// The draft that a name leads to.
    pub(super) fn named(&self, parent: &Node, name: &OsStr) -> Option<Arc<Draft>> {
        let table = self.table.lock();
        let id = table.names.get(&(parent.clone(), name.to_owned()))?;
        table.drafts.get(id).cloned()
    }

    /// Takes a draft's name away; it stays for who has it open.
    pub(super) fn unname(&self, draft: &Draft) {
        let name = draft.state.lock().name.take();
        if let Some(name) = name {
            let mut table = self.table.lock();
            if table.names.get(&name) == Some(&draft.id) {
                table.names.remove(&name);
            }
        }
    }

    /// Gives a draft another name and target.
    pub(super) fn rename(&self, draft: &Draft, name: (Node, OsString), target: Target) {
        self.unname(draft);
        let mut state = draft.state.lock();
        state.target = target;
        state.path = format!("{}/{}", name.0, name.1.display());
        state.name = Some(name.clone());
        self.table.lock().names.insert(name, draft.id);
    }

    /// Forgets a draft.
    pub(super) fn remove(&self, draft: &Draft) {
        self.unname(draft);
        self.table.lock().drafts.remove(&draft.id);
    }

    /// Forgets the drafts in a directory that is removed.
    pub(super) fn remove_below(&self, parent: &Node) {
        let mut table = self.table.lock();
        let gone: Vec<u64> = {
            let below = table
                .names
                .iter()
                .filter(|((directory, _), _)| directory == parent);
            below.map(|(_, id)| *id).collect()
        };
        table.names.retain(|(directory, _), _| directory != parent);
        for id in gone {
            table.drafts.remove(&id);
        }
    }
}
