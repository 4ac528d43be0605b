//! The embedded store: a redb file behind a journal, in one directory.

use std::io;
use std::sync::Arc;

use rustix::fs::Mode;

use super::{Journal, Recover, Redb, StoreError};
use crate::dir::Dir;

/// The file of the index, whose presence makes a directory a store.
pub const INDEX_FILE: &str = "index.redb";
/// The directory of what stands in front of it.
pub const JOURNAL_DIRECTORY: &str = "journal";

/// Opens the store in a directory, or makes it.
///
/// # Errors
/// As [`Redb::open`] and [`Journal::open`].
pub fn open_embedded(dir: &Dir, recover: Recover) -> Result<Journal, StoreError> {
    let below = Redb::open(dir, INDEX_FILE)?;
    let journal = dir.ensure_dir(JOURNAL_DIRECTORY, Mode::RWXU);
    let journal = journal.map_err(|error: io::Error| StoreError::System(Arc::new(error)))?;
    Journal::open(Arc::new(below), &journal, recover)
}
