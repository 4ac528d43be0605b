//! A view: a read transaction on the table, shared by readers until the next commit.

use std::ops::Range;

use redb::ReadOnlyTable;

use super::guard::guarded;
use crate::index::read_cache::ReadCache;
use crate::index::store::Pair;

/// A read transaction on the table, and the cache of its records.
pub(super) struct View {
    pub(super) table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(super) cache: ReadCache,
}

impl View {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, redb::StorageError> {
        self.cache.get(key, || {
            guarded(|| Ok(self.table.get(key)?.map(|value| value.value().to_vec())))
        })
    }

    pub(super) fn scan(
        &self,
        range: Range<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, redb::StorageError> {
        if range.start >= range.end || self.cache.is_empty(&range) {
            return Ok(Vec::new());
        }
        let pairs: Vec<Pair> = guarded(|| {
            let pairs = self.table.range(range.clone())?.take(limit).map(|pair| {
                let (key, value) = pair?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            });
            pairs.collect::<Result<_, redb::StorageError>>()
        })?;
        if limit > 0 {
            self.cache.listed(&range, &pairs);
        }
        Ok(pairs)
    }
}
