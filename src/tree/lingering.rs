//! Lingering names: of files that were dropped and have become facts elsewhere.
//!
//! Nobody sees such a name any more, except for a moment the process that wrote the file:
//! programs set mode and times by name once a file is closed (install), look at what they wrote,
//! or rename it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::draft::Draft;
use super::drafts::{Name, Parent};
use super::relocate::Relocation;
use super::{Writer, process};
use crate::layout::Node;

/// How long a name lingers.
const MOMENT: Duration = Duration::from_secs(5);
/// Names that linger at once; the oldest goes first.
const NAMES_MAX: usize = 32;

/// The names that linger.
#[derive(Debug, Default)]
pub(super) struct Lingering(Mutex<VecDeque<Row>>);

#[derive(Debug)]
struct Row {
    name: Name,
    writer: Writer,
    until: Instant,
    draft: Arc<Draft>,
}

impl Lingering {
    /// Lets the name of a file linger for who wrote it.
    pub(super) fn keep(&self, name: Name, writer: Writer, draft: Arc<Draft>) {
        let now = Instant::now();
        let mut rows = self.0.lock();
        rows.retain(|row| row.until > now && row.name != name);
        if rows.len() >= NAMES_MAX {
            rows.pop_front();
        }
        rows.push_back(Row {
            name,
            writer,
            until: now + MOMENT,
            draft,
        });
    }

    /// What a name leads the process that asks to.
    pub(super) fn named(&self, parent: &Node, name: &OsStr, asker: Writer) -> Option<Arc<Draft>> {
        let now = Instant::now();
        let rows = self.0.lock();
        let mut found = rows.iter().filter(|row| {
            row.until > now
                && matches!(&row.name.0, Parent::Node(node) if node == parent)
                && row.name.1 == *name
                && process::is_one(asker.pid, row.writer.pid)
        });
        found.next().map(|row| Arc::clone(&row.draft))
    }

    /// The file of this number.
    pub(super) fn get(&self, id: u64) -> Option<Arc<Draft>> {
        let rows = self.0.lock();
        let mut found = rows.iter().filter(|row| row.draft.id() == id);
        found.next().map(|row| Arc::clone(&row.draft))
    }

    /// Names go with what has moved.
    pub(super) fn follow(&self, relocation: &Relocation) {
        for row in &mut *self.0.lock() {
            row.name.0.follow(relocation);
            row.draft.follow(relocation);
        }
    }

    /// Forgets a file.
    pub(super) fn forget(&self, id: u64) {
        self.0.lock().retain(|row| row.draft.id() != id);
    }
}
