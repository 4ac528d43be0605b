//! The overlay: what was committed and is not in the store below yet, in memory.
//!
//! Two layers: the active one takes changes, the frozen one is being written to the store below.
//! A key's newest value is the first that is found from the top down.

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::iter::Peekable;
use std::ops::{Bound, Range};
use std::sync::Arc;

use crate::index::store::{Pair, Store, StoreError};

/// Keys with their values; without one where the key was removed.
pub(super) type Layer = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Pairs that are read from the store below at once.
const PAGE: usize = 256;
/// What a key costs in memory besides its bytes, about.
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

    /// Memory that the active layer takes, in bytes; more rather than less.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is there now, by itself.
    pub(super) fn copy(&self) -> Self {
        Self {
            active: self.active.clone(),
            bytes: self.bytes,
            frozen: Arc::clone(&self.frozen),
        }
    }

    /// The value of a key, none if it was removed; nothing if neither layer knows it.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.active.get(key).or_else(|| self.frozen.get(key))
    }

    /// Freezes what is active, which must follow on a [`Self::thaw`].
    pub(super) fn freeze(&mut self) -> Arc<Layer> {
        self.frozen = Arc::new(std::mem::take(&mut self.active));
        self.bytes = 0;
        Arc::clone(&self.frozen)
    }

    /// What was frozen is in the store below.
    pub(super) fn thaw(&mut self) {
        self.frozen = Arc::default();
    }

    /// At most `limit` pairs of a range, through both layers and the store below.
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

/// The rows of both layers in the order of their keys, the active one before the frozen.
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

/// The pairs of the store below, page by page.
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

    /// The pair that was peeked at.
    fn next(&mut self) -> Option<Pair> {
        self.page.pop_front()
    }
}
