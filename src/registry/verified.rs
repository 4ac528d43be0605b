//! Verified small blobs: those whose bytes were compared with their digests since the store was
//! opened.
//!
//! Their bytes are in the index, where a damaged page may have changed them. They are hashed before
//! they are served for the first time, and not again.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::index::DigestId;

/// Number of digests that are remembered, 4 bytes each. A digest replaces another whose id has the
/// same low bits; that one is hashed once more.
const REMEMBERED: usize = 1 << 16;

/// The ids of digests whose bytes were right.
#[derive(Debug)]
pub(super) struct Verified(Vec<AtomicU32>);

impl Default for Verified {
    fn default() -> Self {
        let nothing = || AtomicU32::new(u32::MAX);
        Self(std::iter::repeat_with(nothing).take(REMEMBERED).collect())
    }
}

impl Verified {
    fn slot(&self, id: DigestId) -> Option<&AtomicU32> {
        let number = usize::try_from(id.number()).unwrap_or_default();
        self.0.get(number % REMEMBERED)
    }

    /// Returns `true` if the bytes of this digest were found right.
    pub(super) fn contains(&self, id: DigestId) -> bool {
        let slot = self.slot(id);
        slot.is_some_and(|slot| slot.load(Ordering::Relaxed) == id.number())
    }

    /// Records that the bytes of this digest are right.
    pub(super) fn insert(&self, id: DigestId) {
        if let Some(slot) = self.slot(id) {
            slot.store(id.number(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::digest::{Algorithm, Digest};
    use crate::maintenance::{Progress, StoreFault, check};
    use crate::registry::{Bytes, Error, Policy, Registry};
    use crate::{blobs, index};

    #[test]
    fn a_small_blob_damaged_in_the_index_is_reported_not_served_and_repaired_by_a_push() {
        let bytes = Arc::new(blobs::MemoryBlobs::default());
        let store = Arc::new(index::MemoryStore::default());
        let open = || Registry::new(store.clone(), bytes.clone(), Policy::default()).unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"small");
        let registry = open();
        registry.publish(Bytes::Held(b"small"), &digest).unwrap();
        assert_eq!(
            registry.read_blob(&digest).unwrap().read_all().unwrap(),
            b"small"
        );
        drop(registry);
        let registry = open();
        let damage = |tx: &mut index::Transaction<'_>| tx.blobs().put_inline(&digest, b"smell", 1);
        registry.index.transact(damage).unwrap();
        for _ in 0..2 {
            let read = registry.read_blob(&digest);
            assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
        }
        let found = check(&registry, &Progress::default()).unwrap();
        assert!(
            found.counts.contains_key(&StoreFault::BlobDamaged),
            "{found:?}"
        );
        registry.publish(Bytes::Held(b"small"), &digest).unwrap();
        assert_eq!(
            registry.read_blob(&digest).unwrap().read_all().unwrap(),
            b"small"
        );
        // Right bytes are not hashed again until the store is opened again.
        assert!(
            registry.verified.contains(
                registry
                    .index
                    .view()
                    .blobs()
                    .get(&digest)
                    .unwrap()
                    .unwrap()
                    .id
            )
        );
    }
}
