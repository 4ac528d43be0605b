//! Recently dropped names: the names of files that were written under an arbitrary name where
//! manifests or layers live, and whose content has become facts elsewhere.
//!
//! For 5 s the process that wrote the file still finds it under that name, and nobody else does:
//! programs set mode and times by name after close (install), stat what they wrote, or rename it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::pending_file::PendingFile;
use super::pending_name::{PendingName, PendingParent};
use super::relocation::Relocation;
use super::{Writer, process};
use crate::layout::Node;

/// For how long a name can be looked up.
const LIFETIME: Duration = Duration::from_secs(5);
/// The number of names; the oldest is forgotten first.
const NAMES_MAX: usize = 32;

/// The recently dropped names of a mount.
#[derive(Debug, Default)]
pub(super) struct RecentlyDropped(Mutex<VecDeque<DroppedFile>>);

#[derive(Debug)]
struct DroppedFile {
    name: PendingName,
    writer: Writer,
    until: Instant,
    pending: Arc<PendingFile>,
}

impl RecentlyDropped {
    /// Adds a name for the process of `writer`.
    pub(super) fn insert(&self, name: PendingName, writer: Writer, pending: Arc<PendingFile>) {
        let now = Instant::now();
        let mut rows = self.0.lock();
        rows.retain(|row| row.until > now && row.name != name);
        if rows.len() >= NAMES_MAX {
            rows.pop_front();
        }
        rows.push_back(DroppedFile {
            name,
            writer,
            until: now + LIFETIME,
            pending,
        });
    }

    /// Returns the file that a name refers to for the process that asks.
    pub(super) fn lookup(
        &self,
        parent: &Node,
        name: &OsStr,
        caller: Writer,
    ) -> Option<Arc<PendingFile>> {
        let now = Instant::now();
        let rows = self.0.lock();
        let mut found = rows.iter().filter(|row| {
            row.until > now
                && matches!(&row.name.0, PendingParent::Node(node) if node == parent)
                && row.name.1 == *name
                && process::is_one(caller.pid, row.writer.pid)
        });
        found.next().map(|row| Arc::clone(&row.pending))
    }

    /// Returns the file of an id.
    pub(super) fn get(&self, id: u64) -> Option<Arc<PendingFile>> {
        let rows = self.0.lock();
        let mut found = rows.iter().filter(|row| row.pending.id() == id);
        found.next().map(|row| Arc::clone(&row.pending))
    }

    /// Applies a rename of a namespace.
    pub(super) fn follow(&self, relocation: &Relocation) {
        for row in &mut *self.0.lock() {
            row.name.0.follow(relocation);
            row.pending.follow(relocation);
        }
    }

    /// Forgets the names of a file.
    pub(super) fn forget(&self, id: u64) {
        self.0.lock().retain(|row| row.pending.id() != id);
    }
}
