//! Handles: the table of open files, by handle number, by inode and by user. It does nothing with
//! the files.

use std::sync::Arc;

use fuser::Errno;
use hashbrown::HashMap;
use parking_lot::RwLock;
use rustix::process::{Resource, getrlimit};

use crate::tree::{Caching, Handle, PassthroughFile};

/// The open files.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    table: RwLock<HandleTable>,
}

/// Limits of files open at once: of all users, and of one user who is neither root nor the owner,
/// so that no user can keep others from opening files.
pub(super) const OPEN_MAX: usize = 1 << 18;
const OPEN_MAX_EACH: usize = OPEN_MAX / 8;

/// Returns the limit of one user, which is at most half of the files that the daemon may have open:
/// many handles hold one.
pub(super) fn most_each() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let half = limit.and_then(|limit| usize::try_from(limit / 2).ok());
    half.map_or(OPEN_MAX_EACH, |half| half.min(OPEN_MAX_EACH))
}

#[derive(Debug, Default)]
struct HandleTable {
    open: HashMap<u64, OpenFile>,
    /// The number of files of each user.
    of: HashMap<u32, usize>,
    /// The handles of each inode, the newest last.
    on: HashMap<u64, Vec<u64>>,
    next: u64,
}

/// An open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) ino: u64,
    pub(super) uid: u32,
    pub(super) handle: Arc<Handle>,
    /// The backing file, which must stay as it is while the kernel reads and writes it.
    pub(super) direct: Option<PassthroughFile>,
    /// The kernel caches the content.
    pub(super) cached: bool,
    /// What the kernel may cache.
    pub(super) caching: Caching,
}

impl OpenFiles {
    /// Adds a file and returns its handle number.
    pub(super) fn insert(&self, file: OpenFile) -> u64 {
        let mut table = self.table.write();
        table.next += 1;
        let number = table.next;
        table.on.entry(file.ino).or_default().push(number);
        *table.of.entry(file.uid).or_default() += 1;
        table.open.insert(number, file);
        number
    }

    /// Checks the limits before a file is opened.
    ///
    /// # Errors
    /// `EMFILE` if the user has `most` files open, `ENFILE` if all users together have too many.
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

    /// Returns the file of a handle number.
    pub(super) fn get(&self, number: u64) -> Option<Arc<Handle>> {
        Some(Arc::clone(&self.table.read().open.get(&number)?.handle))
    }

    /// Removes and returns the file of a handle number.
    pub(super) fn remove(&self, number: u64) -> Option<OpenFile> {
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

    /// Replaces the files for which `other` returns another one.
    pub(super) fn replace(&self, other: impl Fn(&Handle) -> Option<Arc<Handle>>) {
        for file in self.table.write().open.values_mut() {
            if let Some(handle) = other(&file.handle) {
                file.handle = handle;
            }
        }
    }

    /// Returns the files that are open on an inode, the newest last.
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
    fn the_limit_of_one_user_does_not_affect_others() {
        let files = OpenFiles::default();
        files.table.write().of.insert(7, 100);
        assert_eq!(files.admit(7, 101), Ok(()));
        assert_eq!(files.admit(7, 100), Err(Errno::EMFILE));
        assert_eq!(files.admit(8, 100), Ok(()));
        assert!(most_each() > 100);
    }
}
