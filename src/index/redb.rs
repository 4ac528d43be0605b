//! The store in a redb file: two-phase durable commits, opened again after a failure.
//!
//! A commit is visible at once and durable with the next sync (two-phase, so that no torn page
//! is ever trusted; with quick repair, so that opening after a crash takes milliseconds). A
//! commit or sync that fails closes the store to changes until it has [recovered](Redb::recover):
//! what was committed since the last sync is lost then, which is why a journal stands in front.
//!
//! It and those below it are the only files that know redb.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition,
};

use self::file::DatabaseFile;
use self::guard::guarded;
use self::view::View;
use super::placing::place;
use super::recent::Recent;
use super::store::{Batch, Change, Outcome, Pair, Precondition, Store, StoreError};

mod file;
mod guard;
mod view;

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("facts");
/// The key under which the format of all others is written, and the format this program knows.
const FORMAT_KEY: &[u8] = b"\0format";
const FORMAT: u32 = 1;
/// Pages kept in memory, in bytes.
const CACHE_BYTES: usize = 64 << 20;
/// How long a recovery waits for readers to be done with the failed database.
const READERS_DONE: Duration = Duration::from_secs(5);

/// A store in one file.
pub struct Redb {
    path: PathBuf,
    /// Nothing while it is opened again.
    database: RwLock<Option<Database>>,
    /// The newest committed state, shared by readers until the next commit.
    view: RwLock<Option<Arc<View>>>,
    /// Held by whoever changes something.
    changes: Mutex<Changes>,
}

/// How far changes have come.
#[derive(Debug, Default)]
struct Changes {
    /// Whether something is visible that is not durable.
    volatile: bool,
    /// Why nothing is taken any more.
    failed: Option<String>,
}

impl std::fmt::Debug for Redb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redb")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What the engine says of a file.
fn engine(path: &Path, error: &impl ToString) -> StoreError {
    StoreError::Engine {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

impl Redb {
    /// Opens the store kept in the file `path`, or makes it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = open(path)?;
        Ok(Self {
            path: path.to_owned(),
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
            table: read().map_err(|error| self.engine(&error))?,
            recent: Recent::default(),
        };
        Ok(Arc::clone(slot.insert(Arc::new(view))))
    }

    fn engine(&self, error: &impl ToString) -> StoreError {
        engine(&self.path, error)
    }

    fn closed(&self) -> StoreError {
        self.engine(&"it is being opened again after a failure")
    }

    /// Runs a change; one that fails closes the store to others.
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

/// Opens a database, or makes it.
fn open(path: &Path) -> Result<Database, StoreError> {
    let engine = |reason: String| engine(path, &reason);
    let system = |error: io::Error| StoreError::System(Arc::new(error));
    if !path.try_exists().map_err(system)? {
        create(path, &engine)?;
    }
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(system)?;
    if file.metadata().map_err(system)?.len() == 0 {
        // It would be made a new one.
        return Err(engine("it is empty".into()));
    }
    let database =
        guarded(|| DatabaseFile::new(file).and_then(|file| builder().create_with_backend(file)));
    let database = database.map_err(|error| engine(error.to_string()))?;
    check_format(&database, path, &engine)?;
    Ok(database)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes a database under another name first: power lost during the first creation would leave
/// a file that cannot be opened.
fn create(path: &Path, engine: &dyn Fn(String) -> StoreError) -> Result<(), StoreError> {
    let system = |error: io::Error| StoreError::System(Arc::new(error));
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(error)),
        _ => {}
    }
    let database = builder()
        .create(&new)
        .map_err(|error| engine(error.to_string()))?;
    let write = || -> Result<(), redb::Error> {
        let transaction = durable(&database)?;
        transaction
            .open_table(TABLE)?
            .insert(FORMAT_KEY, &FORMAT.to_be_bytes()[..])?;
        Ok(transaction.commit()?)
    };
    write().map_err(|error| engine(error.to_string()))?;
    drop(database);
    File::open(&new)
        .and_then(|file| file.sync_all())
        .map_err(system)?;
    place(&new, path).map_err(system)
}

fn check_format(
    database: &Database,
    path: &Path,
    engine: &dyn Fn(String) -> StoreError,
) -> Result<(), StoreError> {
    let read = || -> Result<Option<u32>, redb::Error> {
        let value = database.begin_read()?.open_table(TABLE)?.get(FORMAT_KEY)?;
        Ok(value
            .and_then(|value| value.value().try_into().ok())
            .map(u32::from_be_bytes))
    };
    match read().map_err(|error| engine(error.to_string()))? {
        Some(FORMAT) => Ok(()),
        found => Err(StoreError::Format {
            path: path.display().to_string(),
            found: found.unwrap_or_default(),
            known: FORMAT,
        }),
    }
}

/// A transaction that survives power loss once it is committed.
fn durable(database: &Database) -> Result<redb::WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
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

    fn commit(&self, batch: Batch) -> Result<Outcome, StoreError> {
        batch.check()?;
        let mut changes = self.changes.lock();
        let outcome = self.change(&mut changes, |database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::None)?;
            let outcome = apply(&mut transaction.open_table(TABLE)?, &batch)?;
            if outcome == Outcome::Committed {
                transaction.commit()?;
            }
            Ok(outcome)
        })?;
        if outcome == Outcome::Committed {
            changes.volatile = true;
            *self.view.write() = None;
        }
        Ok(outcome)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.make_durable(&mut self.changes.lock())
    }

    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Snapshot {
            path: self.path.clone(),
            view: self.view()?,
        }))
    }

    fn recover(&self) -> Result<(), StoreError> {
        let mut changes = self.changes.lock();
        if changes.failed.is_none() {
            return Ok(());
        }
        // Held, so that who reads meanwhile waits.
        let (mut view, mut slot) = (self.view.write(), self.database.write());
        (*view, *slot) = (None, None);
        let until = Instant::now() + READERS_DONE;
        let mut opened = open(&self.path);
        // Readers that began before still hold the file.
        while matches!(opened, Err(StoreError::Engine { .. })) && Instant::now() < until {
            std::thread::yield_now();
            opened = open(&self.path);
        }
        *slot = Some(opened?);
        *changes = Changes::default();
        Ok(())
    }
}

