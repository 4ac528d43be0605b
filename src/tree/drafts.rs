//! The drafts there are, by number and by name; and hidden directories, in which programs let files
//! wait (`.~tmp~` and `.rsync-partial` of rsync).
//!
//! What waits outlives the files open on it, so that there is a bound: on how many names wait, and
//! on the staged bytes that nobody has open. At the bound only what surely nobody comes back for
//! is dropped: its writer has ended, and for an hour nothing was done to it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::content::{Budget, Content};
use super::draft::{Draft, State};
use super::relocate::Relocation;
use super::target::Target;
use super::{TreeError, Writer, process};
use crate::layout::Node;
use crate::registry::Registry;

mod name;

pub(super) use name::{Name, Named, Parent};

/// Names that wait at once, at most.
const WAITING_MAX: usize = 1 << 16;
/// From how many on it is asked which process each is of: that takes a look into `/proc`.
const WATCHED: usize = 1 << 10;
/// Staged bytes without an open file, up to which nobody looks how much room there is.
const PARKED_MIN: u64 = 256 << 20;
/// How long nobody must have done anything to a file of a process that has ended.
const ABANDONED: Duration = Duration::from_hours(1);
/// How often abandoned files are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// The drafts there are.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    table: Mutex<Table>,
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    drafts: HashMap<u64, Arc<Draft>>,
    hidden: HashMap<u64, Hidden>,
    names: HashMap<Parent, BTreeMap<OsString, Row>>,
    /// Names in all.
    waiting: usize,
    /// When abandoned files were last looked for.
    looked: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    File(u64),
    Directory(u64),
}

#[derive(Clone, Debug)]
struct Hidden {
    created: SystemTime,
    made: Instant,
    process: Option<u32>,
    name: Name,
}

impl Table {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn row(&self, (parent, name): &Name) -> Option<Row> {
        self.names.get(parent)?.get(name).copied()
    }

    /// Gives a name to a row; what had it has none any more.
    fn give(&mut self, (parent, name): Name, row: Row) {
        match self.names.entry(parent).or_default().insert(name, row) {
            None => self.waiting += 1,
            Some(Row::File(old)) if row != Row::File(old) => {
                self.drafts.remove(&old);
            }
            Some(_) => {}
        }
    }

    /// Takes a name from a row, if it has it.
    fn take(&mut self, (parent, name): &Name, row: Row) {
        if let Some(names) = self.names.get_mut(parent)
            && names.get(name) == Some(&row)
        {
            names.remove(name);
            self.waiting -= 1;
            if names.is_empty() {
                self.names.remove(parent);
            }
        }
    }

    /// Forgets everything in a directory, and what is below that.
    fn remove_below(&mut self, parent: &Parent) {
        let rows = self.names.remove(parent).unwrap_or_default();
        self.waiting -= rows.len();
        for row in rows.into_values() {
            match row {
                Row::File(id) => {
                    self.drafts.remove(&id);
                }
                Row::Directory(id) => {
                    self.hidden.remove(&id);
                    self.remove_below(&Parent::Hidden(id));
                }
            }
        }
    }
}

impl Drafts {
    /// A new file, of which so many versions count as written. One that waits for its rename is
    /// found by its name; any other will be facts, and is not seen by others until it is.
    pub(super) fn create(
        &self,
        registry: &Registry,
        name: Name,
        (target, grows): (Target, bool),
        writer: Writer,
        version: u64,
    ) -> Result<Arc<Draft>, TreeError> {
        let content = Content::new(Vec::new(), &self.budget);
        let waits = target == Target::Later;
        let mut state = State {
            version,
            path: name.0.shown(&name.1),
            stood: Some(name.clone()),
            ..State::new(target, content, grows, writer)
        };
        if waits {
            if self.require_room(registry)? {
                state.watch();
            }
            state.name = Some(name);
        }
        Ok(self.add(state))
    }

    /// New content for a file of the layout, which is what it was until something is written.
    pub(super) fn rewrite(&self, node: &Node, content: Vec<u8>, writer: Writer) -> Arc<Draft> {
        let content = Content::new(content, &self.budget);
        let grows = matches!(node, Node::BlobData(_));
        self.add(State {
            path: node.to_string(),
            ..State::new(Target::File(node.clone()), content, grows, writer)
        })
    }

    /// A new hidden directory.
    pub(super) fn make_directory(
        &self,
        registry: &Registry,
        name: Name,
        writer: Writer,
    ) -> Result<u64, TreeError> {
        let watched = self.require_room(registry)?;
        let process = watched.then(|| process::of(writer.pid)).flatten();
        let mut table = self.table.lock();
        if table.row(&name).is_some() {
            return Err(TreeError::Exists);
        }
        let id = table.number();
        let hidden = Hidden {
            created: SystemTime::now(),
            made: Instant::now(),
            process,
            name: name.clone(),
        };
        table.hidden.insert(id, hidden);
        table.give(name, Row::Directory(id));
        Ok(id)
    }

