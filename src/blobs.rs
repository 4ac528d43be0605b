//! Blobs: bytes by digest, immutable once published.
//!
//! The seam: [`Blobs`] may keep them in local files, in memory, or in an object store. Bytes on
//! their way in are [drafts](Draft), known by a number; publication verifies them and makes
//! them durable before it returns, under their digest or still under their number, unless the
//! caller keeps them. It knows no facts: what a blob is for, and whether it may go, is the
//! registry's business.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use crate::digest::{Algorithm, Digest};

mod hasher;
mod local;
mod memory;
mod transfer;
mod unwritten;

pub use hasher::Lent;
pub use local::Local;
pub use memory::Memory;
pub use transfer::{Shareable, Way, claim, transfer, who_else_writes};
pub use unwritten::Unwritten;

/// The mode of a blob's file: nobody changes it, and its owner alone reads it.
pub const BLOB_MODE: u32 = 0o400;

/// Why bytes could not be read, written or published.
#[derive(Debug, thiserror::Error)]
pub enum BlobsError {
    /// There are no such bytes.
    #[error("blob {0} is missing from the store: run regfs fsck")]
    Missing(Digest),
    /// There is no such draft.
    #[error("staged bytes {0} are missing from the store")]
    MissingDraft(u64),
    /// The bytes are not those that the digest names.
    #[error("the {size} bytes written are {actual}, not {expected}")]
    Mismatch {
        /// What they should be.
        expected: Digest,
        /// What they are.
        actual: Digest,
        /// How many came.
        size: u64,
    },
    /// The bytes are published, and stay as they are.
    #[error("a published blob cannot be changed")]
    Published,
    /// The operating system refused.
    #[error("{path}: {error}")]
    System {
        /// The file.
        path: String,
        /// Why, by its own code.
        error: io::Error,
    },
}

/// A blob's bytes, open for reading even after the blob's removal.
pub trait Content: Send + Sync {
    /// Reads from `offset` on; fewer bytes than asked for only at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobsError>;
    /// Length in bytes.
    fn len(&self) -> u64;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The file that holds exactly these bytes, where there is one.
    fn file(&self) -> Option<&File>;
}

/// Reads as [`Content::read_at`] does from bytes that are held in memory.
pub fn read_held(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = bytes.get(offset..).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

/// Bytes on their way in.
pub trait Draft: Content {
    /// The number under which it is staged.
    fn id(&self) -> u64;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), BlobsError>;
    /// Cuts off, or fills up with zeros.
    fn truncate(&self, len: u64) -> Result<(), BlobsError>;
    /// Makes the content durable; free if nothing changed since the last time. A power cut may
    /// still take a draft in which there is nothing.
    fn sync(&self) -> Result<(), BlobsError>;
    /// Has the caller keep the whole content, and say whether that was done; free if nothing
    /// changed since the last time, or since it was made durable here. Whether it is kept or
    /// durable: not if there is more than `max` bytes of it.
    fn keep(&self, max: u64, keep: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, BlobsError>;
    /// The digest of the whole content.
    fn digest(&self, algorithm: Algorithm) -> Result<Digest, BlobsError>;
    /// The file itself, for others to read and write it without us; nothing if there is none,
    /// or it is published.
    fn lend(&self) -> Option<Lent> {
        None
    }
}

/// The space of the filesystem below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes free.
    pub free: u64,
    /// Bytes free for us.
    pub available: u64,
}

/// What the caller of a publication vouches for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vouched {
    /// That what was last [kept](Draft::keep) of the draft is so until [`Blobs::settle`] has
    /// returned: if it is all, the bytes need not be durable here before.
    pub kept: bool,
    /// That the bytes of a blob that is there are right: they stay. Otherwise they are replaced.
    pub known: bool,
}

/// A draft that became a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its length in bytes.
    pub len: u64,
    /// Where its bytes are found after a crash.
    pub survives: Survives,
}

/// Where the bytes of a new blob are found after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    /// By their digest.
    ByDigest,
    /// By their digest or by the draft's number, and [`Blobs::recover`] puts them right.
    ByNumber,
    /// Maybe nowhere, so that what was kept of them must stay so.
    Kept,
}

/// What the bytes of one staging number must become in [recovery](Blobs::recover).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingDraft<'a> {
    /// The number.
    pub id: u64,
    /// The blob as which they were published; `None` if they are a draft still, which then
    /// exists, can be written, and shares its file with no blob.
    pub blob: Option<Digest>,
    /// All of the bytes, if they were [logged](Draft::keep): they replace those of the file.
    /// Otherwise the file has them, if it exists; a draft without a file is empty.
    pub logged: Option<&'a [u8]>,
}