/// The table as of one moment, as a store of its own.
struct Snapshot {
    path: PathBuf,
    view: Arc<View>,
}

impl Store for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.view.get(key);
        found.map_err(|error| engine(&self.path, &error))
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let found = self.view.scan(range, limit);
        found.map_err(|error| engine(&self.path, &error))
    }

    fn commit(&self, _batch: Batch) -> Result<Outcome, StoreError> {
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

/// Applies a batch, if its preconditions hold.
fn apply(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    batch: &Batch,
) -> Result<Outcome, redb::Error> {
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
            return Ok(Outcome::Conflict(key.clone()));
        }
    }
    for change in &batch.changes {
        match change {
            Change::Put(key, value) => {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            Change::Delete(key) => {
                table.remove(key.as_slice())?;
            }
            Change::DeleteRange(range) => {
                table.retain_in(range.start.as_slice()..range.end.as_slice(), |_, _| false)?;
            }
        }
    }
    Ok(Outcome::Committed)
}

impl Drop for Redb {
    /// What is visible becomes durable. The engine writes once more when it is closed.
    fn drop(&mut self) {
        let durable = self.make_durable(&mut self.changes.lock());
        *self.view.get_mut() = None;
        let database = self.database.get_mut().take();
        let closed = guarded(|| {
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
mod cuts;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::index::store::Change;
    use crate::index::store::contract::{change, put};

    #[test]
    fn who_reads_while_it_recovers_waits() {
        let directory = tempfile::tempdir().unwrap();
        let store = Redb::open(&directory.path().join("index.redb")).unwrap();
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
    fn it_keeps_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        let number = AtomicU64::new(0);
        super::super::store::contract::all(&|| {
            let name = format!("{}.redb", number.fetch_add(1, Ordering::Relaxed));
            Arc::new(Redb::open(&directory.path().join(name)).unwrap())
        });
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.redb");
        let store = Redb::open(&path).unwrap();
        assert_eq!(store.allocate(b"n", 5).unwrap(), 1..6);
        drop(store);
        let store = Redb::open(&path).unwrap();
        assert_eq!(store.allocate(b"n", 1).unwrap(), 6..7);
        assert!(!path.with_extension("new").exists());
    }

    #[test]
    fn a_newer_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.redb");
        let store = Redb::open(&path).unwrap();
        let put = Change::Put(FORMAT_KEY.to_vec(), 9_u32.to_be_bytes().to_vec());
        store
            .commit(Batch {
                preconditions: vec![],
                changes: vec![put],
                as_of: None,
            })
            .unwrap();
        drop(store);
        let refused = Redb::open(&path).unwrap_err().to_string();
        assert!(refused.contains("format 9"), "{refused}");
    }

    #[test]
    fn a_file_that_is_no_index_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.redb");
        fs::write(&path, b"something else").unwrap();
        assert!(matches!(Redb::open(&path), Err(StoreError::Engine { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"something else");
        fs::write(&path, b"").unwrap();
        assert!(matches!(Redb::open(&path), Err(StoreError::Engine { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn after_a_failure_it_recovers_to_what_was_synced() {
        let directory = tempfile::tempdir().unwrap();
        let store = Redb::open(&directory.path().join("index.redb")).unwrap();
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
