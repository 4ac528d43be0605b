//! Copies of the index, written as a store of their own.

use std::io;
use std::path::Path;

use super::durable_rename::durable_rename;
use super::key::next_key;
use super::redb::Redb;
use super::store::{BATCH_BYTES_MAX, Batch, Store, StoreError, WriteOp};
use crate::dir::Dir;

/// Pairs in one batch.
const PAIRS: usize = 1_000;
/// Bytes in one batch, less than [`BATCH_BYTES_MAX`] by more than the largest pair.
const BYTES: usize = BATCH_BYTES_MAX / 2;
/// Tables that a copy omits: uploads, hash states, pending publications and logged bytes.
const LEFT_OUT: [u8; 4] = [b'U', b'H', b'Y', b'Z'];

/// Writes all facts, except those of [`LEFT_OUT`], to a file of a directory.
pub(super) fn to_file(source: &dyn Store, dir: &Dir, name: &Path) -> Result<(), StoreError> {
    let next = name.with_extension("next");
    match dir.remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Err(_) | Ok(()) => {}
    }
    let copy = Redb::open(dir, &next)?;
    // Keys below 1 are the store's own: its format and the superblock of its journal.
    let (mut range, mut batch, mut bytes) = (vec![1]..vec![u8::MAX; 2], Batch::default(), 0);
    loop {
        let page = source.scan(&range.start..&range.end, PAIRS)?;
        let Some((last, _)) = page.last() else { break };
        range.start = next_key(last.clone());
        for (key, value) in page {
            if key.first().is_some_and(|table| LEFT_OUT.contains(table)) {
                continue;
            }
            bytes += key.len() + value.len();
            batch.changes.push(WriteOp::Put(key, value));
            if bytes > BYTES || batch.changes.len() == PAIRS {
                copy.commit(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
    }
    copy.commit(batch)?;
    copy.sync()?;
    drop(copy);
    // Durable before the caller removes anything that only the old file named.
    Ok(durable_rename(dir, &next, name)?)
}
