//! Numbers: what repositories and digests are known by inside, given out once each.
//!
//! They are taken from the store in blocks. What is left of a block when the process ends is
//! never given out: there are enough.

use std::collections::HashMap;
use std::ops::Range;

use parking_lot::Mutex;

use super::IndexError;
use super::key::Key;
use super::store::Store;

/// Numbers that are taken from the store at once.
const BLOCK: u64 = 64;

/// What is left of the blocks that were taken, by counter.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<HashMap<u8, Range<u64>>>);

impl Numbers {
    /// The next number of a counter.
    pub(super) fn next(&self, store: &dyn Store, counter: u8) -> Result<u32, IndexError> {
        let mut blocks = self.0.lock();
        let block = blocks.entry(counter).or_default();
        if block.is_empty() {
            *block = store.allocate(&Key::table(b'C').byte(counter).done(), BLOCK)?;
        }
        let number = block.next().and_then(|number| u32::try_from(number).ok());
        number.ok_or(IndexError::Exhausted)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::index::Memory;

    #[test]
    fn no_number_is_given_out_twice() {
        let store = Memory::default();
        let mut given = BTreeSet::new();
        for _ in 0..3 {
            // As after a restart: what was left of a block is passed over.
            let numbers = Numbers::default();
            for _ in 0..=BLOCK {
                assert!(given.insert(numbers.next(&store, b'd').unwrap()));
            }
        }
        assert!(Numbers::default().next(&store, b'n').unwrap() > 0);
    }
}
