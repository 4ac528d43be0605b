//! The superblock: the base store's record of its journal, which tells a journal that lost
//! something from one that was never written to.
//!
//! It is one row of the base store. It is written with every commit of the applier and whenever a
//! segment is created, and is durable before that segment is first written to:
//!
//! ```text
//! applied8 epoch8                                        by programs of format 1
//! applied8 epoch8 id8 durable8 flags1 (number4 begin8)*
//! ```
//!
//! `applied8` is the last batch in the base store, `epoch8` the epoch of the groups after it. `id8`
//! is a random id shared by this index and its journal only. `durable8` is a batch that was durable
//! in the journal at the time, or 0 if its segment may be overwritten. Each segment has an entry
//! with its number and its first batch, or 0. Flags: 1 the store was closed cleanly, 2 the files in
//! the directory must be set aside before it is used.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

use super::base_store::apply;
use crate::index::store::{Store, StoreError, WriteOp};

/// The key of the superblock in the base store.
pub(in crate::index) const SUPERBLOCK_KEY: &[u8] = b"\0journal";
const CLOSED: u8 = 1;
const SET_ASIDE: u8 = 2;
/// Size of a segment's entry in bytes.
const ENTRY: usize = 12;

/// A segment's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentEntry {
    /// The number in the file name.
    pub(super) number: u32,
    /// The first batch in it, or 0 if it is empty.
    pub(super) begin: u64,
}

/// The base store's record of its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Superblock {
    /// The last batch in the base store.
    pub(super) applied: u64,
    /// The epoch of the groups after it.
    pub(super) epoch: u64,
    /// The id of index and journal; `None` in a new index and in format 1.
    pub(super) id: Option<u64>,
    /// A batch that the journal must contain, or 0.
    pub(super) durable: u64,
    /// `true` if the store was closed cleanly: nothing of the journal is needed.
    pub(super) closed: bool,
    /// `true` if the files in the directory must be set aside.
    pub(super) set_aside: bool,
    /// The segments.
    pub(super) segments: Vec<SegmentEntry>,
}

impl Superblock {
    /// Reads the superblock of a store; `None` if it has none.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the row is damaged, and those of the store.
    pub(super) fn read(base: &dyn Store) -> Result<Option<Self>, StoreError> {
        let Some(value) = base.get(SUPERBLOCK_KEY)? else {
            return Ok(None);
        };
        let damaged = || StoreError::Engine {
            path: "superblock of the journal".into(),
            reason: "it is damaged: restore a backup".into(),
        };
        Self::decode(&value).map(Some).ok_or_else(damaged)
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (applied, rest) = number(value)?;
        let (epoch, rest) = number(rest)?;
        let mut superblock = Self {
            applied,
            epoch,
            ..Self::default()
        };
        if rest.is_empty() {
            return Some(superblock);
        }
        let (id, rest) = number(rest)?;
        let (durable, rest) = number(rest)?;
        let (flags, rest) = rest.split_first()?;
        let entries = rest.chunks_exact(ENTRY);
        if !entries.remainder().is_empty() || flags & !(CLOSED | SET_ASIDE) != 0 {
            return None;
        }
        (superblock.id, superblock.durable) = (Some(id), durable);
        (superblock.closed, superblock.set_aside) = (flags & CLOSED != 0, flags & SET_ASIDE != 0);
        for entry in entries {
            let (segment, begin) = entry.split_first_chunk()?;
            superblock.segments.push(SegmentEntry {
                number: u32::from_be_bytes(*segment),
                begin: number(begin)?.0,
            });
        }
        Some(superblock)
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = [
            self.applied,
            self.epoch,
            self.id.unwrap_or_default(),
            self.durable,
        ];
        let mut value = numbers.map(u64::to_be_bytes).concat();
        value.push(u8::from(self.closed) | (u8::from(self.set_aside) << 1));
        for one in &self.segments {
            value.extend(one.number.to_be_bytes());
            value.extend(one.begin.to_be_bytes());
        }
        value
    }

    /// The change that writes it.
    pub(super) fn change(&self) -> WriteOp {
        WriteOp::Put(SUPERBLOCK_KEY.to_vec(), self.encode())
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// A random id.
pub(super) fn new_id() -> u64 {
    // `RandomState` is keyed by the system's random numbers.
    RandomState::new().hash_one(std::process::id())
}

/// Updates the superblock of an open journal.
pub(super) struct SuperblockWriter {
    base: Arc<dyn Store>,
    superblock: Mutex<Superblock>,
}

impl SuperblockWriter {
    pub(super) fn new(base: Arc<dyn Store>, superblock: Superblock) -> Self {
        Self {
            base,
            superblock: Mutex::new(superblock),
        }
    }

    /// Applies changes to the base store, and with the last of them the superblock as changed by
    /// `update`. Durable when it returns.
    pub(super) fn commit(
        &self,
        changes: impl Iterator<Item = WriteOp>,
        update: impl FnOnce(&mut Superblock),
    ) -> Result<(), StoreError> {
        let mut superblock = self.superblock.lock();
        let mut new = superblock.clone();
        update(&mut new);
        // Segments that were created since the caller read the list.
        for old in &superblock.segments {
            if !new.segments.iter().any(|one| one.number == old.number) {
                new.segments.push(*old);
            }
        }
        apply(self.base.as_ref(), changes, new.change())?;
        *superblock = new;
        Ok(())
    }

    /// Adds the entry of a new segment. Durable when it returns.
    pub(super) fn record_segment(&self, number: u32) -> Result<(), StoreError> {
        let made = SegmentEntry { number, begin: 0 };
        self.commit(std::iter::empty(), |new| new.segments.push(made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_is_read_as_written_and_a_truncated_one_is_refused() {
        let superblock = Superblock {
            applied: 1,
            epoch: 2,
            id: Some(3),
            durable: 4,
            closed: true,
            set_aside: true,
            segments: vec![
                SegmentEntry {
                    number: 5,
                    begin: 6,
                },
                SegmentEntry {
                    number: 7,
                    begin: 0,
                },
            ],
        };
        let bytes = superblock.encode();
        assert_eq!(Superblock::decode(&bytes), Some(superblock));
        let whole = |len: usize| Superblock::decode(&bytes[..len]).is_some();
        let whole: Vec<usize> = (0..bytes.len()).filter(|len| whole(*len)).collect();
        // That of format 1, that without segments, and that with the first one.
        assert_eq!(whole, [16, 33, 45]);
    }
}
