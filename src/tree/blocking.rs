//! Blocking: which operations may wait for a disk or compute for long. A caller that serves many
//! requests on one thread passes those to other threads.
//!
//! Operations on facts alone do not block: facts are in memory, or a page or two of the index away.

use std::ffi::OsStr;
use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::MetadataExt;

use rustix::io::{ReadWriteFlags, preadv2};

use super::commit::is_document;
use super::handle::HandleTarget;
use super::pending_content::PendingContent;
use super::pending_file::PendingFile;
use super::pending_table::PendingEntry;
use super::write_intent::WriteIntent;
use super::{Handle, Place, Tree};
use crate::layout::Node;
use crate::name::LinkSet;
use crate::registry::UploadDurability;

/// Returns `true` if a file has no name any more, so that its last close frees its bytes.
fn is_gone(file: &File) -> bool {
    file.metadata().map_or(true, |now| now.nlink() == 0)
}

impl PendingFile {
    /// Returns `true` if a commit of the content is only a small fact or nothing, and nobody else
    /// holds the lock.
    fn is_fact(&self) -> bool {
        let Some(state) = self.try_lock() else {
            return false;
        };
        let fact = match &state.intent {
            WriteIntent::AwaitRename => true,
            // Linking a revision reads and validates its manifest.
            WriteIntent::File(Node::Link(_, LinkSet::Revisions, _))
            | WriteIntent::Manifest(..)
            | WriteIntent::Layer(..) => false,
            WriteIntent::File(node) => matches!(
                node,
                Node::Link(..) | Node::CurrentLink(..) | Node::StartedAt(..) | Node::HashState(..)
            ),
        };
        let PendingContent::Buffered(buffered) = &state.content else {
            return false;
        };
        fact && !is_document(buffered.bytes())
    }

    /// Returns `true` if somebody holds the lock, possibly for as long as a disk takes.
    fn is_busy(&self) -> bool {
        self.try_lock().is_none()
    }
}

impl Tree {
    /// Returns `true` if fsync of a file need not be durable: it is metadata of an upload, and the
    /// policy `uploads=fast` relaxes that.
    pub(super) fn is_relaxed_metadata(&self, intent: &WriteIntent) -> bool {
        let note = matches!(
            intent,
            WriteIntent::File(Node::StartedAt(..) | Node::HashState(..))
        );
        note && self.registry.policy().uploads == UploadDurability::Fast
    }
}

/// Which operations may block: on a disk, or on the lock of a directory.
#[derive(Clone, Copy, Debug)]
pub struct BlockingChecks<'a>(pub(super) &'a Tree);

impl Tree {
    /// Returns which operations may block: on a disk, or on the lock of a directory.
    pub fn blocking(&self) -> BlockingChecks<'_> {
        BlockingChecks(self)
    }
}

impl BlockingChecks<'_> {
    /// Returns `true` if [`OpenFileAccess::open`](super::OpenFileAccess::open) of a place may
    /// block.
    pub fn open_may_block(self, place: &Place) -> bool {
        match place {
            Place::Plain(_) => true,
            Place::Node(Node::BlobData(digest)) => {
                !self.0.registry.queries().is_blob_at_hand(digest)
            }
            Place::Node(Node::UploadData(name, id)) => !self.0.registry.uploads().is_open(name, id),
            Place::Pending(_) => self.0.blocking().stat_may_block(place),
            Place::Node(_) | Place::Hidden(_) | Place::Control(_) => false,
        }
    }

    /// Returns `true` if [`MetadataAccess::get`](super::MetadataAccess::get) of a place may block:
    /// somebody may hold the lock of a pending file.
    pub fn stat_may_block(self, place: &Place) -> bool {
        match place {
            Place::Pending(id) => self.0.pending(*id).is_ok_and(|pending| pending.is_busy()),
            Place::Plain(_) | Place::Node(_) | Place::Hidden(_) | Place::Control(_) => false,
        }
    }

    /// Returns `true` if creating a file or directory may block: if a file of the host is created.
    pub fn create_may_block(self, parent: &Place, name: &OsStr) -> bool {
        let Place::Node(parent) = parent else {
            return true;
        };
        let child = name.to_str().and_then(|name| parent.child(name));
        matches!(child, Some(Node::UploadData(..)))
    }

    /// As [`OpenFileAccess::read`](super::OpenFileAccess::read) if the host has all of the bytes in
    /// its page cache; otherwise `None`.
    pub fn try_read_cached(self, handle: &Handle, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let file = match &handle.open {
            HandleTarget::Blob(reading, _) => reading.file()?,
            HandleTarget::Plain(file) => file,
            _ => return None,
        };
        let room = buffer.len();
        let mut parts = [IoSliceMut::new(buffer)];
        let read = preadv2(file, &mut parts, offset, ReadWriteFlags::NOWAIT).ok()?;
        // A short read is complete only at the end of the file.
        let ends = || {
            file.metadata()
                .is_ok_and(|now| now.len() <= offset + read as u64)
        };
        (read == room || ends()).then_some(read)
    }

    /// Returns `true` if the last close of an open file may block. Closing a file whose bytes stay
    /// does not.
    pub fn release_may_block(self, handle: &Handle) -> bool {
        match &handle.open {
            HandleTarget::Blob(reading, _) => reading.file().is_some_and(is_gone),
            HandleTarget::Upload(staging, _) => staging.file().is_some_and(is_gone),
            _ => self.0.blocking().may_block(handle),
        }
    }

    /// Returns `true` if removing a name may block. Removing the metadata of an upload does not.
    pub fn remove_may_block(self, parent: &Place, name: &OsStr) -> bool {
        let Place::Node(parent) = parent else {
            return true;
        };
        let child = name.to_str().and_then(|name| parent.child(name));
        !matches!(
            child,
            Some(
                Node::Upload(..)
                    | Node::StartedAt(..)
                    | Node::HashStates(..)
                    | Node::HashStatesAlgorithm(..)
                    | Node::HashState(..)
            )
        )
    }

    /// Returns `true` if reading, writing or closing an open file may block, not counting the wait
    /// for its fact to become durable.
    pub fn may_block(self, handle: &Handle) -> bool {
        match &handle.open {
            HandleTarget::Control(..) | HandleTarget::Rendered(..) => false,
            HandleTarget::Pending(pending, _) => !pending.is_fact(),
            HandleTarget::Blob(..) | HandleTarget::Upload(..) | HandleTarget::Plain(..) => true,
        }
    }

    /// Returns `true` if fsync of a directory need not be durable: it holds metadata of an upload,
    /// and the policy `uploads=fast` relaxes that.
    pub fn is_relaxed_metadata_directory(self, place: &Place) -> bool {
        let note = matches!(
            place,
            Place::Node(Node::Upload(..) | Node::HashStates(..) | Node::HashStatesAlgorithm(..))
        );
        note && self.0.registry.policy().uploads == UploadDurability::Fast
    }

    /// Returns `true` if everything up to a position of the journal is durable; up to the current
    /// position if `None`.
    pub fn is_durable(self, position: Option<u64>) -> bool {
        let position = position.unwrap_or_else(|| self.0.registry.position());
        self.0.registry.is_durable(position)
    }

    /// Returns `true` if renaming a name may block.
    pub fn rename_may_block(self, parent: &Place, name: &OsStr) -> bool {
        let Place::Node(node) = parent else {
            return true;
        };
        match self.0.pending_files.lookup_in(node, name) {
            Some(PendingEntry::File(pending)) => !pending.is_fact(),
            Some(PendingEntry::Directory(_)) | None => true,
        }
    }
}
