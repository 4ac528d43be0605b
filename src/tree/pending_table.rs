//! The table of pending files and hidden directories, by id and by name. It has no lock.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::pending_file::PendingFile;
use super::pending_name::{PendingName, PendingParent};
use super::place::Place;
use super::relocation::Relocation;

/// What a name refers to.
#[derive(Clone, Debug)]
pub(super) enum PendingEntry {
    /// A pending file.
    File(Arc<PendingFile>),
    /// A hidden directory, by its id.
    Directory(u64),
}

impl PendingEntry {
    /// Returns the place of the entry.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::File(pending) => Place::Pending(pending.id()),
            Self::Directory(id) => Place::Hidden(*id),
        }
    }
}

/// The id of an entry, and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingId {
    File(u64),
    Directory(u64),
}

/// A hidden directory.
#[derive(Clone, Debug)]
pub(super) struct HiddenDirectory {
    /// The time that stat(2) shows.
    pub(super) created: SystemTime,
    /// The same time on the monotonic clock, to compute the age.
    pub(super) since: Instant,
    /// The process that created it, if it was looked up.
    pub(super) process: Option<u32>,
    pub(super) name: PendingName,
}

/// Pending files and hidden directories.
#[derive(Debug, Default)]
pub(super) struct PendingTable {
    last_id: u64,
    pub(super) files: HashMap<u64, Arc<PendingFile>>,
    pub(super) hidden: HashMap<u64, HiddenDirectory>,
    names: HashMap<PendingParent, BTreeMap<OsString, PendingId>>,
    name_count: usize,
    /// When abandoned files were last searched for.
    pub(super) last_search: Option<Instant>,
}

impl PendingTable {
    /// Returns an id that no entry has had.
    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Returns the number of names.
    pub(super) fn name_count(&self) -> usize {
        self.name_count
    }

    /// Returns `true` if a directory has any names.
    pub(super) fn has_names(&self, parent: &PendingParent) -> bool {
        self.names.contains_key(parent)
    }

    /// Returns the id that a name refers to.
    pub(super) fn id(&self, (parent, name): &PendingName) -> Option<PendingId> {
        self.names.get(parent)?.get(name).copied()
    }

    /// Returns the entry that a name refers to.
    pub(super) fn lookup(&self, parent: &PendingParent, name: &OsStr) -> Option<PendingEntry> {
        self.entry(*self.names.get(parent)?.get(name)?)
    }

    fn entry(&self, id: PendingId) -> Option<PendingEntry> {
        match id {
            PendingId::File(id) => self.files.get(&id).cloned().map(PendingEntry::File),
            PendingId::Directory(id) => Some(PendingEntry::Directory(id)),
        }
    }

    /// Returns at most `limit` entries of a directory whose names are greater than `last`, sorted
    /// by name.
    pub(super) fn list(
        &self,
        parent: &PendingParent,
        last: Option<&OsStr>,
        limit: usize,
    ) -> Vec<(OsString, PendingEntry)> {
        let Some(names) = self.names.get(parent) else {
            return Vec::new();
        };
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = names.range::<OsStr, _>((from, Bound::Unbounded));
        let rows = behind.filter_map(|(name, id)| Some((name.clone(), self.entry(*id)?)));
        rows.take(limit).collect()
    }

    /// Lets a name refer to an id. A pending file that the name referred to before is dropped.
    pub(super) fn link(&mut self, (parent, name): PendingName, id: PendingId) {
        match self.names.entry(parent).or_default().insert(name, id) {
            None => self.name_count += 1,
            Some(PendingId::File(old)) if id != PendingId::File(old) => {
                self.files.remove(&old);
            }
            Some(_) => {}
        }
    }

    /// Removes a name if it refers to this id.
    pub(super) fn unlink(&mut self, (parent, name): &PendingName, id: PendingId) {
        if let Some(names) = self.names.get_mut(parent)
            && names.get(name) == Some(&id)
        {
            names.remove(name);
            self.name_count -= 1;
            if names.is_empty() {
                self.names.remove(parent);
            }
        }
    }

    /// Removes all names in a directory, with their entries and everything below these.
    pub(super) fn remove_below(&mut self, parent: &PendingParent) {
        let names = self.names.remove(parent).unwrap_or_default();
        self.name_count -= names.len();
        for id in names.into_values() {
            match id {
                PendingId::File(id) => {
                    self.files.remove(&id);
                }
                PendingId::Directory(id) => {
                    self.hidden.remove(&id);
                    self.remove_below(&PendingParent::Hidden(id));
                }
            }
        }
    }

    /// Applies a rename of a namespace to all names.
    pub(super) fn follow(&mut self, relocation: &Relocation) {
        let names = std::mem::take(&mut self.names).into_iter();
        self.names = names
            .map(|(mut parent, rows)| {
                parent.follow(relocation);
                (parent, rows)
            })
            .collect();
        for hidden in self.hidden.values_mut() {
            hidden.name.0.follow(relocation);
        }
    }
}
