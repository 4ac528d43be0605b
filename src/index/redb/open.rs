//! Opening a database file: creation, and the format version.
//!
//! Every call of the engine is guarded: a damaged file is an error that names it.

use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;

use redb::{Builder, Database, ReadableDatabase};
use rustix::fs::{Mode, OFlags};

use super::copy_on_write::CopyOnWriteFile;
use super::database::{TABLE, durable, engine};
use super::file::DatabaseFile;
use super::guard::guarded;

use crate::dir::Dir;
use crate::index::durable_rename::durable_rename;
use crate::index::store::StoreError;

/// The key of the format version, the same in every format.
pub(super) const FORMAT_KEY: &[u8] = b"\0format";
/// The format that this program writes (`index/key.rs`), and the oldest that it reads.
const FORMAT: u32 = 2;
const FORMAT_OLDEST: u32 = 1;
/// Size of the page cache in bytes.
const CACHE_BYTES: usize = 64 << 20;
/// Readable and writable by the owner only.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Where the engine's writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteTarget {
    /// To the file, which is created if needed.
    File,
    /// To memory; the file must exist and is not modified.
    Memory,
}

/// Opens a database.
pub(super) fn open(dir: &Dir, name: &Path, target: WriteTarget) -> Result<Database, StoreError> {
    let path = dir.shown(name);
    let flags = match target {
        WriteTarget::File => OFlags::RDWR,
        WriteTarget::Memory => OFlags::RDONLY,
    };
    let file = match dir.open_file(name, flags, Mode::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && target == WriteTarget::File => {
            create(dir, name)?;
            dir.open_file(name, flags, Mode::empty())
        }
        file => file,
    };
    let file = file.map_err(|error| engine(&path, &error))?;
    if file.metadata()?.len() == 0 {
        // The engine would create a new database in it.
        return Err(engine(&path, &"it is empty: restore a backup"));
    }
    let opened = guarded(|| match target {
        WriteTarget::File => builder().create_with_backend(DatabaseFile::new(file)?),
        WriteTarget::Memory => builder().create_with_backend(CopyOnWriteFile::new(file)?),
    });
    let database = opened.map_err(|error| engine(&path, &error))?;
    // Not closed on an error, since closing writes.
    let database = ManuallyDrop::new(database);
    check_format(&database, &path)?;
    Ok(ManuallyDrop::into_inner(database))
}

/// Reads every page of a database and verifies its checksum, without modifying the file.
pub(super) fn check(dir: &Dir, name: &Path) -> Result<(), StoreError> {
    let mut database = ManuallyDrop::new(open(dir, name, WriteTarget::Memory)?);
    let path = dir.shown(name);
    let whole = guarded(|| database.check_integrity()).map_err(|error| engine(&path, &error))?;
    if whole {
        return Ok(());
    }
    let reason = "a page of it is damaged: restore a backup, or export what can be read";
    Err(engine(&path, &reason))
}

/// Creates a database under a temporary name: a power cut during creation would leave a file that
/// cannot be opened.
fn create(dir: &Dir, name: &Path) -> Result<(), StoreError> {
    let new = name.with_extension("new");
    match dir.remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Err(_) | Ok(()) => {}
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let file = dir.open_file(&new, flags, PRIVATE)?;
    let made = file.try_clone()?;
    let write = || -> Result<(), redb::Error> {
        let database = builder().create_with_backend(DatabaseFile::new(file)?)?;
        write_format(&database)
    };
    guarded(write).map_err(|error| engine(&dir.shown(&new), &error))?;
    made.sync_all()?;
    Ok(durable_rename(dir, &new, name)?)
}

/// Durably writes the newest format version.
fn write_format(database: &Database) -> Result<(), redb::Error> {
    let transaction = durable(database)?;
    transaction
        .open_table(TABLE)?
        .insert(FORMAT_KEY, &FORMAT.to_be_bytes()[..])?;
    Ok(transaction.commit()?)
}

/// Refuses a format that this program does not read, and marks an older one as the newest: format 2
/// only adds tables and optional fields, so every row of format 1 is valid.
fn check_format(database: &Database, path: &Path) -> Result<(), StoreError> {
    let read = || -> Result<Option<u32>, redb::Error> {
        let value = database.begin_read()?.open_table(TABLE)?.get(FORMAT_KEY)?;
        Ok(value
            .and_then(|value| value.value().try_into().ok())
            .map(u32::from_be_bytes))
    };
    match guarded(read).map_err(|error| engine(path, &error))? {
        Some(FORMAT) => Ok(()),
        Some(FORMAT_OLDEST..FORMAT) => {
            guarded(|| write_format(database)).map_err(|error| engine(path, &error))
        }
        found => Err(StoreError::Format {
            path: path.display().to_string(),
            found: found.unwrap_or_default(),
            known: FORMAT,
        }),
    }
}
