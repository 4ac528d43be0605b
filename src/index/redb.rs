//! The store in a redb file: one committer thread, group commit, two-phase durable commits.
//!
//! Whoever commits hands a batch to the committer, which drains what has queued up, applies it
//! in one engine transaction and wakes all waiters. Only a sync makes that transaction durable
//! (two-phase, so that no torn page is ever trusted; with quick repair, so that opening after
//! a crash takes milliseconds); without one the committer makes things durable by itself,
//! 200 ms after the first change. A durable commit that fails poisons the store.
//!
//! It is the only file that knows redb. The write-ahead journal will be another store in front
//! of this one.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use redb::{Builder, Database, Durability, ReadTransaction, ReadableDatabase, TableDefinition};

use super::store::{Batch, Outcome, Pair, Store, StoreError};

mod committer;

use committer::{Committer, Progress, Request};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("facts");
/// The key under which the format of all others is written, and the format this program knows.
const FORMAT_KEY: &[u8] = b"\0format";
const FORMAT: u32 = 1;
/// Pages kept in memory, in bytes.
const CACHE_BYTES: usize = 64 << 20;
/// Requests that may wait for the committer, and that it takes at once.
const QUEUE: usize = 1024;

/// A store in one file.
pub struct Redb {
    database: Arc<Database>,
    path: PathBuf,
    /// The newest committed state, shared by readers until the next commit.
    view: Arc<RwLock<Option<Arc<ReadTransaction>>>>,
    progress: Arc<Progress>,
    queue: SyncSender<Request>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Redb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redb")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Redb {
    /// Opens the store kept in the file `path`, or makes it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let engine = |reason: String| StoreError::Engine {
            path: path.display().to_string(),
            reason,
        };
        let system = |error: io::Error| StoreError::System(Arc::new(error));
        if !path.try_exists().map_err(system)? {
            create(path, &engine)?;
        }
        let database = builder()
            .open(path)
            .map_err(|error| engine(error.to_string()))?;
        check_format(&database, path, &engine)?;
        Ok(Self::start(database, path))
    }

    fn start(database: Database, path: &Path) -> Self {
        let database = Arc::new(database);
        let view = Arc::default();
        let progress = Arc::default();
        let (queue, requests) = sync_channel(QUEUE);
        let committer = Committer {
            database: Arc::clone(&database),
            path: path.to_owned(),
            view: Arc::clone(&view),
            progress: Arc::clone(&progress),
            volatile_since: None,
        };
        let thread = std::thread::Builder::new().name("committer".into());
        let committer = thread.spawn(move || committer.run(&requests)).ok();
        let path = path.to_owned();
        Self {
            database,
            path,
            view,
            progress,
            queue,
            committer: Mutex::new(committer),
        }
    }

    /// The newest committed state.
    fn view(&self) -> Result<Arc<ReadTransaction>, StoreError> {
        if let Some(view) = self.view.read().as_ref() {
            return Ok(Arc::clone(view));
        }
        let mut slot = self.view.write();
        if let Some(view) = slot.as_ref() {
            return Ok(Arc::clone(view));
        }
        let view = self
            .database
            .begin_read()
            .map_err(|error| self.engine(&error))?;
        Ok(Arc::clone(slot.insert(Arc::new(view))))
    }

    fn engine(&self, error: &impl ToString) -> StoreError {
        StoreError::Engine {
            path: self.path.display().to_string(),
            reason: error.to_string(),
        }
    }

    /// What to say when the committer is gone or has given up.
    fn stopped(&self) -> StoreError {
        let reason = self.progress.poison.lock().clone();
        StoreError::Poisoned(reason.unwrap_or_else(|| "the store is closed".into()))
    }
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
    fs::rename(&new, path).map_err(system)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(system)
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
        let view = self.view()?;
        let table = view
            .open_table(TABLE)
            .map_err(|error| self.engine(&error))?;
        let value = table.get(key).map_err(|error| self.engine(&error))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let view = self.view()?;
        let table = view
            .open_table(TABLE)
            .map_err(|error| self.engine(&error))?;
        let pairs = table.range(range).map_err(|error| self.engine(&error))?;
        pairs
            .take(limit)
            .map(|pair| {
                let (key, value) = pair.map_err(|error| self.engine(&error))?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            })
            .collect()
    }

    fn commit(&self, batch: Batch) -> Result<Outcome, StoreError> {
        batch.check()?;
        let (answer, wait) = sync_channel(1);
        self.queue
            .send(Request::Commit(batch, answer))
            .map_err(|_| self.stopped())?;
        wait.recv().map_err(|_| self.stopped())?
    }

    fn sync(&self) -> Result<(), StoreError> {
        let visible = self.progress.visible.load(Ordering::Acquire);
        let poisoned = self.progress.poison.lock().is_some();
        if !poisoned && self.progress.durable.load(Ordering::Acquire) >= visible {
            return Ok(());
        }
        let (answer, wait) = sync_channel(1);
        self.queue
            .send(Request::Sync(answer))
            .map_err(|_| self.stopped())?;
        wait.recv().map_err(|_| self.stopped())?
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        let stopped = self.queue.send(Request::Stop);
        if let (Ok(()), Some(committer)) = (stopped, self.committer.lock().take()) {
            // A committer that panicked has nothing more to save.
            let _ended = committer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::index::store::Change;

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
    }
}
