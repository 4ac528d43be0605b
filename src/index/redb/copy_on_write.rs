//! A database file that is not modified: what the engine writes is kept in memory and dropped. It
//! reads an index that was not closed cleanly where nothing may be written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use parking_lot::RwLock;
use redb::StorageBackend;

/// Granularity of copies, in bytes: a page of the engine.
const BLOCK: u64 = 4096;

/// A file that is not modified.
#[derive(Debug)]
pub(super) struct CopyOnWriteFile {
    file: File,
    state: RwLock<BufferedWrites>,
}

/// What the engine wrote.
#[derive(Debug)]
struct BufferedWrites {
    /// The length that the engine sees, and the part of it whose content is still that of the file.
    len: u64,
    own: u64,
    /// Modified blocks, by number.
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl CopyOnWriteFile {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let state = RwLock::new(BufferedWrites {
            len,
            own: len,
            blocks: BTreeMap::new(),
        });
        Ok(Self { file, state })
    }

    /// Reads from the file, and zeros after its valid part.
    fn read_own(&self, own: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = own.saturating_sub(offset);
        let there = usize::try_from(there).map_or(out.len(), |there| there.min(out.len()));
        let (first, rest) = out.split_at_mut(there);
        rest.fill(0);
        self.file.read_exact_at(first, offset)
    }
}

/// Splits a range at block boundaries: the block, the offset in the block, and the part of the
/// range.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK).unwrap_or_default();
        let block = usize::try_from(BLOCK).unwrap_or_default();
        let end = len.min(done + block - within);
        let part = (at / BLOCK, within, done..end);
        done = end;
        Some(part)
    })
}

impl StorageBackend for CopyOnWriteFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.read().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.read();
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > state.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, range) in parts(offset, out.len()) {
            let place = offset + range.start as u64;
            let Some(part) = out.get_mut(range) else {
                continue;
            };
            let written = state.blocks.get(&number);
            match written.and_then(|block| block.get(within..within + part.len())) {
                Some(written) => part.copy_from_slice(written),
                None => self.read_own(state.own, place, part)?,
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.write();
        if len < state.len {
            state.own = state.own.min(len);
            let _beyond = state.blocks.split_off(&len.div_ceil(BLOCK));
            let within = usize::try_from(len % BLOCK).unwrap_or_default();
            if let Some(block) = state.blocks.get_mut(&(len / BLOCK)) {
                block.iter_mut().skip(within).for_each(|byte| *byte = 0);
            }
        }
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.write();
        let own = state.own;
        for (number, within, range) in parts(offset, data.len()) {
            let block = match state.blocks.entry(number) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(place) => {
                    let mut block = vec![0; usize::try_from(BLOCK).unwrap_or_default()];
                    self.read_own(own, number * BLOCK, &mut block)?;
                    place.insert(block)
                }
            };
            let to = block.get_mut(within..within + range.len());
            if let Some((to, from)) = to.zip(data.get(range)) {
                to.copy_from_slice(from);
            }
        }
        state.len = state.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn writes_are_read_back_and_the_file_is_not_modified(
            steps in prop::collection::vec((0..4_u8, 0..20_000_u64, 0..9_000_usize), 1..40),
        ) {
            let original: Vec<u8> = (0..=250_u8).cycle().take(10_000).collect();
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&original, 0).unwrap();
            let unwritten = CopyOnWriteFile::new(file.try_clone().unwrap()).unwrap();
            let mut model = original.clone();
            for (number, (kind, at, len)) in steps.into_iter().enumerate() {
                let place = usize::try_from(at).unwrap();
                if kind == 0 {
                    unwritten.set_len(at).unwrap();
                    model.resize(place, 0);
                } else {
                    let data = vec![u8::try_from(number).unwrap(); len];
                    unwritten.write(at, &data).unwrap();
                    model.resize(model.len().max(place + len), 0);
                    model[place..place + len].copy_from_slice(&data);
                }
                let mut all = vec![0; model.len()];
                unwritten.read(0, &mut all).unwrap();
                prop_assert!(all == model);
                prop_assert_eq!(unwritten.len().unwrap(), model.len() as u64);
            }
            prop_assert!(unwritten.read(model.len() as u64, &mut [0]).is_err());
            let mut after = vec![0; original.len()];
            file.read_exact_at(&mut after, 0).unwrap();
            prop_assert!(after == original);
        }
    }
}
