//! Facts: everything that a registry's storage holds, one by one, as it comes from another
//! storage or is given to one.

use super::{Directory, Owner, Ownership};
use crate::digest::{Algorithm, Digest};
use crate::name::{LinkSet, RepositoryName, Tag, UploadId};

/// One fact. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A directory was made, and perhaps nothing is in it.
    Directory(Directory),
    /// A directory has an owner or a mode of its own, which what is below it shows.
    Ownership {
        /// Which.
        of: Owner,
        /// To whom it belongs, and who may do what with it.
        ownership: Ownership,
    },
    /// A link.
    Link {
        /// Whose.
        repository: RepositoryName,
        /// Which kind.
        set: LinkSet,
        /// The digest under which it stands.
        digest: Digest,
        /// The digest that it names.
        target: Digest,
        /// When it was written.
        pushed: u32,
    },
    /// A tag's current link.
    Current {
        /// Whose.
        repository: RepositoryName,
        /// Which.
        tag: Tag,
        /// The manifest that it is at.
        target: Digest,
        /// Since when.
        pushed: u32,
    },
    /// A blob whose bytes are there.
    Blob {
        /// Its digest.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// Since when it is there.
        created: u32,
    },
    /// An upload's start, as its registry wrote it.
    StartedAt {
        /// Whose.
        repository: RepositoryName,
        /// Which.
        upload: UploadId,
        /// What was written.
        bytes: Vec<u8>,
    },
    /// An upload has bytes.
    UploadData {
        /// Whose.
        repository: RepositoryName,
        /// Which.
        upload: UploadId,
    },
    /// A hash state of an upload.
    HashState {
        /// Whose.
        repository: RepositoryName,
        /// Of which upload.
        upload: UploadId,
        /// Its algorithm.
        algorithm: Algorithm,
        /// How many bytes it is of.
        offset: u64,
        /// When it was written.
        updated: u32,
        /// What was written.
        bytes: Vec<u8>,
    },
}
