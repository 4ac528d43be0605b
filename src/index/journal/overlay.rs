//! The overlay: committed pairs that are not in the base store yet.
//!
//! It has two layers: the active one takes changes, the frozen one is being applied to the base
//! store. The newest value of a key is in the active layer, else in the frozen one, else in the
//! base store.

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::iter::Peekable;
use std::ops::{Bound, Range};
use std::sync::Arc;

use crate::index::store::{Pair, Store, StoreError};

/// Keys and values; `None` for a removed key.
pub(super) type Layer = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Pairs that are read from the base store at once.
const PAGE: usize = 256;
/// Approximate memory of a key besides its bytes.
const OVERHEAD: usize = 96;

/// Both layers.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    active: Layer,
    bytes: usize,
    frozen: Arc<Layer>,
}

impl Overlay {
    /// Sets a key, or removes it.
    pub(super) fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len) + OVERHEAD;
        self.active.insert(key, value);
    }

    /// Upper bound of the memory of the active layer, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A copy for a snapshot.
    pub(super) fn copy(&self) -> Self {
        Self {
            active: self.active.clone(),
            bytes: self.bytes,
            frozen: Arc::clone(&self.frozen),
        }
    }

    /// The value of a key, `Some(None)` if it was removed; `None` if neither layer has it.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.active.get(key).or_else(|| self.frozen.get(key))
    }

    /// Freezes the active layer. The layer that was frozen before must have been
    /// [dropped](Self::drop_frozen).
    pub(super) fn freeze(&mut self) -> Arc<Layer> {
        self.frozen = Arc::new(std::mem::take(&mut self.active));
        self.bytes = 0;
        Arc::clone(&self.frozen)
    }

    /// Drops the frozen layer, which is in the base store now.
    pub(super) fn drop_frozen(&mut self) {
        self.frozen = Arc::default();
    }

    /// Returns at most `limit` pairs of a range, merged from both layers and the base store.
    pub(super) fn scan(
        &self,
        base: &dyn Store,
        range: Range<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        if range.start >= range.end || limit == 0 {
            return Ok(Vec::new());
        }
        let mut above = MergedLayers::new(self, &range).peekable();
        if above.peek().is_none() {
            return base.scan(range, limit);
        }
        let mut base = PagedScan::new(base, &range, limit);
        let mut pairs = Vec::new();
        while pairs.len() < limit {
            let lower = base.peek()?;
            let Some((key, value)) = above.peek() else {
                match base.next() {
                    Some(pair) => pairs.push(pair),
                    None => break,
                }
                continue;
            };
            if lower.is_some_and(|lower| lower < key.as_slice()) {
                pairs.extend(base.next());
                continue;
            }
            if lower.is_some_and(|lower| lower == key.as_slice()) {
                base.next();
            }
            if let Some(value) = value {
                pairs.push(((*key).clone(), value.clone()));
            }
            above.next();
        }
        Ok(pairs)
    }
}

type OverlayEntry<'a> = (&'a Vec<u8>, &'a Option<Vec<u8>>);

/// The entries of both layers in key order; for equal keys that of the active layer.
struct MergedLayers<'a> {
    active: Peekable<btree_map::Range<'a, Vec<u8>, Option<Vec<u8>>>>,
    frozen: Peekable<btree_map::Range<'a, Vec<u8>, Option<Vec<u8>>>>,
}

impl<'a> MergedLayers<'a> {
    fn new(overlay: &'a Overlay, range: &Range<&[u8]>) -> Self {
        let bounds = (Bound::Included(range.start), Bound::Excluded(range.end));
        Self {
            active: overlay.active.range::<[u8], _>(bounds).peekable(),
            frozen: overlay.frozen.range::<[u8], _>(bounds).peekable(),
        }
    }
}

impl<'a> Iterator for MergedLayers<'a> {
    type Item = OverlayEntry<'a>;

    fn next(&mut self) -> Option<OverlayEntry<'a>> {
        let (Some((active, _)), Some((frozen, _))) = (self.active.peek(), self.frozen.peek())
        else {
            return self.active.next().or_else(|| self.frozen.next());
        };
        if frozen < active {
            return self.frozen.next();
        }
        if frozen == active {
            self.frozen.next();
        }
        self.active.next()
    }
}

/// The pairs of the base store, read page by page.
struct PagedScan<'a> {
    store: &'a dyn Store,
    start: Vec<u8>,
    end: &'a [u8],
    size: usize,
    page: VecDeque<Pair>,
    done: bool,
}

impl<'a> PagedScan<'a> {
    fn new(store: &'a dyn Store, range: &Range<&'a [u8]>, limit: usize) -> Self {
        Self {
            store,
            start: range.start.to_vec(),
            end: range.end,
            size: limit.min(PAGE),
            page: VecDeque::new(),
            done: false,
        }
    }

    /// The next key.
    fn peek(&mut self) -> Result<Option<&[u8]>, StoreError> {
        if self.page.is_empty() && !self.done {
            let page = self.store.scan(&self.start..self.end, self.size)?;
            self.done = page.len() < self.size;
            if let Some((last, _)) = page.last() {
                self.start.clone_from(last);
                self.start.push(0);
            }
            self.page = page.into();
        }
        Ok(self.page.front().map(|(key, _)| key.as_slice()))
    }

    /// The pair whose key was peeked at.
    fn next(&mut self) -> Option<Pair> {
        self.page.pop_front()
    }
}
