//! Rows: a table by number. A number is reused after four thousand million others at the
//! earliest. Memory of removed rows is freed in chunks.

use std::collections::BTreeSet;

/// Rows in a chunk.
const CHUNK: usize = 256;

/// Rows by number. The lower half of a number, less one, is the position of its row; the upper
/// half distinguishes it from earlier rows at that position.
#[derive(Debug)]
pub(super) struct Rows<T> {
    chunks: Vec<Option<Box<Chunk<T>>>>,
    /// Chunks with room, including those that are not allocated.
    open: BTreeSet<usize>,
    given: u32,
}

#[derive(Debug)]
struct Chunk<T> {
    rows: Vec<Option<(u32, T)>>,
    /// Positions that are free.
    free: Vec<u8>,
}

impl<T> Chunk<T> {
    fn new() -> Self {
        Self {
            rows: (0..CHUNK).map(|_| None).collect(),
            free: (0..=u8::MAX).rev().collect(),
        }
    }
}

/// Returns the chunk and the position of a number, and its upper half.
fn position(number: u64) -> Option<(usize, usize, u32)> {
    let slot = (number & u64::from(u32::MAX)).checked_sub(1)?;
    let slot = usize::try_from(slot).ok()?;
    let which = u32::try_from(number >> 32).ok()?;
    Some((slot / CHUNK, slot % CHUNK, which))
}

impl<T> Rows<T> {
    /// Returns an empty table. The first row will have number 1.
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            open: BTreeSet::new(),
            given: 0,
        }
    }

    /// Adds a row and returns its number.
    pub(super) fn insert(&mut self, row: T) -> u64 {
        let at = self.open.first().copied().unwrap_or(self.chunks.len());
        if at == self.chunks.len() {
            // Not doubled: there may be a great deal already.
            if self.chunks.len() == self.chunks.capacity() {
                self.chunks.reserve_exact(self.chunks.len() / 8 + 16);
            }
            self.chunks.push(None);
            self.open.insert(at);
        }
        let which = self.given;
        self.given = self.given.wrapping_add(1);
        let Some(slot) = self.chunks.get_mut(at) else {
            return 0;
        };
        let chunk = slot.get_or_insert_with(|| Box::new(Chunk::new()));
        // A chunk in `open` has room.
        let free = usize::from(chunk.free.pop().unwrap_or_default());
        if let Some(place) = chunk.rows.get_mut(free) {
            *place = Some((which, row));
        }
        if chunk.free.is_empty() {
            self.open.remove(&at);
        }
        u64::from(which) << 32 | (at * CHUNK + free + 1) as u64
    }

    /// Returns the row of a number.
    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let (chunk, slot, which) = position(number)?;
        let row = self.chunks.get(chunk)?.as_ref()?.rows.get(slot)?.as_ref()?;
        (row.0 == which).then_some(&row.1)
    }

    /// The row of a number, to change.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let (chunk, slot, which) = position(number)?;
        let chunk = self.chunks.get_mut(chunk)?.as_mut()?;
        let row = chunk.rows.get_mut(slot)?.as_mut()?;
        (row.0 == which).then_some(&mut row.1)
    }

    /// Removes the row of a number and returns it.
    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.get(number)?;
        let (at, slot, _) = position(number)?;
        let chunk = self.chunks.get_mut(at)?.as_mut()?;
        let row = chunk.rows.get_mut(slot)?.take();
        chunk.free.push(u8::try_from(slot).unwrap_or_default());
        if chunk.free.len() == CHUNK
            && let Some(chunk) = self.chunks.get_mut(at)
        {
            *chunk = None;
        }
        self.open.insert(at);
        row.map(|(_, row)| row)
    }

    /// Returns all rows with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.flat_map(|(at, chunk)| {
            let rows = chunk.iter().flat_map(|chunk| &chunk.rows).enumerate();
            rows.filter_map(move |(slot, row)| {
                let (which, row) = row.as_ref()?;
                Some((
                    u64::from(*which) << 32 | (at * CHUNK + slot + 1) as u64,
                    row,
                ))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_unique_and_find_their_rows(steps in prop::collection::vec((0..4_u8, any::<usize>()), 0..2_000)) {
            let (mut rows, mut model, mut gone) = (Rows::new(), HashMap::new(), Vec::new());
            for (step, pick) in steps {
                if step > 0 || model.is_empty() {
                    let number = rows.insert(pick);
                    prop_assert!(!gone.contains(&number));
                    prop_assert_eq!(model.insert(number, pick), None);
                } else {
                    let number = *model.keys().nth(pick % model.len()).unwrap();
                    prop_assert_eq!(rows.remove(number), model.remove(&number));
                    prop_assert_eq!(rows.get(number), None);
                    gone.push(number);
                }
            }
            let shown: HashMap<u64, usize> = rows.iter().map(|(number, row)| (number, *row)).collect();
            prop_assert_eq!(shown, model);
        }
    }

    #[test]
    fn empty_chunks_are_freed() {
        let mut rows = Rows::new();
        let numbers: Vec<u64> = (0..3 * CHUNK).map(|row| rows.insert(row)).collect();
        assert_eq!(numbers.first(), Some(&1));
        for number in numbers {
            rows.remove(number);
        }
        assert!(rows.chunks.iter().all(Option::is_none));
        let again = rows.insert(7);
        assert_eq!(rows.get(again), Some(&7));
        assert_eq!(rows.get(0), None);
    }
}
