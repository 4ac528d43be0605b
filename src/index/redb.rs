//! The store in a redb file: two-phase durable commits, and reopening after a failure.
//!
//! A commit is visible at once and durable with the next sync. Durable commits are two-phase, so
//! that no torn page is ever trusted, and use quick repair, so that opening after a crash takes
//! milliseconds. A failed commit or sync closes the store to changes until it has
//! [recovered](Redb::recover). Commits since the last sync are lost then, which is why a journal
//! stands in front.
//!
//! Only this file and those below it know redb.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table};

use self::database::{TABLE, durable, engine};
use self::guard::{closing, guarded};
use self::open::{WriteTarget, open};
use self::view::View;
use super::read_cache::ReadCache;
use super::store::{Batch, CommitOutcome, Pair, Precondition, Store, StoreError, WriteOp};
use crate::dir::Dir;

mod copy_on_write;
mod database;
mod file;
mod guard;
mod open;
mod view;

/// How long a recovery waits for readers of the failed database.
const READERS_DONE: Duration = Duration::from_secs(5);

/// A store in one file.
pub struct Redb {
    /// The directory, the file name in it, and the path for messages.
    dir: Dir,
    name: PathBuf,
    path: PathBuf,
    target: WriteTarget,
    /// `None` while it is reopened.
    database: RwLock<Option<Database>>,
    /// The newest committed state, shared by readers until the next commit.
    view: RwLock<Option<Arc<View>>>,
    /// Held during a change.
    changes: Mutex<Changes>,
}

/// The progress of changes.
#[derive(Debug, Default)]
struct Changes {
    /// `true` if a commit is visible and not durable.
    volatile: bool,
    /// Why no more changes are accepted.
    failed: Option<String>,
}

impl std::fmt::Debug for Redb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redb")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Redb {
    /// Opens the store in the file `name` of a directory, or creates it.
    ///
    /// # Errors
    /// [`StoreError::Format`] if a newer program wrote it, [`StoreError::Engine`] if it is damaged,
    /// [`StoreError::System`] if the system returned an error.
    pub fn open(dir: &Dir, name: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::of(dir, name.as_ref(), WriteTarget::File)
    }

    /// Opens the store in a file that must exist and is not modified: commits are kept in memory
    /// and dropped with the store.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_copy_on_write(dir: &Dir, name: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::of(dir, name.as_ref(), WriteTarget::Memory)
    }

    /// Reads every page of a file and verifies its checksum. No process may have the file open; it
    /// is not modified.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if a page is damaged.
    pub fn check(dir: &Dir, name: impl AsRef<Path>) -> Result<(), StoreError> {
        open::check(dir, name.as_ref())
    }

    fn of(dir: &Dir, name: &Path, target: WriteTarget) -> Result<Self, StoreError> {
        let database = open(dir, name, target)?;
        Ok(Self {
            dir: dir.clone(),
            name: name.to_owned(),
            path: dir.shown(name),
            target,
            database: RwLock::new(Some(database)),
            view: RwLock::default(),
            changes: Mutex::default(),
        })
    }

    /// The newest committed state.
    fn view(&self) -> Result<Arc<View>, StoreError> {
        if let Some(view) = self.view.read().as_ref() {
            return Ok(Arc::clone(view));
        }
        let mut slot = self.view.write();
        if let Some(view) = slot.as_ref() {
            return Ok(Arc::clone(view));
        }
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| self.closed())?;
        let read = || -> Result<_, redb::Error> { Ok(database.begin_read()?.open_table(TABLE)?) };
        let view = View {
            table: guarded(read).map_err(|error| self.engine(&error))?,
            cache: ReadCache::default(),
        };
        Ok(Arc::clone(slot.insert(Arc::new(view))))
    }

    fn engine(&self, error: &impl ToString) -> StoreError {
        engine(&self.path, error)
    }

    fn closed(&self) -> StoreError {
        self.engine(&"it is being opened again after a failure")
    }

    /// Runs a change; a failure closes the store to others.
    fn change<T>(
        &self,
        changes: &mut Changes,
        change: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        if let Some(reason) = &changes.failed {
            return Err(StoreError::Poisoned(reason.clone()));
        }
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| self.closed())?;
        guarded(|| change(database)).map_err(|error| {
            changes.failed = Some(error.to_string());
            match error {
                redb::Error::Io(error) => StoreError::System(Arc::new(error)),
                error => self.engine(&error),
            }
        })
    }

    fn make_durable(&self, changes: &mut Changes) -> Result<(), StoreError> {
        if !changes.volatile && changes.failed.is_none() {
            return Ok(());
        }
        self.change(changes, |database| Ok(durable(database)?.commit()?))?;
        changes.volatile = false;
        Ok(())
    }
}

