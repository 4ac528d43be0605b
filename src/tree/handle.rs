//! Handles: open files, and what each of them reads and writes. The operations are not here.

use std::fs::File;
use std::sync::Arc;

use super::access::Access;
use super::control_file::ControlFile;
use super::pending_file::PendingFile;
use super::place::Place;
use super::{Attributes, TreeError};
use crate::digest::Digest;
use crate::layout::Node;
use crate::registry::{OpenBlob, SharedFile, StagedUpload};

/// How the kernel may cache the content of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Keep what is cached: the content changes only where the kernel is told, or by a write.
    Keep,
    /// Drop what is cached at open, then cache.
    Fresh,
    /// Pass every read and write to the daemon.
    Direct,
    /// As `Direct`, and drop what is cached: this handle writes new content.
    Writing,
}

/// A file that the kernel may read, or read and write, without the daemon (FUSE passthrough) for
/// as long as this value exists.
#[derive(Debug)]
pub enum PassthroughFile {
    /// The file of a blob, for reading.
    Blob(OpenBlob),
    /// The file of an upload, for reading and writing.
    Upload(SharedFile),
}

impl PassthroughFile {
    /// Returns the file; `None` if the blob has no file since its bytes are in the index.
    pub fn file(&self) -> Option<&File> {
        match self {
            Self::Blob(reading) => reading.file(),
            Self::Upload(shared) => Some(shared.file()),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub struct Handle {
    pub(super) open: HandleTarget,
    access: Access,
}

/// What an open file reads and writes.
#[derive(Debug)]
pub(super) enum HandleTarget {
    /// A control file: the number of the text that it had when it was opened, and its attributes
    /// then.
    Control(ControlFile, u64, Attributes),
    /// A small file of the layout whose content follows from its fact, with content and attributes
    /// as of open. Reads return the current content, since the kernel caches it for all who open
    /// the file later; the old one is returned only once the fact is gone.
    Rendered(Node, Vec<u8>, Attributes),
    /// A blob.
    Blob(OpenBlob, Attributes),
    /// A pending file, and the place of the layout that was opened for writing, if any.
    Pending(Arc<PendingFile>, Option<Place>),
    /// The bytes of an upload.
    Upload(StagedUpload, Attributes),
    /// A plain file.
    Plain(File),
}

impl Handle {
    pub(super) fn new(open: HandleTarget, access: Access) -> Arc<Self> {
        Arc::new(Self { open, access })
    }

    /// Returns what the file was opened for.
    pub(super) fn access(&self) -> Access {
        self.access
    }

    pub(super) fn require_write(&self) -> Result<(), TreeError> {
        if self.access == Access::Write {
            Ok(())
        } else {
            Err(TreeError::NotOpen("writing"))
        }
    }
}

/// Returns the digest of a blob that was opened for writing, if nothing was written yet. Reads and
/// the size are those of the blob until the pending file has the first new bytes.
pub(super) fn unwritten_blob<'a>(
    pending: &PendingFile,
    place: Option<&'a Place>,
) -> Option<&'a Digest> {
    match place {
        Some(Place::Node(Node::BlobData(digest))) if pending.is_unwritten() => Some(digest),
        _ => None,
    }
}
