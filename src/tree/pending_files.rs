//! The pending files of a mount, and the hidden directories in which programs put temporary files
//! (`.~tmp~` and `.rsync-partial` of rsync).
//!
//! A pending file that awaits its rename outlives its handles, so that two things are bounded: the
//! number of such names, and the staged bytes that no handle has open. At the bound a file is
//! dropped only if its writer has certainly ended and nobody touched the file for an hour.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::pending_content::{Budget, PendingContent};
use super::pending_file::{PendingFile, PendingState};
use super::pending_name::{PendingName, PendingParent};
use super::pending_table::{HiddenDirectory, PendingEntry, PendingId, PendingTable};
use super::relocation::Relocation;
use super::write_intent::WriteIntent;
use super::{TreeError, Writer, process};
use crate::layout::Node;
use crate::registry::Registry;

/// The number of names of pending files and hidden directories, at most.
const NAMES_MAX: usize = 1 << 16;
/// The number of names from which on the process of each new one is looked up in `/proc`.
const PROCESS_LOOKUP_MIN: usize = 1 << 10;
/// Staged bytes without a handle up to which the free space is not checked.
const PARKED_MIN: u64 = 256 << 20;
/// For how long nobody must have touched a file of an ended process before it is dropped.
const ABANDONED: Duration = Duration::from_hours(1);
/// The interval at which abandoned files are searched for.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// The pending files and hidden directories of a mount.
#[derive(Debug, Default)]
pub(super) struct PendingFiles {
    table: Mutex<PendingTable>,
    budget: Arc<Budget>,
}

impl PendingFiles {
    /// Creates a pending file that counts as written `version` times. It can be looked up by name
    /// only if it awaits its rename; any other file is invisible until it is a fact.
    pub(super) fn create(
        &self,
        registry: &Registry,
        name: PendingName,
        intent: WriteIntent,
        writer: Writer,
        version: u64,
    ) -> Result<Arc<PendingFile>, TreeError> {
        let content = PendingContent::new(Vec::new(), &self.budget);
        let has_name = intent == WriteIntent::AwaitRename;
        let mut state = PendingState {
            version,
            path: name.0.shown(&name.1),
            created_as: Some(name.clone()),
            ..PendingState::new(intent, content, writer)
        };
        if has_name {
            if self.require_room(registry)? {
                state.find_process();
            }
            state.name = Some(name);
        }
        Ok(self.add(state))
    }

    /// Creates a pending file with new content for a file of the layout. The fact stays as it is
    /// until something is written.
    pub(super) fn rewrite(
        &self,
        node: &Node,
        content: Vec<u8>,
        writer: Writer,
    ) -> Arc<PendingFile> {
        let content = PendingContent::new(content, &self.budget);
        let intent = WriteIntent::File(node.clone());
        self.add(PendingState {
            path: node.to_string(),
            ..PendingState::new(intent, content, writer)
        })
    }

    /// Creates a hidden directory. Returns its id.
    pub(super) fn make_directory(
        &self,
        registry: &Registry,
        name: PendingName,
        writer: Writer,
    ) -> Result<u64, TreeError> {
        let find_process = self.require_room(registry)?;
        let process = find_process.then(|| process::of(writer.pid)).flatten();
        let mut table = self.table.lock();
        if table.id(&name).is_some() {
            return Err(TreeError::Exists);
        }
        let id = table.new_id();
        let hidden = HiddenDirectory {
            created: SystemTime::now(),
            since: Instant::now(),
            process,
            name: name.clone(),
        };
        table.hidden.insert(id, hidden);
        table.link(name, PendingId::Directory(id));
        Ok(id)
    }

