//! The kernel's cache of a mount: the connection by which the daemon has it drop inodes and names.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, OnceLock};

use fuser::{INodeNo, Notifier};
use parking_lot::Mutex;

use crate::fuse::task::BlockingTask;
use crate::fuse::workers::Workers;

/// A result, and the inodes of which the kernel must drop what it caches before it gets that.
#[derive(Debug)]
pub(in crate::fuse) struct Coherent<T> {
    pub(in crate::fuse) value: T,
    pub(in crate::fuse) stale: Vec<u64>,
}

impl<T> Coherent<T> {
    /// Returns a result after which everything that the kernel caches is still valid.
    pub(in crate::fuse) fn unchanged(value: T) -> Self {
        Self {
            value,
            stale: Vec::new(),
        }
    }

    /// Converts the result.
    pub(in crate::fuse) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Coherent<U> {
        Coherent {
            value: convert(self.value),
            stale: self.stale,
        }
    }
}

/// The kernel's cache of this mount.
pub(in crate::fuse) struct KernelCache {
    /// Set once the mount exists.
    notifier: Arc<OnceLock<Notifier>>,
    workers: Mutex<Workers>,
}

impl std::fmt::Debug for KernelCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelCache").finish_non_exhaustive()
    }
}

impl KernelCache {
    /// Starts the first of the threads that notify the kernel.
    pub(in crate::fuse) fn start() -> io::Result<Self> {
        let mut workers = Workers::new("notifier", usize::MAX);
        workers.start()?;
        Ok(Self {
            notifier: Arc::default(),
            workers: Mutex::new(workers),
        })
    }

    /// Sets the connection to the kernel.
    pub(in crate::fuse) fn connect(&self, notifier: Notifier) {
        // There is one mount; a second connection would be the same.
        let _known = self.notifier.set(notifier);
    }

    /// Runs `reply` after the kernel has dropped what it caches of these inodes.
    ///
    /// The kernel drops pages of an inode only when nobody is reading them. A reader may wait for
    /// room in a queue of requests, which another reply would make: therefore each has a thread
    /// of its own.
    pub(in crate::fuse) fn drop_before(&self, stale: Vec<u64>, reply: BlockingTask) {
        if stale.is_empty() {
            return reply();
        }
        let notifier = Arc::clone(&self.notifier);
        self.notify(Box::new(move || {
            for ino in stale {
                drop_inode(&notifier, ino);
            }
            reply();
        }));
    }

    /// Has the kernel drop names, each in the directory of an inode, soon: the kernel does it
    /// once it has the reply to a request for which it has locked the directory.
    pub(super) fn drop_names_later(&self, names: Vec<(u64, OsString)>) {
        if names.is_empty() {
            return;
        }
        let notifier = Arc::clone(&self.notifier);
        self.notify(Box::new(move || {
            for (directory, name) in names {
                drop_name(&notifier, directory, &name);
            }
        }));
    }

    /// Has the kernel drop what it caches of an inode, now.
    pub(super) fn drop_inode(&self, ino: u64) {
        drop_inode(&self.notifier, ino);
    }

    /// Has the kernel drop a name in the directory of an inode, now.
    pub(super) fn drop_name(&self, directory: u64, name: &OsStr) {
        drop_name(&self.notifier, directory, name);
    }

    fn notify(&self, task: BlockingTask) {
        if let Err(error) = self.workers.lock().queue(task) {
            log::warn!("no new thread to notify the kernel, the next free one does: {error}");
        }
    }
}

/// An inode or a name that the kernel has forgotten needs no notification: errors mean nothing.
fn drop_inode(notifier: &OnceLock<Notifier>, ino: u64) {
    if let Some(notifier) = notifier.get() {
        let _forgotten = notifier.inval_inode(INodeNo(ino), 0, 0);
    }
}

fn drop_name(notifier: &OnceLock<Notifier>, directory: u64, name: &OsStr) {
    if let Some(notifier) = notifier.get() {
        let _forgotten = notifier.inval_entry(INodeNo(directory), name);
    }
}
