//! Waiting: what may have to wait for the disk, or work for long. Who serves many with one
//! thread gives that to another one.
//!
//! Facts alone never do: they are in memory, or a page or two of the index away.

use std::ffi::OsStr;
use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::MetadataExt;

use rustix::io::{ReadWriteFlags, preadv2};

use super::commit::is_document;
use super::content::Content;
use super::draft::Draft;
use super::drafts::Named;
use super::handle::Open;
use super::target::Target;
use super::{Handle, Place, Tree};
use crate::layout::Node;
use crate::name::LinkSet;
use crate::registry::UploadDurability;

/// Whether a file has lost its last name, so that its bytes go with its last close.
fn is_gone(file: &File) -> bool {
    file.metadata().map_or(true, |now| now.nlink() == 0)
}

impl Draft {
    /// Whether it is small and will be just a fact, if anything, and nobody is at work on it.
    fn is_fact(&self) -> bool {
        let Some(state) = self.try_hold() else {
            return false;
        };
        let fact = match &state.target {
            Target::Later => true,
            // To link a revision is to read and judge it.
            Target::File(Node::Link(_, LinkSet::Revisions, _))
            | Target::Manifest(..)
            | Target::Layer(..) => false,
            Target::File(node) => matches!(
                node,
                Node::Link(..) | Node::CurrentLink(..) | Node::StartedAt(..) | Node::HashState(..)
            ),
        };
        fact && matches!(&state.content, Content::Small(held) if !is_document(held.bytes()))
    }

    /// Whether somebody is at work on it, perhaps for as long as a disk takes.
    fn is_busy(&self) -> bool {
        self.try_hold().is_none()
    }
}

impl Tree {
    /// Whether opening a place may wait.
    pub fn open_may_wait(&self, place: &Place) -> bool {
        match place {
            Place::Plain(_) => true,
            Place::Node(Node::BlobData(digest)) => !self.registry.queries().is_blob_at_hand(digest),
            Place::Node(Node::UploadData(name, id)) => !self.registry.uploads().is_open(name, id),
            Place::Draft(_) => self.stat_may_wait(place),
            Place::Node(_) | Place::Hidden(_) | Place::Own(_) => false,
        }
    }

    /// Whether stat of a place may: somebody may be at work on a file that is being written.
    pub fn stat_may_wait(&self, place: &Place) -> bool {
        match place {
            Place::Draft(id) => self.draft(*id).is_ok_and(|draft| draft.is_busy()),
            Place::Plain(_) | Place::Node(_) | Place::Hidden(_) | Place::Own(_) => false,
        }
    }

    /// Whether making a file or a directory may wait: where a file of the host is made for it.
    pub fn create_may_wait(&self, parent: &Place, name: &OsStr) -> bool {
        let Place::Node(parent) = parent else {
            return true;
        };
        let child = name.to_str().and_then(|name| parent.child(name));
        matches!(child, Some(Node::UploadData(..)))
    }

    /// Reads like [`Tree::read`] what is in memory; nothing if some of it may not be.
    pub fn read_at_hand(&self, handle: &Handle, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let file = match &handle.open {
            Open::Blob(reading, _) => reading.file()?,
            Open::Plain(file) => file,
            _ => return None,
        };
        let room = buffer.len();
        let mut parts = [IoSliceMut::new(buffer)];
        let read = preadv2(file, &mut parts, offset, ReadWriteFlags::NOWAIT).ok()?;
        // Fewer bytes are all only if the file ends behind them.
        let ends = || {
            file.metadata()
                .is_ok_and(|now| now.len() <= offset + read as u64)
        };
        (read == room || ends()).then_some(read)
    }

    /// Whether the last close of an open file may wait: not to let go of bytes that stay.
    pub fn release_may_wait(&self, handle: &Handle) -> bool {
        match &handle.open {
            Open::Blob(reading, _) => reading.file().is_some_and(is_gone),
            Open::Upload(staging, _) => staging.file().is_some_and(is_gone),
            _ => self.may_wait(handle),
        }
    }

    /// Whether removing a name may wait: not what a registry notes of an upload.
    pub fn remove_may_wait(&self, parent: &Place, name: &OsStr) -> bool {
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

    /// Whether reading, writing or closing an open file may wait,
    /// but for its fact to be durable.
    pub fn may_wait(&self, handle: &Handle) -> bool {
        match &handle.open {
            Open::Own(..) | Open::Shown(..) => false,
            Open::Draft(draft, _) => !draft.is_fact(),
            Open::Blob(..) | Open::Upload(..) | Open::Plain(..) => true,
        }
    }

    /// Whether fsync of this promises nothing, by policy: it notes how an upload goes on.
    pub(super) fn is_note(&self, target: &Target) -> bool {
        let note = matches!(
            target,
            Target::File(Node::StartedAt(..) | Node::HashState(..))
        );
        note && self.registry.policy().uploads == UploadDurability::Fast
    }

    /// The same of a directory.
    pub fn is_note_directory(&self, place: &Place) -> bool {
        let note = matches!(
            place,
            Place::Node(Node::Upload(..) | Node::HashStates(..) | Node::HashStatesAlgorithm(..))
        );
        note && self.registry.policy().uploads == UploadDurability::Fast
    }

    /// Whether everything up to a position is durable; by now, if there is none.
    pub fn is_durable(&self, position: Option<u64>) -> bool {
        let position = position.unwrap_or_else(|| self.registry.position());
        self.registry.is_durable(position)
    }

    /// Whether moving a name may wait.
    pub fn rename_may_wait(&self, parent: &Place, name: &OsStr) -> bool {
        let Place::Node(node) = parent else {
            return true;
        };
        match self.drafts.named_in(node, name) {
            Some(Named::File(draft)) => !draft.is_fact(),
            Some(Named::Directory(_)) | None => true,
        }
    }
}
