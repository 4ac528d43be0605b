//! Blobs: bytes by digest, immutable once published.
//!
//! The seam: an implementation of [`Blobs`] stores them in local files, in memory, or in an object
//! store. Bytes that are still being written are [drafts](Draft), known by a number. Publication
//! verifies them and makes them durable, under their digest or still under their number, unless
//! the caller has logged them. Nothing here knows facts: the registry decides what a blob is for
//! and when it is removed.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::digest::{Algorithm, Digest};
use crate::dir::{Dir, FilePath};

mod filesystem;
mod hasher;
mod local;
mod memory;
mod read_only;
mod transfer;

pub use filesystem::{DiskSpace, Filesystem};
pub use hasher::SharedFile;
pub use local::LocalBlobs;
pub use memory::MemoryBlobs;
pub use read_only::ReadOnlyBlobs;
pub use transfer::{Shareable, TransferMode, claim, other_writers, transfer};

/// The mode of a blob's file: only its owner may read it, and nobody may write it.
pub const BLOB_MODE: u32 = 0o400;

/// What the names of temporary files in staging end with. Opening a store removes them.
const COPY: &str = "copy";

/// Why bytes could not be read, written or published.
#[derive(Debug, thiserror::Error)]
pub enum BlobsError {
    /// The blob does not exist.
    #[error("blob {0} is missing from the store: run regfs fsck")]
    Missing(Digest),
    /// The draft does not exist.
    #[error("staged bytes {0} are missing from the store")]
    MissingDraft(u64),
    /// The bytes do not have the digest under which they were to be published.
    #[error("the {size} bytes written are {actual}, not {expected}")]
    Mismatch {
        /// The digest that was expected.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
        /// Their length in bytes.
        size: u64,
    },
    /// The draft is published and cannot be written any more.
    #[error("a published blob cannot be changed")]
    Published,
    /// The operating system returned an error.
    #[error("{path}: {error}")]
    System {
        /// The file.
        path: String,
        /// The error.
        error: io::Error,
    },
}

/// Returns a conversion of an error of the operating system about a file.
fn about(path: &FilePath) -> impl FnOnce(io::Error) -> BlobsError {
    move |error| BlobsError::System {
        path: path.to_string(),
        error,
    }
}

/// The same for a path beneath a directory.
fn beneath(dir: &Dir, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> BlobsError {
    move |error| about(&FilePath::new(dir, path.as_ref()))(error)
}

/// Removes a file. Returns `false` if there was none.
fn remove_file(path: &FilePath) -> Result<bool, BlobsError> {
    path.remove().map_err(about(path))
}

/// Bytes of the store that are open for reading: a blob, or a draft. They stay readable after
/// their removal.
pub trait StoredBytes: Send + Sync {
    /// Reads from byte `offset` on and returns the count: fewer than the buffer holds only at the
    /// end.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobsError>;
    /// Returns the length in bytes.
    fn len(&self) -> u64;
    /// Returns `true` if the length is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Returns the file that holds exactly these bytes, or `None` if they are in memory.
    fn file(&self) -> Option<&File>;
}

/// Implements [`StoredBytes::read_at`] for bytes in memory.
pub fn read_held(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = bytes.get(offset..).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

/// Staged bytes: a blob that is still being written, known by its number.
pub trait Draft: StoredBytes {
    /// Returns the number.
    fn id(&self) -> u64;
    /// Writes all of `bytes` at byte `offset`; a gap before it reads as zeros.
    ///
    /// # Errors
    /// [`BlobsError::Published`]; [`BlobsError::System`], when a part may be written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), BlobsError>;
    /// Cuts the content to `len` bytes, or extends it with zeros.
    ///
    /// # Errors
    /// [`BlobsError::Published`] and [`BlobsError::System`].
    fn truncate(&self, len: u64) -> Result<(), BlobsError>;
    /// Makes the content durable. Costs nothing if it is durable already. A draft without bytes
    /// may still be gone after a power cut; [recovery](Blobs::recover) makes it again.
    ///
    /// # Errors
    /// [`BlobsError::System`]. After one failure this draft never counts as durable again: the
    /// kernel reports lost pages once only.
    fn sync(&self) -> Result<(), BlobsError>;
    /// Passes the content to `log` unless it is unchanged since it was last logged or synced.
    /// `log` returns `true` once it has logged the bytes. Returns whether the content is logged
    /// or durable; `false` if it is longer than `max` bytes.
    ///
    /// # Errors
    /// Those of [`Draft::sync`].
    fn log(&self, max: u64, log: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, BlobsError>;
    /// Returns the digest of the content. Writers wait meanwhile.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    fn digest(&self, algorithm: Algorithm) -> Result<Digest, BlobsError>;
    /// Publishes the content as blob `digest`, after verifying it. The bytes are durable when
    /// this returns, unless the caller [vouches](Vouched) for logged ones. The staged bytes stay
    /// under their number until they are [discarded](Blobs::discard), and cannot be written any
    /// more.
    ///
    /// # Errors
    /// [`BlobsError::Mismatch`] if the content has another digest; [`BlobsError::System`].
    /// Nothing is published then.
    fn publish(&self, digest: &Digest, vouched: Vouched) -> Result<Published, BlobsError>;
    /// Undoes a publication that no fact names, and that has not been [synced](Blobs::sync): the
    /// blob is gone, and the draft can be written again.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    fn unpublish(&self, digest: &Digest) -> Result<(), BlobsError>;
    /// Returns the file itself, so that others can read and write it without this draft; `None`
    /// if the bytes are in memory or published.
    fn share(&self) -> Option<SharedFile> {
        None
    }
}

/// Where blobs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Among the blobs that facts may name.
    Live,
    /// In the trash.
    Trash,
}

/// A blob in an [`Area`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub len: u64,
    /// In the trash, when it came there. Elsewhere the time has no meaning.
    pub since: SystemTime,
}

/// Which draft of a number is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftState {
    /// A new, empty one.
    New,
    /// The one that is there, perhaps from an earlier process.
    Existing,
}