    fn add(&self, state: State) -> Arc<Draft> {
        let mut table = self.table.lock();
        let (id, name) = (table.number(), state.name.clone());
        let draft = Draft::new(id, state, &self.budget);
        table.drafts.insert(id, Arc::clone(&draft));
        if let Some(name) = name {
            table.give(name, Row::File(id));
        }
        draft
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<Draft>> {
        self.table.lock().drafts.get(&id).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.table.lock().drafts.len()
    }

    /// When a hidden directory was made, if it is there.
    pub(super) fn made(&self, id: u64) -> Option<SystemTime> {
        let table = self.table.lock();
        table.hidden.get(&id).map(|hidden| hidden.created)
    }

    /// The directory of the layout that a directory is, or is hidden in.
    pub(super) fn home(&self, parent: &Parent) -> Option<Node> {
        let table = self.table.lock();
        let mut parent = parent;
        loop {
            match parent {
                Parent::Node(node) => return Some(node.clone()),
                Parent::Hidden(id) => parent = &table.hidden.get(id)?.name.0,
            }
        }
    }

    /// What a name leads to.
    pub(super) fn named(&self, parent: &Parent, name: &OsStr) -> Option<Named> {
        let table = self.table.lock();
        match *table.names.get(parent)?.get(name)? {
            Row::File(id) => table.drafts.get(&id).cloned().map(Named::File),
            Row::Directory(id) => Some(Named::Directory(id)),
        }
    }

    /// The same in a directory of the layout, in which hardly ever anything waits.
    pub(super) fn named_in(&self, parent: &Node, name: &OsStr) -> Option<Named> {
        if self.table.lock().waiting == 0 {
            return None;
        }
        self.named(&Parent::Node(parent.clone()), name)
    }

    /// At most `limit` names of a hidden directory behind `last`.
    pub(super) fn list(
        &self,
        directory: u64,
        last: Option<&OsStr>,
        limit: usize,
    ) -> Vec<(OsString, Named)> {
        let table = self.table.lock();
        let Some(names) = table.names.get(&Parent::Hidden(directory)) else {
            return Vec::new();
        };
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = names.range::<OsStr, _>((from, Bound::Unbounded));
        let rows = behind.filter_map(|(name, row)| {
            let found = match *row {
                Row::File(id) => Named::File(table.drafts.get(&id)?.clone()),
                Row::Directory(id) => Named::Directory(id),
            };
            Some((name.clone(), found))
        });
        rows.take(limit).collect()
    }

    /// Takes a draft's name away; it stays for who has it open.
    pub(super) fn unname(&self, draft: &Draft) {
        let name = draft.hold().name.take();
        if let Some(name) = name {
            self.table.lock().take(&name, Row::File(draft.id()));
        }
    }

    /// Gives a draft another name, under which it waits on.
    pub(super) fn rename(&self, draft: &Draft, name: Name) -> Result<(), TreeError> {
        if matches!(self.table.lock().row(&name), Some(Row::Directory(_))) {
            return Err(TreeError::IsDirectory);
        }
        self.unname(draft);
        let mut state = draft.hold();
        state.target = Target::Later;
        state.path = name.0.shown(&name.1);
        state.name = Some(name.clone());
        self.table.lock().give(name, Row::File(draft.id()));
        Ok(())
    }

    /// Forgets a draft.
    pub(super) fn remove(&self, draft: &Draft) {
        self.unname(draft);
        self.table.lock().drafts.remove(&draft.id());
    }

    /// Removes a hidden directory that is empty.
    pub(super) fn remove_directory(&self, id: u64) -> Result<(), TreeError> {
        let mut table = self.table.lock();
        if table.names.contains_key(&Parent::Hidden(id)) {
            return Err(TreeError::NotEmpty);
        }
        let hidden = table.hidden.remove(&id).ok_or(TreeError::NotFound)?;
        table.take(&hidden.name, Row::Directory(id));
        Ok(())
    }

    /// Forgets what waits in a directory that is removed.
    pub(super) fn remove_below(&self, parent: &Node) {
        let mut table = self.table.lock();
        table.remove_below(&Parent::Node(parent.clone()));
    }

    /// What waits or is written below what has moved goes with it.
    pub(super) fn follow(&self, relocation: &Relocation) {
        let drafts: Vec<_> = {
            let mut table = self.table.lock();
            let names = std::mem::take(&mut table.names).into_iter();
            table.names = names
                .map(|(mut parent, rows)| {
                    parent.follow(relocation);
                    (parent, rows)
                })
                .collect();
            for hidden in table.hidden.values_mut() {
                hidden.name.0.follow(relocation);
            }
            table.drafts.values().cloned().collect()
        };
        for draft in drafts {
            draft.follow(relocation);
        }
    }

    /// Refuses another name that waits where there is no room for more. Whether there are so many
    /// that it should be known whose each is.
    fn require_room(&self, registry: &Registry) -> Result<bool, TreeError> {
        let room = || -> Result<bool, TreeError> {
            // What only waits takes at most as much as it leaves.
            let parked = self.budget.parked();
            let fits = parked <= PARKED_MIN || parked <= registry.room().space()?.available;
            Ok(fits && self.table.lock().waiting < WAITING_MAX)
        };
        if !room()? {
            self.drop_abandoned(Instant::now(), process::has_ended);
            if !room()? {
                return Err(TreeError::NoRoom(
                    "too many temporary files wait for their names: finish or remove them",
                ));
            }
        }
        Ok(self.table.lock().waiting >= WATCHED)
    }

    /// Drops what surely nobody comes back for.
    fn drop_abandoned(&self, now: Instant, has_ended: impl Fn(u32) -> bool) {
        let old = |since: Instant| now.saturating_duration_since(since) >= ABANDONED;
        let gone = |process: Option<u32>| process.is_some_and(&has_ended);
        let (drafts, hidden) = {
            let mut table = self.table.lock();
            let looked = table.looked.replace(now);
            if looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK) {
                return;
            }
            let drafts: Vec<_> = table.drafts.values().cloned().collect();
            let hidden: Vec<_> = table
                .hidden
                .iter()
                .map(|(id, one)| (*id, one.clone()))
                .collect();
            (drafts, hidden)
        };
        for draft in drafts {
            // Whoever holds it is at work.
            let path = draft.try_hold().and_then(|state| {
                let abandoned = state.name.is_some() && old(state.touched) && gone(state.process);
                abandoned.then(|| state.path.clone())
            });
            if let Some(path) = path {
                log::info!("dropped {path}: its writer has ended");
                self.remove(&draft);
            }
        }
        for (id, directory) in hidden {
            if old(directory.made) && gone(directory.process) {
                // One that is not empty stays.
                let _kept = self.remove_directory(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        (Parent::Node(Node::Root), text.into())
    }

    fn waiting(drafts: &Drafts, registry: &Registry, text: &str) -> Result<u64, TreeError> {
        let later = (Target::Later, true);
        let draft = drafts.create(registry, name(text), later, Writer::default(), 1)?;
        Ok(draft.id())
    }

    #[test]
    fn so_many_wait_and_no_more_until_one_goes() {
        let (registry, _) = Registry::in_memory();
        let drafts = Drafts::default();
        for number in 0..WAITING_MAX {
            waiting(&drafts, &registry, &format!(".{number}")).unwrap();
        }
        let refused = waiting(&drafts, &registry, ".more");
        assert!(matches!(refused, Err(TreeError::NoRoom(_))));
        let hidden = drafts.make_directory(&registry, name(".directory"), Writer::default());
        assert!(matches!(hidden, Err(TreeError::NoRoom(_))));
        let first = drafts.named_in(&Node::Root, ".0".as_ref());
        let Some(Named::File(first)) = first else {
            panic!("it waits");
        };
        drafts.remove(&first);
        waiting(&drafts, &registry, ".more").unwrap();
        drafts.remove_below(&Node::Root);
        assert_eq!((drafts.count(), drafts.table.lock().waiting), (0, 0));
    }

    #[test]
    fn only_what_nobody_can_come_back_for_is_dropped() {
        const DEAD: u32 = 7;
        let (registry, _) = Registry::in_memory();
        let drafts = Drafts::default();
        let began = Instant::now();
        for (text, process) in [
            (".dead", Some(DEAD)),
            (".alive", Some(8)),
            (".unknown", None),
        ] {
            let id = waiting(&drafts, &registry, text).unwrap();
            drafts.get(id).unwrap().hold().process = process;
        }
        let ended = |process| process == DEAD;
        drafts.drop_abandoned(began + ABANDONED / 2, ended);
        assert_eq!(drafts.count(), 3, "within the hour");
        drafts.drop_abandoned(Instant::now() + ABANDONED, ended);
        assert_eq!(drafts.count(), 2);
        assert!(drafts.named_in(&Node::Root, ".dead".as_ref()).is_none());
    }

    #[test]
    fn a_file_whose_name_another_has_got_is_not_kept() {
        let (registry, _) = Registry::in_memory();
        let drafts = Drafts::default();
        for _ in 0..9 {
            waiting(&drafts, &registry, ".old").unwrap();
            let new = waiting(&drafts, &registry, ".new").unwrap();
            drafts
                .rename(&drafts.get(new).unwrap(), name(".old"))
                .unwrap();
        }
        assert_eq!((drafts.count(), drafts.table.lock().waiting), (1, 1));
    }

    #[test]
    fn what_is_in_a_hidden_directory_goes_with_what_holds_that() {
        let (registry, _) = Registry::in_memory();
        let drafts = Drafts::default();
        let make = |name| drafts.make_directory(&registry, name, Writer::default());
        let outer = make(name(".outer")).unwrap();
        let inner = make((Parent::Hidden(outer), "inner".into())).unwrap();
        let file = (Parent::Hidden(inner), "file".into());
        let later = (Target::Later, true);
        let draft = drafts.create(&registry, file, later, Writer::default(), 1);
        assert_eq!(drafts.list(inner, None, 9).len(), 1);
        assert!(matches!(
            drafts.remove_directory(outer),
            Err(TreeError::NotEmpty)
        ));
        drop(draft);
        drafts.remove_below(&Node::Root);
        assert_eq!((drafts.count(), drafts.made(inner)), (0, None));
        assert_eq!(drafts.table.lock().waiting, 0);
    }
}
