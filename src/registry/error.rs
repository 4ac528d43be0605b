//! Errors of the registry.
//!
//! They are not errnos: `fuse/errno.rs` decides which errno a program sees.

use crate::blobs::BlobsError;
use crate::digest::Digest;
use crate::index::{IndexError, JournalDamage, StoreError};
use crate::manifest::Refusal;
use crate::name::RepositoryName;

/// Why the registry refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The fact or directory, or the one that must contain it, does not exist.
    #[error("does not exist")]
    Missing,
    /// The directory to be made exists.
    #[error("exists already")]
    Exists,
    /// The directory to be removed is not empty.
    #[error("is not empty")]
    NotEmpty,
    /// A rename would give a repository too long a name.
    #[error("{name} is too long for the name of a repository: at most {max} bytes")]
    NameTooLong {
        /// The name.
        name: String,
        /// Largest length in bytes.
        max: usize,
    },
    /// A rename would give a repository a name that no repository can have.
    #[error("{name} is not the name of a repository: expected lower-case components joined by /")]
    NoName {
        /// The name.
        name: String,
    },
    /// A rename would affect more repositories than one transaction can rename.
    #[error("more than {max} repositories are below {name}: rename them one by one")]
    TooManyBelow {
        /// The directory to be renamed.
        name: String,
        /// Most repositories that one rename may affect.
        max: usize,
    },
    /// The layout has no such value at the path.
    #[error("{path} cannot have a value of this kind")]
    Misplaced {
        /// The path, below `v2`.
        path: String,
    },
    /// A manifest was not admitted.
    #[error("manifest refused for {repository}: {refusal}")]
    Refused {
        /// The repository in which it was to be stored.
        repository: RepositoryName,
        /// The rule, the place in the document, the value, and the expected value.
        refusal: Box<Refusal>,
    },
    /// A manifest still needs the blob to be removed.
    #[error(
        "blob {digest} is needed by manifest {manifest}: delete the manifest first, or mount without -o delete=guarded"
    )]
    Referenced {
        /// The blob.
        digest: Digest,
        /// A manifest that references it and that some repository holds.
        manifest: Digest,
    },
    /// Only the reserve is free on the store's filesystem.
    #[error(
        "the store's filesystem has {available} bytes left, less than the reserve of {reserve}: free some space, no remount is needed"
    )]
    Full {
        /// Free bytes.
        available: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// A blob's file has another length than the published bytes.
    #[error(
        "blob {digest} is damaged: its file has {actual} bytes instead of {expected}: run regfs scrub"
    )]
    Damaged {
        /// The blob.
        digest: Digest,
        /// Length in bytes of the file.
        actual: u64,
        /// Length in bytes of the published bytes.
        expected: u64,
    },
    /// A blob's bytes do not have its digest.
    #[error(
        "blob {digest} is damaged: its bytes do not have this digest: regfs fsck --repair moves it to the trash, so that it can be pushed again"
    )]
    Corrupt {
        /// The blob.
        digest: Digest,
    },
    /// The trash does not have the blob to be restored.
    #[error("the trash has no blob {digest}")]
    NotInTrash {
        /// The blob.
        digest: Digest,
    },
    /// A long operation was interrupted.
    #[error("interrupted; run the same command again to resume")]
    Stopped,
    /// Upload metadata (a start time or a hash state) is longer than its limit.
    #[error("{bytes} bytes are too long: at most {max}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The content of a link is not a digest.
    #[error("link content {content:?} is not a digest: expected alg:hex without a newline")]
    Malformed {
        /// The content, shortened.
        content: String,
    },
    /// The directory is not a store and cannot become one.
    #[error("store {path}: {reason}")]
    Store {
        /// The directory.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Bytes cannot be read, written or verified.
    #[error(transparent)]
    Blobs(#[from] BlobsError),
}

impl Error {
    /// Returns `true` if the bytes of a blob are missing.
    pub fn is_missing_blob(&self) -> bool {
        matches!(self, Self::Blobs(BlobsError::Missing(_)))
    }

    /// Returns the damage of the journal, if that is the error.
    pub fn journal_damage(&self) -> Option<&JournalDamage> {
        match self {
            Self::Index(IndexError::Store(StoreError::Journal(damage))) => Some(damage),
            _ => None,
        }
    }

    /// Returns `true` if the bytes of a blob are not those that were published.
    pub fn is_damaged_blob(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Corrupt { .. })
    }
}