/// Where the bytes of an imported blob come from.
#[derive(Clone, Copy, Debug)]
pub enum ImportSource<'a> {
    /// An open file, and how its bytes are transferred.
    File(&'a File, TransferMode),
    /// Memory.
    Bytes(&'a [u8]),
}

/// What the caller of a publication vouches for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vouched {
    /// The bytes that were last passed to the caller by [`Draft::log`] stay logged until
    /// [`Blobs::sync`] has returned. If they are all, publication does not make them durable.
    pub logged: bool,
    /// A blob of this digest that exists has the right bytes, and stays. Otherwise it is replaced.
    pub known: bool,
}

/// A draft that became a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its length in bytes.
    pub len: u64,
    /// Where its bytes are after a crash.
    pub survives: Survives,
}

/// Where the bytes of a new blob are after a crash, until [`Blobs::sync`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    /// Under their digest.
    ByDigest,
    /// Under their digest or the number of the draft; [`Blobs::recover`] completes the
    /// publication.
    ByNumber,
    /// Possibly nowhere: the logged bytes must stay.
    Logged,
}

/// What the bytes of one staging number must become in [recovery](Blobs::recover).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingDraft<'a> {
    /// The number.
    pub id: u64,
    /// The blob as which they were published; `None` if they are a draft still, which then
    /// exists, can be written, and shares its file with no blob.
    pub blob: Option<Digest>,
    /// All of the bytes, if they were [logged](Draft::log): they replace those of the file.
    /// Otherwise the file has them, if it exists; a draft without a file is empty.
    pub logged: Option<&'a [u8]>,
}

/// Bytes by digest.
pub trait Blobs: Send + Sync {
    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`BlobsError::Missing`] and [`BlobsError::System`].
    fn open(&self, area: Area, digest: &Digest) -> Result<Arc<dyn StoredBytes>, BlobsError>;
    /// Returns `true` if a live blob can be opened without waiting for a disk.
    fn is_cached(&self, digest: &Digest) -> bool;
    /// Lists at most `limit` blobs after `last`, in the order of digests.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    fn list(
        &self,
        area: Area,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, BlobsError>;
    /// Removes a blob for good, which need not exist. With `since`, only a blob that has been in
    /// the area since that time is removed.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    fn remove(
        &self,
        area: Area,
        digest: &Digest,
        since: Option<SystemTime>,
    ) -> Result<(), BlobsError>;
    /// Moves a blob from the other area into this one and replaces a blob of the same digest
    /// there. Durable when it returns. A blob that is not live need not exist, as with
    /// [`Blobs::remove`].
    ///
    /// # Errors
    /// [`BlobsError::Missing`] if the blob is not in the trash; [`BlobsError::System`].
    fn move_to(&self, area: Area, digest: &Digest) -> Result<(), BlobsError>;
    /// Stores bytes as a blob without verifying them, and returns how they were transferred. They
    /// replace a blob of the same digest, which no fact may name. A blob in the trash is durable
    /// when this returns, a live one after [`Blobs::sync`].
    ///
    /// # Errors
    /// [`BlobsError::System`]. Nothing is stored then.
    fn import(
        &self,
        area: Area,
        digest: &Digest,
        source: ImportSource<'_>,
    ) -> Result<TransferMode, BlobsError>;
    /// Opens the draft of a number. All who have the same draft open share it.
    ///
    /// # Errors
    /// [`BlobsError::MissingDraft`] if it should exist and does not; [`BlobsError::System`], also
    /// if it should be new and exists.
    fn draft(&self, id: u64, state: DraftState) -> Result<Arc<dyn Draft>, BlobsError>;
    /// Removes a draft, which need not exist. Whoever has it open can still read it.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    fn discard(&self, id: u64) -> Result<(), BlobsError>;
    /// Brings staged bytes and blobs into agreement with the facts after a crash. Called before
    /// anything else; repeating it changes nothing. Not durable before [`Blobs::sync`].
    ///
    /// `is_fact` returns `true` if a fact names a blob. A pending draft whose bytes are also
    /// those of a blob without a fact takes them back. If the facts are `complete`, drafts that
    /// are not in `pending` are removed.
    ///
    /// # Errors
    /// [`BlobsError::System`]. A blob whose bytes are nowhere is no error: opening it reports
    /// that.
    fn recover(
        &self,
        pending: &[PendingDraft<'_>],
        complete: bool,
        is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError>;
    /// Waits until everything that was staged, published or imported before is durable, and all
    /// blobs are durable under their digests.
    ///
    /// # Errors
    /// [`BlobsError::System`]. After one failure every later call fails: nobody knows any more
    /// which bytes are on the disk.
    fn sync(&self) -> Result<(), BlobsError>;
    /// Returns the filesystem that holds the bytes.
    fn filesystem(&self) -> &Filesystem;
}

#[cfg(test)]
mod contract;
