//! Errors of the typed facts.

use super::store::StoreError;

/// Attempts at a transaction before it fails with [`IndexError::Contended`].
pub(super) const TRIES: usize = 1_000;

/// Why a fact could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record does not have its documented form.
    #[error("index record {key:02x?} is damaged: run regfs fsck")]
    Record {
        /// The key of the record.
        key: Vec<u8>,
    },
    /// Every attempt conflicted with a concurrent commit.
    #[error(
        "index key {key:02x?} was changed by others {TRIES} times during one transaction: try again"
    )]
    Contended {
        /// The key of the last conflict.
        key: Vec<u8>,
    },
    /// All 4-byte ids are allocated.
    #[error("the index has allocated all of its 2^32 ids")]
    Exhausted,
}