/// A blob that was retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub len: u64,
    /// Since when.
    pub since: SystemTime,
}

/// Bytes by digest.
pub trait Blobs: Send + Sync {
    /// A blob's bytes.
    fn open(&self, digest: &Digest) -> Result<Arc<dyn Content>, BlobsError>;
    /// Whether a blob can be opened without waiting for a disk.
    fn is_at_hand(&self, digest: &Digest) -> bool;
    /// A new, empty draft of this number, which must not be in use.
    fn draft(&self, id: u64) -> Result<Arc<dyn Draft>, BlobsError>;
    /// The draft of this number, as an earlier process left it.
    fn resume(&self, id: u64) -> Result<Arc<dyn Draft>, BlobsError>;
    /// Removes a draft, which need not exist; what is open stays readable.
    fn discard(&self, id: u64) -> Result<(), BlobsError>;
    /// Publishes a draft as `digest`, if that is what it hashes to; its bytes are durable then,
    /// unless somebody keeps them. The draft is there by its number until it is discarded, but
    /// nobody writes to it any more.
    fn publish(
        &self,
        draft: &dyn Draft,
        digest: &Digest,
        vouched: Vouched,
    ) -> Result<Published, BlobsError>;
    /// Takes back a publication that is not settled, and of which no fact could be written: the
    /// blob is the draft of this number again.
    fn take_back(&self, id: u64, digest: &Digest) -> Result<(), BlobsError>;
    /// Brings staged files and blobs into agreement with the facts after a crash. Called once,
    /// before anything else; repeating it changes nothing. Not durable before [`Blobs::settle`].
    ///
    /// `is_fact` returns `true` if a fact names a blob. A draft of `pending` that has become that
    /// of a blob without a fact takes the bytes back. If the facts are `complete`, drafts that
    /// are not in `pending` are removed.
    ///
    /// # Errors
    /// [`BlobsError::System`]. Bytes of a blob that are nowhere are no error: opening the blob
    /// reports that.
    fn recover(
        &self,
        pending: &[PendingDraft<'_>],
        complete: bool,
        is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError>;
    /// Removes a blob, which need not exist; what is open stays readable.
    fn remove(&self, digest: &Digest) -> Result<(), BlobsError>;
    /// Removes a blob, but keeps its bytes in the trash.
    fn retire(&self, digest: &Digest) -> Result<(), BlobsError>;
    /// Puts bytes that are kept elsewhere into the trash as those of a blob; durable then.
    fn retire_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<(), BlobsError>;
    /// A blob that was retired.
    fn open_retired(&self, digest: &Digest) -> Result<Arc<dyn Content>, BlobsError>;
    /// Takes a retired blob back, which must not be there; its bytes are durable then.
    fn restore(&self, digest: &Digest) -> Result<(), BlobsError>;
    /// Removes a retired blob for good; it need not exist. With `since`, one that was retired at
    /// another time stays.
    fn forget(&self, digest: &Digest, since: Option<SystemTime>) -> Result<(), BlobsError>;
    /// All retired blobs, with their lengths and since when they are retired.
    fn retired(&self) -> Result<Vec<Retired>, BlobsError>;
    /// The user to whom the bytes belong.
    fn owner(&self) -> Result<u32, BlobsError>;
    /// How a file that is open could become a blob without a copy of its bytes.
    fn shareable(&self, file: &File) -> Result<Shareable, BlobsError>;
    /// Takes in a file that is open as a blob that no fact names yet, unverified; the way in
    /// which that was done. Not durable before [`Blobs::settle`].
    fn take(&self, file: &File, digest: &Digest, way: Way) -> Result<Way, BlobsError>;
    /// Returns when all that was staged, published or taken in before is durable, and blobs are so
    /// by their digest. Once that has failed it always does: nobody knows any more which bytes
    /// are on the disk.
    fn settle(&self) -> Result<(), BlobsError>;
    /// At most `limit` blobs behind `last`, in the order of digests, with their lengths.
    fn list(&self, last: Option<&Digest>, limit: usize) -> Result<Vec<(Digest, u64)>, BlobsError>;
    /// The space below.
    fn space(&self) -> Result<Space, BlobsError>;
}

#[cfg(test)]
mod contract;
