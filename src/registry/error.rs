//! Why the registry did not do what it was asked to.
//!
//! Not errno: how a refusal looks to a program is decided in one place, by the kernel's side.

use crate::blobs::BlobsError;
use crate::digest::Digest;
use crate::index::{IndexError, JournalDamage, StoreError};
use crate::manifest::Refusal;
use crate::name::RepositoryName;

/// Why the registry did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The fact or directory that was named, or the one that must hold it, does not exist.
    #[error("does not exist")]
    Missing,
    /// What should be made exists.
    #[error("exists already")]
    Exists,
    /// A directory to be removed still holds something.
    #[error("is not empty")]
    NotEmpty,
    /// What is renamed, or something below it, would have too long a name.
    #[error("{name} is longer than a repository's name can be: at most {max} bytes")]
    NameTooLong {
        /// The name.
        name: String,
        /// Bytes that it may have.
        max: usize,
    },
    /// What is renamed, or something below it, would have no repository's name.
    #[error("{name} is no repository's name: expected lower-case components joined by /")]
    NoName {
        /// The name.
        name: String,
    },
    /// More is below than can be renamed at once.
    #[error("below {name} are more than {max} repositories: move them one by one")]
    TooManyBelow {
        /// What was to be renamed.
        name: String,
        /// Repositories that can be.
        max: usize,
    },
    /// A value of another kind than what the layout has at a path.
    #[error("{path} holds something else")]
    Misplaced {
        /// The path, below `v2`.
        path: String,
    },
    /// A manifest is not admitted.
    #[error("manifest refused for {repository}: {refusal}")]
    Refused {
        /// Where it should have gone.
        repository: RepositoryName,
        /// The rule, the place in the document, the value, and what was expected.
        refusal: Box<Refusal>,
    },
    /// Bytes that a manifest still needs would be lost.
    #[error(
        "blob {digest} is needed by manifest {manifest}: delete the manifest first, or mount without -o delete=guarded"
    )]
    Referenced {
        /// The bytes.
        digest: Digest,
        /// A manifest that some repository holds, and that names them.
        manifest: Digest,
    },
    /// The filesystem is full, but for what keeps the store manageable.
    #[error(
        "the store's filesystem has {available} bytes left, below its reserve of {reserve}: free space; nothing needs to be mounted again"
    )]
    Full {
        /// Bytes that are left.
        available: u64,
        /// Bytes that are kept.
        reserve: u64,
    },
    /// A blob's file is not what was published.
    #[error("blob {digest} is damaged: {actual} bytes are left of {expected}: run regfs scrub")]
    Damaged {
        /// The blob.
        digest: Digest,
        /// Bytes that it has.
        actual: u64,
        /// Bytes that it had.
        expected: u64,
    },
    /// A blob's bytes are not what its name says.
    #[error(
        "blob {digest} is damaged: its bytes are others: regfs fsck --repair takes them out, so that it can be pushed again"
    )]
    Corrupt {
        /// The blob.
        digest: Digest,
    },
    /// The trash does not hold a blob that should be restored.
    #[error("the trash holds no {digest}")]
    NotInTrash {
        /// The blob.
        digest: Digest,
    },
    /// A long operation was stopped.
    #[error("interrupted; run the same command again to resume")]
    Stopped,
    /// Something small (a start time, a hash state) is larger than it may be.
    #[error("{bytes} bytes are too many: at most {max}")]
    TooLarge {
        /// What came.
        bytes: usize,
        /// What may come.
        max: usize,
    },
    /// A link's content is no digest.
    #[error("link content {content:?} is no digest: expected alg:hex without a newline")]
    Malformed {
        /// The content, shortened.
        content: String,
    },
    /// The directory cannot be, or become, a store.
    #[error("store {path}: {reason}")]
    Store {
        /// The directory.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The index did not answer, or could not be written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Bytes could not be read, written or verified.
    #[error(transparent)]
    Blobs(#[from] BlobsError),
}

impl Error {
    /// Whether the bytes of a blob are not where they should be.
    pub fn is_missing_blob(&self) -> bool {
        matches!(self, Self::Blobs(BlobsError::Missing(_)))
    }

    /// What is wrong with the journal, if it is that.
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