    fn add(&self, state: PendingState) -> Arc<PendingFile> {
        let mut table = self.table.lock();
        let (id, name) = (table.new_id(), state.name.clone());
        let pending = PendingFile::new(id, state, &self.budget);
        table.files.insert(id, Arc::clone(&pending));
        if let Some(name) = name {
            table.link(name, PendingId::File(id));
        }
        pending
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<PendingFile>> {
        self.table.lock().files.get(&id).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.table.lock().files.len()
    }

    /// Returns when a hidden directory was created, or `None` if there is no such directory.
    pub(super) fn hidden_created(&self, id: u64) -> Option<SystemTime> {
        let table = self.table.lock();
        table.hidden.get(&id).map(|hidden| hidden.created)
    }

    /// Returns the nearest directory of the layout: `parent` itself, or the one in which the
    /// hidden directory is.
    pub(super) fn layout_directory(&self, parent: &PendingParent) -> Option<Node> {
        let table = self.table.lock();
        let mut parent = parent;
        loop {
            match parent {
                PendingParent::Node(node) => return Some(node.clone()),
                PendingParent::Hidden(id) => parent = &table.hidden.get(id)?.name.0,
            }
        }
    }

    /// Returns the entry that a name refers to.
    pub(super) fn lookup(&self, parent: &PendingParent, name: &OsStr) -> Option<PendingEntry> {
        self.table.lock().lookup(parent, name)
    }

    /// As [`PendingFiles::lookup`] in a directory of the layout; fast while there are no names.
    pub(super) fn lookup_in(&self, parent: &Node, name: &OsStr) -> Option<PendingEntry> {
        let table = self.table.lock();
        if table.name_count() == 0 {
            return None;
        }
        table.lookup(&PendingParent::Node(parent.clone()), name)
    }

    /// Returns at most `limit` entries of a hidden directory whose names are greater than `last`,
    /// sorted by name.
    pub(super) fn list(
        &self,
        directory: u64,
        last: Option<&OsStr>,
        limit: usize,
    ) -> Vec<(OsString, PendingEntry)> {
        let table = self.table.lock();
        table.list(&PendingParent::Hidden(directory), last, limit)
    }

    /// Removes the name of a pending file. The file stays for its handles.
    pub(super) fn unname(&self, pending: &PendingFile) {
        let name = pending.lock().name.take();
        if let Some(name) = name {
            let id = PendingId::File(pending.id());
            self.table.lock().unlink(&name, id);
        }
    }

    /// Renames a pending file to a name under which it awaits the next rename.
    pub(super) fn rename(&self, pending: &PendingFile, name: PendingName) -> Result<(), TreeError> {
        if matches!(self.table.lock().id(&name), Some(PendingId::Directory(_))) {
            return Err(TreeError::IsDirectory);
        }
        self.unname(pending);
        let mut state = pending.lock();
        state.intent = WriteIntent::AwaitRename;
        state.path = name.0.shown(&name.1);
        state.name = Some(name.clone());
        let id = PendingId::File(pending.id());
        self.table.lock().link(name, id);
        Ok(())
    }

    /// Drops a pending file and its name.
    pub(super) fn remove(&self, pending: &PendingFile) {
        self.unname(pending);
        self.table.lock().files.remove(&pending.id());
    }

    /// Removes an empty hidden directory.
    pub(super) fn remove_directory(&self, id: u64) -> Result<(), TreeError> {
        let mut table = self.table.lock();
        if table.has_names(&PendingParent::Hidden(id)) {
            return Err(TreeError::NotEmpty);
        }
        let hidden = table.hidden.remove(&id).ok_or(TreeError::NotFound)?;
        table.unlink(&hidden.name, PendingId::Directory(id));
        Ok(())
    }

    /// Drops everything in a directory of the layout that is being removed.
    pub(super) fn remove_below(&self, parent: &Node) {
        let mut table = self.table.lock();
        table.remove_below(&PendingParent::Node(parent.clone()));
    }

    /// Applies a rename of a namespace to all pending files and hidden directories.
    pub(super) fn follow(&self, relocation: &Relocation) {
        let files: Vec<_> = {
            let mut table = self.table.lock();
            table.follow(relocation);
            table.files.values().cloned().collect()
        };
        for pending in files {
            pending.follow(relocation);
        }
    }

    /// Refuses another name if there is no room for more, after dropping abandoned files. Returns
    /// `true` if there are so many names that the process of a new one is to be looked up.
    fn require_room(&self, registry: &Registry) -> Result<bool, TreeError> {
        let room = || -> Result<bool, TreeError> {
            // Staged bytes without a handle take at most half of the space that is left.
            let parked = self.budget.parked();
            let fits = parked <= PARKED_MIN || parked <= registry.room().space()?.available;
            Ok(fits && self.table.lock().name_count() < NAMES_MAX)
        };
        if !room()? {
            self.drop_abandoned(Instant::now(), process::has_ended);
            if !room()? {
                return Err(TreeError::NoRoom(
                    "too many temporary files await a rename: rename or remove them",
                ));
            }
        }
        Ok(self.table.lock().name_count() >= PROCESS_LOOKUP_MIN)
    }

    /// Drops files and hidden directories that nobody touched for [`ABANDONED`] and whose process
    /// has ended.
    fn drop_abandoned(&self, now: Instant, has_ended: impl Fn(u32) -> bool) {
        let old = |since: Instant| now.saturating_duration_since(since) >= ABANDONED;
        let ended = |process: Option<u32>| process.is_some_and(&has_ended);
        let (files, hidden) = {
            let mut table = self.table.lock();
            let last = table.last_search.replace(now);
            if last.is_some_and(|last| now.saturating_duration_since(last) < SEARCH_INTERVAL) {
                return;
            }
            let files: Vec<_> = table.files.values().cloned().collect();
            let hidden: Vec<_> = table
                .hidden
                .iter()
                .map(|(id, one)| (*id, one.clone()))
                .collect();
            (files, hidden)
        };
        for pending in files {
            // A file whose state is locked is in use.
            let path = pending.try_lock().and_then(|state| {
                let abandoned = state.name.is_some() && old(state.touched) && ended(state.process);
                abandoned.then(|| state.path.clone())
            });
            if let Some(path) = path {
                log::info!("dropped {path}: the process that wrote it has ended");
                self.remove(&pending);
            }
        }
        for (id, directory) in hidden {
            if old(directory.since) && ended(directory.process) {
                // A directory that is not empty stays.
                let _not_empty = self.remove_directory(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PendingName {
        (PendingParent::Node(Node::Root), text.into())
    }

    fn await_rename(
        pending_files: &PendingFiles,
        registry: &Registry,
        text: &str,
    ) -> Result<u64, TreeError> {
        let intent = WriteIntent::AwaitRename;
        let pending = pending_files.create(registry, name(text), intent, Writer::default(), 1)?;
        Ok(pending.id())
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let (registry, _) = Registry::in_memory();
        let pending_files = PendingFiles::default();
        for number in 0..NAMES_MAX {
            await_rename(&pending_files, &registry, &format!(".{number}")).unwrap();
        }
        let refused = await_rename(&pending_files, &registry, ".more");
        assert!(matches!(refused, Err(TreeError::NoRoom(_))));
        let hidden = pending_files.make_directory(&registry, name(".directory"), Writer::default());
        assert!(matches!(hidden, Err(TreeError::NoRoom(_))));
        let first = pending_files.lookup_in(&Node::Root, ".0".as_ref());
        let Some(PendingEntry::File(first)) = first else {
            panic!("it is found");
        };
        pending_files.remove(&first);
        await_rename(&pending_files, &registry, ".more").unwrap();
        pending_files.remove_below(&Node::Root);
        assert_eq!(
            (
                pending_files.count(),
                pending_files.table.lock().name_count()
            ),
            (0, 0)
        );
    }

    #[test]
    fn only_abandoned_files_of_ended_processes_are_dropped() {
        const DEAD: u32 = 7;
        let (registry, _) = Registry::in_memory();
        let pending_files = PendingFiles::default();
        let began = Instant::now();
        for (text, process) in [
            (".dead", Some(DEAD)),
            (".alive", Some(8)),
            (".unknown", None),
        ] {
            let id = await_rename(&pending_files, &registry, text).unwrap();
            pending_files.get(id).unwrap().lock().process = process;
        }
        let ended = |process| process == DEAD;
        pending_files.drop_abandoned(began + ABANDONED / 2, ended);
        assert_eq!(pending_files.count(), 3, "within the hour");
        pending_files.drop_abandoned(Instant::now() + ABANDONED, ended);
        assert_eq!(pending_files.count(), 2);
        assert!(
            pending_files
                .lookup_in(&Node::Root, ".dead".as_ref())
                .is_none()
        );
    }

    #[test]
    fn a_file_is_dropped_when_another_takes_its_name() {
        let (registry, _) = Registry::in_memory();
        let pending_files = PendingFiles::default();
        for _ in 0..9 {
            await_rename(&pending_files, &registry, ".old").unwrap();
            let new = await_rename(&pending_files, &registry, ".new").unwrap();
            pending_files
                .rename(&pending_files.get(new).unwrap(), name(".old"))
                .unwrap();
        }
        assert_eq!(
            (
                pending_files.count(),
                pending_files.table.lock().name_count()
            ),
            (1, 1)
        );
    }

    #[test]
    fn the_content_of_a_hidden_directory_is_removed_with_its_parent() {
        let (registry, _) = Registry::in_memory();
        let pending_files = PendingFiles::default();
        let make = |name| pending_files.make_directory(&registry, name, Writer::default());
        let outer = make(name(".outer")).unwrap();
        let inner = make((PendingParent::Hidden(outer), "inner".into())).unwrap();
        let file = (PendingParent::Hidden(inner), "file".into());
        let intent = WriteIntent::AwaitRename;
        let pending = pending_files.create(&registry, file, intent, Writer::default(), 1);
        assert_eq!(pending_files.list(inner, None, 9).len(), 1);
        assert!(matches!(
            pending_files.remove_directory(outer),
            Err(TreeError::NotEmpty)
        ));
        drop(pending);
        pending_files.remove_below(&Node::Root);
        assert_eq!(
            (pending_files.count(), pending_files.hidden_created(inner)),
            (0, None)
        );
        assert_eq!(pending_files.table.lock().name_count(), 0);
    }
}
