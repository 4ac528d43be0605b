//! The interner: 4-byte ids of repositories and digests.
//!
//! Ids are allocated from the store in blocks. The rest of a block is unused when the process ends;
//! 2^32 ids leave room for that. The id of a digest never changes once it is committed, so it is
//! cached.

use std::ops::Range;

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use super::error::IndexError;
use super::id::DigestId;
use super::key::Key;
use super::store::Store;
use crate::digest::Digest;

/// Ids that are allocated from the store at once.
const BLOCK: u64 = 64;

/// Digests in the cache, which is cleared when full.
const INTERNED_MAX: usize = 1 << 15;

/// Allocates ids and caches those of digests.
#[derive(Debug, Default)]
pub(super) struct Interner {
    /// The unused rest of the last block of each counter.
    blocks: Mutex<HashMap<u8, Range<u64>>>,
    interned: RwLock<InternedDigests>,
}

/// Digests by id, and ids by digest.
#[derive(Debug, Default)]
struct InternedDigests {
    digests: HashMap<DigestId, Digest>,
    ids: HashMap<Digest, DigestId>,
}

impl Interner {
    /// Allocates an id from a counter of table C.
    ///
    /// # Errors
    /// [`IndexError::Exhausted`] after 2^32 - 1 ids, and those of [`Store::allocate`].
    pub(super) fn allocate(&self, store: &dyn Store, counter: u8) -> Result<u32, IndexError> {
        let mut blocks = self.blocks.lock();
        let block = blocks.entry(counter).or_default();
        if block.is_empty() {
            *block = store.allocate(&Key::table(b'C').byte(counter).into_bytes(), BLOCK)?;
        }
        let number = block.next().and_then(|number| u32::try_from(number).ok());
        number.ok_or(IndexError::Exhausted)
    }

    /// The cached digest of an id.
    pub(super) fn digest(&self, id: DigestId) -> Option<Digest> {
        self.interned.read().digests.get(&id).copied()
    }

    /// The cached id of a digest.
    pub(super) fn id(&self, digest: &Digest) -> Option<DigestId> {
        self.interned.read().ids.get(digest).copied()
    }

    /// Caches a committed digest and its id.
    pub(super) fn remember(&self, digest: &Digest, id: DigestId) {
        let mut interned = self.interned.write();
        if interned.digests.len() >= INTERNED_MAX {
            *interned = InternedDigests::default();
        }
        interned.digests.insert(id, *digest);
        interned.ids.insert(*digest, id);
    }

    /// Clears the cache, since the committed ids were found wrong and repaired.
    pub(super) fn clear(&self) {
        *self.interned.write() = InternedDigests::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use std::sync::Arc;

    use super::*;
    use crate::digest::Algorithm;
    use crate::index::store::contract::{change, put};
    use crate::index::{Index, MemoryStore};

    #[test]
    fn a_damaged_counter_allocates_no_id() {
        for damaged in [&[0xff; 8][..], &[0; 3]] {
            let store = MemoryStore::default();
            change(&store, vec![put(b"Cd", damaged)]);
            let number = Interner::default().allocate(&store, b'd');
            assert!(matches!(number, Err(IndexError::Store(_))), "{number:?}");
        }
    }

    #[test]
    fn the_id_of_a_digest_is_not_given_to_another() {
        let store = Arc::new(MemoryStore::default());
        let publish = |bytes: &[u8]| {
            let digest = Digest::of(Algorithm::Sha256, bytes);
            let index = Index::new(store.clone());
            let put = index.transact(|facts| facts.blobs().put_inline(&digest, bytes, 1));
            put.map(|()| digest)
        };
        let one = publish(b"one").unwrap();
        // The counter is set back.
        change(store.as_ref(), vec![put(b"Cd", &1_u64.to_be_bytes())]);
        let two: Result<Digest, IndexError> = publish(b"two");
        assert!(matches!(two, Err(IndexError::Record { .. })), "{two:?}");
        let kept = Index::new(store.clone())
            .view()
            .blobs()
            .inline(&one)
            .unwrap();
        assert_eq!(kept.unwrap(), b"one");
    }

    #[test]
    fn no_id_is_allocated_twice() {
        let store = MemoryStore::default();
        let mut given = BTreeSet::new();
        for _ in 0..3 {
            // As after a restart: the rest of the last block is skipped.
            let ids = Interner::default();
            for _ in 0..=BLOCK {
                assert!(given.insert(ids.allocate(&store, b'd').unwrap()));
            }
        }
        assert!(Interner::default().allocate(&store, b'n').unwrap() > 0);
    }
}