impl Store for Redb {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.view()?.get(key);
        found.map_err(|error| self.engine(&error))
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let found = self.view()?.scan(range, limit);
        found.map_err(|error| self.engine(&error))
    }

    fn commit(&self, batch: Batch) -> Result<CommitOutcome, StoreError> {
        batch.check()?;
        let mut changes = self.changes.lock();
        let outcome = self.change(&mut changes, |database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::None)?;
            let outcome = apply(&mut transaction.open_table(TABLE)?, &batch)?;
            if outcome == CommitOutcome::Committed {
                transaction.commit()?;
            }
            Ok(outcome)
        })?;
        if outcome == CommitOutcome::Committed {
            changes.volatile = true;
            *self.view.write() = None;
        }
        Ok(outcome)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.make_durable(&mut self.changes.lock())
    }

    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(RedbSnapshot {
            path: self.path.clone(),
            view: self.view()?,
        }))
    }

    fn recover(&self) -> Result<(), StoreError> {
        let mut changes = self.changes.lock();
        if changes.failed.is_none() {
            return Ok(());
        }
        // Held, so that readers wait.
        let (mut view, mut slot) = (self.view.write(), self.database.write());
        (*view, *slot) = (None, None);
        let until = Instant::now() + READERS_DONE;
        let mut opened = open(&self.dir, &self.name, self.target);
        // Earlier readers still have the file open.
        while matches!(opened, Err(StoreError::Engine { .. })) && Instant::now() < until {
            std::thread::yield_now();
            opened = open(&self.dir, &self.name, self.target);
        }
        *slot = Some(opened?);
        *changes = Changes::default();
        Ok(())
    }
}

/// A read transaction on the table, as a store of its own.
struct RedbSnapshot {
    path: PathBuf,
    view: Arc<View>,
}

impl Store for RedbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.view.get(key);
        found.map_err(|error| engine(&self.path, &error))
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let found = self.view.scan(range, limit);
        found.map_err(|error| engine(&self.path, &error))
    }

    fn commit(&self, _batch: Batch) -> Result<CommitOutcome, StoreError> {
        Err(StoreError::Snapshot)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Self {
            path: self.path.clone(),
            view: Arc::clone(&self.view),
        }))
    }
}

