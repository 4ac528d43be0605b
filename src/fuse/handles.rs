//! Handles: which files are open, for whom, and how many. What is done with them is not here.

use std::sync::Arc;

use fuser::Errno;
use hashbrown::HashMap;
use parking_lot::RwLock;
use rustix::process::{Resource, getrlimit};

use crate::tree::{Caching, Direct, Handle};

/// Files that are open, by their handles' numbers.
#[derive(Debug, Default)]
pub(super) struct Files {
    table: RwLock<Table>,
}

/// Files open at once, at most: of all users, and of one that is neither root nor the owner, so
/// that nobody keeps others from what is there.
pub(super) const OPEN_MAX: usize = 1 << 18;
const OPEN_MAX_EACH: usize = OPEN_MAX / 8;

/// The latter, and no more than half of what the system lets us have open: many are files here.
pub(super) fn most_each() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let half = limit.and_then(|limit| usize::try_from(limit / 2).ok());
    half.map_or(OPEN_MAX_EACH, |half| half.min(OPEN_MAX_EACH))
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, File>,
    /// How many are of each user.
    of: HashMap<u32, usize>,
    /// Handles of an inode, the newest last.
    on: HashMap<u64, Vec<u64>>,
    next: u64,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct File {
    pub(super) ino: u64,
    pub(super) uid: u32,
    pub(super) handle: Arc<Handle>,
    /// What the kernel reads and writes by itself.
    pub(super) direct: Option<Direct>,
    /// Whether the kernel caches what comes through us, and may.
    pub(super) cached: bool,
    pub(super) caching: Caching,
}

impl Files {
    pub(super) fn insert(&self, file: File) -> u64 {
        let mut table = self.table.write();
        table.next += 1;
        let number = table.next;
        table.on.entry(file.ino).or_default().push(number);
        *table.of.entry(file.uid).or_default() += 1;
        table.open.insert(number, file);
        number
    }

    /// Refuses another open file of a user who has too many, or where all have.
    pub(super) fn admit(&self, uid: u32, most: usize) -> Result<(), Errno> {
        let table = self.table.read();
        if table.open.len() >= OPEN_MAX {
            return Err(Errno::ENFILE);
        }
        if table.of.get(&uid).is_some_and(|count| *count >= most) {
            return Err(Errno::EMFILE);
        }
        Ok(())
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<Handle>> {
        Some(Arc::clone(&self.table.read().open.get(&number)?.handle))
    }

    pub(super) fn remove(&self, number: u64) -> Option<File> {
        let mut table = self.table.write();
        let file = table.open.remove(&number)?;
        if let Some(count) = table.of.get_mut(&file.uid) {
            *count -= 1;
            if *count == 0 {
                table.of.remove(&file.uid);
            }
        }
        if let Some(numbers) = table.on.get_mut(&file.ino) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                table.on.remove(&file.ino);
            }
        }
        Some(file)
    }

    /// Puts others in the place of open files.
    pub(super) fn replace(&self, other: impl Fn(&Handle) -> Option<Arc<Handle>>) {
        for file in self.table.write().open.values_mut() {
            if let Some(handle) = other(&file.handle) {
                file.handle = handle;
            }
        }
    }

    /// The files that are open on an inode, the newest last.
    pub(super) fn open_on(&self, ino: u64) -> Vec<Arc<Handle>> {
        let table = self.table.read();
        let numbers = table.on.get(&ino).into_iter().flatten();
        numbers
            .filter_map(|number| Some(Arc::clone(&table.open.get(number)?.handle)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_too_many_files_open_keeps_nobody_else_from_theirs() {
        let files = Files::default();
        files.table.write().of.insert(7, 100);
        assert_eq!(files.admit(7, 101), Ok(()));
        assert_eq!(files.admit(7, 100), Err(Errno::EMFILE));
        assert_eq!(files.admit(8, 100), Ok(()));
        assert!(most_each() > 100);
    }
}
