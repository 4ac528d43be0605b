//! The embedded store: a redb file behind a journal, in one directory.

use std::io;
use std::sync::Arc;

use rustix::fs::Mode;

use super::journal::{SUPERBLOCK_KEY, replay};
use super::{Batch, Journal, JournalDamage, Recover, Redb, Store, StoreError, WriteOp};
use crate::dir::Dir;

/// The index file. A directory that contains it is a store.
pub const INDEX_FILE: &str = "index.redb";
/// The directory of the journal in front of the index file.
pub const JOURNAL_DIRECTORY: &str = "journal";

/// Opens the store in a directory, or creates it.
///
/// # Errors
/// As [`Redb::open`] and [`Journal::open`].
pub fn open_embedded(dir: &Dir, recover: Recover) -> Result<Journal, StoreError> {
    let base = Redb::open(dir, INDEX_FILE)?;
    let journal = dir.ensure_dir(JOURNAL_DIRECTORY, Mode::RWXU)?;
    Journal::open(Arc::new(base), &journal, recover)
}

/// Opens the store in a directory without writing to it: the content of its journal and later
/// commits are applied in memory. Returns the store and the damage of the journal that `recover`
/// accepted.
///
/// # Errors
/// As [`Redb::open_copy_on_write`] and [`Journal::open`].
pub fn open_embedded_read_only(
    dir: &Dir,
    recover: Recover,
) -> Result<(Arc<dyn Store>, Option<JournalDamage>), StoreError> {
    let base = Redb::open_copy_on_write(dir, INDEX_FILE)?;
    let damage = match dir.open_dir(JOURNAL_DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        journal => replay(&base, &journal?, recover)?,
    };
    Ok((Arc::new(base), damage))
}

/// Removes the superblock of a journal from the index in the file `name`, which is a copy and
/// starts a journal of its own.
///
/// # Errors
/// As [`Redb::open`], [`Store::commit`] and [`Store::sync`].
pub fn detach_journal(dir: &Dir, name: &str) -> Result<(), StoreError> {
    let copy = Redb::open(dir, name)?;
    let changes = vec![WriteOp::Delete(SUPERBLOCK_KEY.to_vec())];
    copy.commit(Batch {
        changes,
        ..Batch::default()
    })?;
    copy.sync()
}

/// Reads every page of the index in a directory, which no process may have open.
///
/// # Errors
/// As [`Redb::check`].
pub fn check_embedded(dir: &Dir) -> Result<(), StoreError> {
    Redb::check(dir, INDEX_FILE)
}
