//! Waiting: what may have to wait for the disk, or work for long. Who serves many with one
//! thread gives that to another one.
//!
//! Facts alone never do: they are in memory, or a page or two of the index away.

use std::ffi::OsStr;

use super::draft::{Content, Draft};
use super::handle::Open;
use super::target::Target;
use super::{Handle, Place, Tree};
use crate::layout::Node;

impl Draft {
    /// Whether it is small and will be just a fact, if anything.
    fn is_fact(&self) -> bool {
        let state = self.hold();
        let fact = match &state.target {
            Target::Later => true,
            Target::File(node) => matches!(
                node,
                Node::Link(..) | Node::CurrentLink(..) | Node::StartedAt(..) | Node::HashState(..)
            ),
            Target::Manifest(..) | Target::Layer(..) => false,
        };
        fact && matches!(state.content, Content::Small(_))
    }

    /// Whether it promises nothing yet, or is what it was written for.
    fn is_settled(&self) -> bool {
        let state = self.hold();
        state.target == Target::Later || state.version == state.committed
    }
}

impl Tree {
    /// Whether opening a place may wait.
    pub fn open_may_wait(&self, place: &Place) -> bool {
        match place {
            Place::Plain(_) => true,
            Place::Node(node) => matches!(node, Node::BlobData(_) | Node::UploadData(..)),
            Place::Draft(_) | Place::Own(_) => false,
        }
    }

    /// Whether reading, writing or closing an open file may wait.
    pub fn may_wait(&self, handle: &Handle) -> bool {
        match &handle.open {
            Open::Bytes(..) => false,
            Open::Draft(draft, _) => !draft.is_fact(),
            Open::Blob(..) | Open::Upload(..) | Open::Plain(..) => true,
        }
    }

    /// Whether its fsync may wait.
    pub fn sync_may_wait(&self, handle: &Handle) -> bool {
        match &handle.open {
            Open::Draft(draft, _) if draft.is_fact() && draft.is_settled() => {
                draft.hold().target != Target::Later && !self.registry.is_durable()
            }
            Open::Bytes(..) | Open::Blob(..) => !self.registry.is_durable(),
            Open::Draft(..) | Open::Upload(..) | Open::Plain(..) => true,
        }
    }

    /// Whether making everything durable may wait.
    pub fn durability_may_wait(&self) -> bool {
        !self.registry.is_durable()
    }

    /// Whether moving a name may wait.
    pub fn rename_may_wait(&self, parent: &Place, name: &OsStr) -> bool {
        let Place::Node(node) = parent else {
            return true;
        };
        let draft = self.drafts.named(node, name);
        draft.is_none_or(|draft| !draft.is_fact())
    }
}
