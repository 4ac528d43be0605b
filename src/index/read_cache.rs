//! The read cache: recently read records of one state of the store. A tree walk reads the same
//! records, and those that it has just listed, repeatedly.
//!
//! A cache belongs to one immutable state and is dropped with it.

use std::ops::Range;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::store::Pair;

/// Records in the cache, which is cleared when full.
const RECORDS_MAX: usize = 1 << 13;
/// Values longer than this (in bytes) and listings with more rows are not cached: their rows are
/// rarely read one by one.
const VALUE_BYTES_MAX: usize = 128;
const ROWS_MAX: usize = 256;

/// Cached records and empty ranges.
#[derive(Debug, Default)]
pub(super) struct ReadCache {
    /// Values by key; `None` for an absent key.
    records: Mutex<HashMap<Vec<u8>, Option<Vec<u8>>>>,
    /// The ends of empty ranges, by their starts.
    empty: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl ReadCache {
    /// Returns the cached value of a key, or calls `read` and caches its result.
    pub(super) fn get<E>(
        &self,
        key: &[u8],
        read: impl FnOnce() -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Vec<u8>>, E> {
        if let Some(value) = self.records.lock().get(key) {
            return Ok(value.clone());
        }
        let value = read()?;
        self.remember([(key, value.as_ref())].into_iter());
        Ok(value)
    }

    /// Returns `true` if a range is known to be empty.
    pub(super) fn is_empty(&self, range: &Range<&[u8]>) -> bool {
        let empty = self.empty.lock();
        empty
            .get(range.start)
            .is_some_and(|end| **end >= *range.end)
    }

    /// Caches the rows that a scan of a range returned.
    pub(super) fn listed(&self, range: &Range<&[u8]>, rows: &[Pair]) {
        if rows.is_empty() {
            let mut empty = self.empty.lock();
            if empty.len() >= RECORDS_MAX {
                empty.clear();
            }
            empty.insert(range.start.to_vec(), range.end.to_vec());
        } else if rows.len() <= ROWS_MAX {
            self.remember(rows.iter().map(|(key, value)| (&**key, Some(value))));
        }
    }

    fn remember<'a>(&self, rows: impl Iterator<Item = (&'a [u8], Option<&'a Vec<u8>>)>) {
        let mut records = self.records.lock();
        if records.len() >= RECORDS_MAX {
            records.clear();
        }
        let small = rows.filter(|(_, value)| value.map_or(0, Vec::len) <= VALUE_BYTES_MAX);
        records.extend(small.map(|(key, value)| (key.to_vec(), value.cloned())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<Option<Vec<u8>>, ()>;

    #[test]
    fn cached_records_are_not_read_again() {
        let cache = ReadCache::default();
        assert_eq!(
            cache.get(b"a", || Ok::<_, ()>(Some(vec![1]))),
            Ok(Some(vec![1]))
        );
        assert_eq!(cache.get(b"b", || Ok::<_, ()>(None)), Ok(None));
        let range = |start: &'static str| start.as_bytes()..&b"z"[..];
        cache.listed(&range("c"), &[(b"c".to_vec(), vec![3])]);
        cache.listed(&range("d"), &[]);
        assert!(cache.is_empty(&range("d")) && !cache.is_empty(&range("c")));
        let never = || -> Read { Err(()) };
        assert_eq!(cache.get(b"a", never), Ok(Some(vec![1])));
        assert_eq!(cache.get(b"b", never), Ok(None));
        assert_eq!(cache.get(b"c", never), Ok(Some(vec![3])));
        assert_eq!(cache.get(b"d", never), Err(()));
        let large = vec![0; VALUE_BYTES_MAX + 1];
        assert_eq!(
            cache.get(b"d", || Ok::<_, ()>(Some(large.clone()))),
            Ok(Some(large))
        );
        assert_eq!(cache.get(b"d", never), Err(()));
    }
}
