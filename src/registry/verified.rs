//! Verified: which small blobs were found to be what their digests say since the store was
//! opened.
//!
//! Their bytes are in the index, where a damaged page may have changed them. They are hashed
//! before they are served for the first time, and then not again.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::index::DigestId;

/// Digests that are remembered, 4 bytes each. One takes the place of another whose number ends
/// alike; that one is hashed once more.
const REMEMBERED: usize = 1 << 16;

/// The numbers of digests whose bytes were right.
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

    /// Whether the bytes of this digest were right.
    pub(super) fn holds(&self, id: DigestId) -> bool {
        let slot = self.slot(id);
        slot.is_some_and(|slot| slot.load(Ordering::Relaxed) == id.number())
    }

    /// The bytes of this digest are right.
    pub(super) fn remember(&self, id: DigestId) {
        if let Some(slot) = self.slot(id) {
            slot.store(id.number(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::digest::{Algorithm, Digest};
    use crate::maintenance::{Fault, Progress, check};
    use crate::registry::{Bytes, Error, Policy, Registry};
    use crate::{blobs, index};

    #[test]
    fn a_small_blob_that_rotted_in_the_index_is_never_served_but_told_and_mended_by_a_push() {
        let bytes = Arc::new(blobs::MemoryBlobs::default());
        let facts = Arc::new(index::MemoryStore::default());
        let open = || Registry::new(facts.clone(), bytes.clone(), Policy::default()).unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"small");
        let registry = open();
        registry.publish(Bytes::Held(b"small"), &digest).unwrap();
        assert_eq!(
            registry.read_blob(&digest).unwrap().read_all().unwrap(),
            b"small"
        );
        drop(registry);
        let registry = open();
        let rot = |facts: &mut index::Transaction<'_>| facts.put_inline(&digest, b"smell", 1);
        registry.index.transact(rot).unwrap();
        for _ in 0..2 {
            let read = registry.read_blob(&digest);
            assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
        }
        let found = check(&registry, &Progress::default()).unwrap();
        assert!(found.counts.contains_key(&Fault::BlobDamaged), "{found:?}");
        registry.publish(Bytes::Held(b"small"), &digest).unwrap();
        assert_eq!(
            registry.read_blob(&digest).unwrap().read_all().unwrap(),
            b"small"
        );
        // What was found right is not read again until the store is.
        assert!(
            registry
                .verified
                .holds(registry.index.view().blob(&digest).unwrap().unwrap().id)
        );
    }
}
