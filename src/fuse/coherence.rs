//! Notification: the kernel told of changes that it did not see.
//!
//! Threads of its own do that, and only then send the answer to the request which made the
//! change: whoever made it finds the kernel knowing of it. A request's own thread must not, since
//! the kernel may hold for the request what it needs to take note.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, OnceLock};

use fuser::{INodeNo, Notifier};
use parking_lot::Mutex;

use super::task::Task;
use super::workers::Workers;

/// A result, and the inodes of which the kernel must drop what it caches before it gets that.
#[derive(Debug)]
pub(super) struct Coherent<T> {
    pub(super) value: T,
    pub(super) stale: Vec<u64>,
}

impl<T> Coherent<T> {
    /// Returns a result after which everything that the kernel caches is still valid.
    pub(super) fn unchanged(value: T) -> Self {
        Self {
            value,
            stale: Vec::new(),
        }
    }

    /// Converts the result.
    pub(super) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Coherent<U> {
        Coherent {
            value: convert(self.value),
            stale: self.stale,
        }
    }
}

/// The way to tell the kernel.
pub(super) struct Kernel {
    notifier: Arc<OnceLock<Notifier>>,
    workers: Mutex<Workers>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

impl Kernel {
    /// Starts a thread.
    pub(super) fn start() -> io::Result<Self> {
        let mut workers = Workers::new("notifier", usize::MAX);
        workers.start()?;
        Ok(Self {
            notifier: Arc::default(),
            workers: Mutex::new(workers),
        })
    }

    /// Gives the way to the kernel, which is there once the mount is.
    pub(super) fn connect(&self, notifier: Notifier) {
        // There is one mount; a second connection would be the same.
        let _known = self.notifier.set(notifier);
    }

    /// Has the kernel drop what it keeps of an inode, at once: not for a request's own thread.
    pub(super) fn drop_inode(&self, ino: u64) {
        drop_inode(&self.notifier, ino);
    }

    /// The same of a name in a directory.
    pub(super) fn drop_name(&self, parent: u64, name: &OsStr) {
        if let Some(notifier) = self.notifier.get() {
            let _forgotten = notifier.inval_entry(INodeNo(parent), name);
        }
    }

    /// Has the kernel drop what it keeps of names in directories, soon: it does so once it has the
    /// answer to a request for which it holds the directory.
    pub(super) fn drop_names(&self, names: Vec<(u64, OsString)>) {
        if names.is_empty() {
            return;
        }
        let notifier = Arc::clone(&self.notifier);
        let queued = self.workers.lock().queue(Box::new(move || {
            for (parent, name) in names {
                if let Some(notifier) = notifier.get() {
                    // A name that the kernel has forgotten needs no notification.
                    let _forgotten = notifier.inval_entry(INodeNo(parent), &name);
                }
            }
        }));
        if let Err(error) = queued {
            log::warn!("whoever is done first tells the kernel of names: {error}");
        }
    }

    /// Answers after the kernel has dropped what it keeps of these inodes.
    ///
    /// The kernel does so only when nobody is reading them, and who is may wait for room in a
    /// queue of requests, which another answer would make: none waits for another's thread.
    pub(super) fn answer(&self, changed: Vec<u64>, answer: Task) {
        if changed.is_empty() {
            return answer();
        }
        let notifier = Arc::clone(&self.notifier);
        let queued = self.workers.lock().queue(Box::new(move || {
            for ino in changed {
                drop_inode(&notifier, ino);
            }
            answer();
        }));
        if let Err(error) = queued {
            log::warn!("whoever is done first tells the kernel of a change: {error}");
        }
    }
}

fn drop_inode(notifier: &OnceLock<Notifier>, ino: u64) {
    if let Some(notifier) = notifier.get() {
        // An inode that the kernel has forgotten needs no notification.
        let _forgotten = notifier.inval_inode(INodeNo(ino), 0, 0);
    }
}