/// Applies a batch if its preconditions hold.
fn apply(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    batch: &Batch,
) -> Result<CommitOutcome, redb::Error> {
    for precondition in &batch.preconditions {
        let (holds, key) = match precondition {
            Precondition::Absent(key) => (table.get(key.as_slice())?.is_none(), key),
            Precondition::Equals(key, value) => {
                let found = table.get(key.as_slice())?;
                let equal = found.is_some_and(|found| found.value() == value.as_slice());
                (equal, key)
            }
            Precondition::Empty(range) => {
                let mut pairs = table.range(range.start.as_slice()..range.end.as_slice())?;
                (pairs.next().is_none(), &range.start)
            }
        };
        if !holds {
            return Ok(CommitOutcome::Conflict(key.clone()));
        }
    }
    for change in &batch.changes {
        match change {
            WriteOp::Put(key, value) => {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            WriteOp::Delete(key) => {
                table.remove(key.as_slice())?;
            }
        }
    }
    Ok(CommitOutcome::Committed)
}

impl Drop for Redb {
    /// Makes everything visible durable. The engine writes once more when it is closed.
    fn drop(&mut self) {
        if self.target == WriteTarget::Memory {
            // Closing makes the engine write, and abort the process if a page that it reads then is
            // damaged. Nothing needs closing: memory is freed with the process.
            std::mem::forget(self.database.get_mut().take());
            return;
        }
        let durable = self.make_durable(&mut self.changes.lock());
        *self.view.get_mut() = None;
        let database = self.database.get_mut().take();
        let closed = closing(&self.path, || {
            drop(database);
            Ok::<_, redb::Error>(())
        });
        let closed = closed.map_err(|error| self.engine(&error));
        for error in [durable, closed].into_iter().filter_map(Result::err) {
            log::error!("{error}");
        }
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod power_cuts;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::open::FORMAT_KEY;
    use super::*;
    use crate::index::store::WriteOp;
    use crate::index::store::contract::{change, put};

    #[test]
    fn readers_wait_during_a_recovery() {
        let directory = tempfile::tempdir().unwrap();
        let store = Redb::open(&Dir::open(directory.path()).unwrap(), "index.redb").unwrap();
        change(&store, vec![put(b"a", b"1")]);
        store.sync().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(store.get(b"a").unwrap().unwrap(), b"1");
                }
            });
            for _ in 0..20 {
                let failing: Result<(), _> = store.change(&mut store.changes.lock(), |_| {
                    Err(redb::Error::Io(io::Error::from(io::ErrorKind::StorageFull)))
                });
                failing.unwrap_err();
                store.recover().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn it_fulfils_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        let number = AtomicU64::new(0);
        super::super::store::contract::all(&|| {
            let name = format!("{}.redb", number.fetch_add(1, Ordering::Relaxed));
            Arc::new(Redb::open(&Dir::open(directory.path()).unwrap(), name).unwrap())
        });
    }

    #[test]
    fn commits_survive_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir::open(directory.path()).unwrap();
        let path = directory.path().join("index.redb");
        let store = Redb::open(&dir, "index.redb").unwrap();
        assert_eq!(store.allocate(b"n", 5).unwrap(), 1..6);
        drop(store);
        let store = Redb::open(&dir, "index.redb").unwrap();
        assert_eq!(store.allocate(b"n", 1).unwrap(), 6..7);
        assert!(!path.with_extension("new").exists());
    }

    #[test]
    fn an_older_format_is_marked_as_the_newest() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir::open(directory.path()).unwrap();
        let store = Redb::open(&dir, "index.redb").unwrap();
        let old = vec![put(FORMAT_KEY, &1_u32.to_be_bytes()), put(b"a", b"1")];
        change(&store, old);
        drop(store);
        let store = Redb::open(&dir, "index.redb").unwrap();
        assert_eq!(store.get(FORMAT_KEY).unwrap().unwrap(), 2_u32.to_be_bytes());
        assert_eq!(store.get(b"a").unwrap().unwrap(), b"1");
    }

    #[test]
    fn a_newer_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir::open(directory.path()).unwrap();
        let store = Redb::open(&dir, "index.redb").unwrap();
        let put = WriteOp::Put(FORMAT_KEY.to_vec(), 9_u32.to_be_bytes().to_vec());
        store
            .commit(Batch {
                preconditions: vec![],
                changes: vec![put],
                as_of: None,
            })
            .unwrap();
        drop(store);
        let refused = Redb::open(&dir, "index.redb").unwrap_err().to_string();
        assert!(refused.contains("format 9"), "{refused}");
    }

    #[test]
    fn a_file_that_is_no_index_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir::open(directory.path()).unwrap();
        let path = directory.path().join("index.redb");
        fs::write(&path, b"something else").unwrap();
        assert!(matches!(
            Redb::open(&dir, "index.redb"),
            Err(StoreError::Engine { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"something else");
        fs::write(&path, b"").unwrap();
        assert!(matches!(
            Redb::open(&dir, "index.redb"),
            Err(StoreError::Engine { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn after_a_failure_it_recovers_the_synced_state() {
        let directory = tempfile::tempdir().unwrap();
        let store = Redb::open(&Dir::open(directory.path()).unwrap(), "index.redb").unwrap();
        store.allocate(b"n", 1).unwrap();
        store.sync().unwrap();
        store.recover().unwrap();
        let failing: Result<(), _> = store.change(&mut store.changes.lock(), |_| {
            Err(redb::Error::Io(io::Error::from(io::ErrorKind::StorageFull)))
        });
        assert!(matches!(failing, Err(StoreError::System(_))));
        assert!(matches!(
            store.allocate(b"n", 1),
            Err(StoreError::Poisoned(_))
        ));
        assert!(matches!(store.sync(), Err(StoreError::Poisoned(_))));
        assert!(store.get(b"n").unwrap().is_some());
        store.recover().unwrap();
        assert_eq!(store.allocate(b"n", 1).unwrap(), 2..3);
    }
}
