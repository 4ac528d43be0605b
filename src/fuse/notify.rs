//! Notification: the kernel told of changes that it did not see.
//!
//! One thread does that, and only then sends the answer to the request which made the change:
//! whoever made it finds the kernel knowing of it. A request's own thread must not, since the
//! kernel may hold for the request what it needs to take note.

use std::ffi::OsStr;
use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};

use fuser::{INodeNo, Notifier};
use parking_lot::Mutex;

/// An answer that waits.
type Answer = Box<dyn FnOnce() + Send>;

/// The way to tell the kernel.
pub(super) struct Kernel {
    sender: Mutex<Sender<(Vec<u64>, Answer)>>,
    notifier: std::sync::Arc<OnceLock<Notifier>>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

impl Kernel {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, changes) = channel();
        let notifier = std::sync::Arc::new(OnceLock::new());
        let theirs = std::sync::Arc::clone(&notifier);
        let thread = std::thread::Builder::new().name("notifier".into());
        thread.spawn(move || run(&changes, &theirs))?;
        Ok(Self {
            sender: Mutex::new(sender),
            notifier,
        })
    }

    /// Gives the way to the kernel, which is there once the mount is.
    pub(super) fn connect(&self, notifier: Notifier) {
        // There is one mount; a second connection would be the same.
        let _known = self.notifier.set(notifier);
    }

    /// Has the kernel drop what it keeps of an inode, at once: not for a request's own thread.
    pub(super) fn drop_inode(&self, ino: u64) {
        if let Some(notifier) = self.notifier.get() {
            // An inode that the kernel has forgotten needs no notification.
            let _forgotten = notifier.inval_inode(INodeNo(ino), 0, 0);
        }
    }

    /// The same of a name in a directory.
    pub(super) fn drop_name(&self, parent: u64, name: &OsStr) {
        if let Some(notifier) = self.notifier.get() {
            let _forgotten = notifier.inval_entry(INodeNo(parent), name);
        }
    }

    /// Answers after the kernel has dropped what it keeps of these inodes.
    pub(super) fn answer(&self, changed: Vec<u64>, answer: Answer) {
        if changed.is_empty() {
            return answer();
        }
        if let Err(failed) = self.sender.lock().send((changed, answer)) {
            (failed.0.1)();
        }
    }
}

fn run(changes: &Receiver<(Vec<u64>, Answer)>, notifier: &OnceLock<Notifier>) {
    while let Ok((inodes, answer)) = changes.recv() {
        for ino in inodes {
            if let Some(notifier) = notifier.get() {
                // An inode that the kernel has forgotten needs no notification.
                let _forgotten = notifier.inval_inode(INodeNo(ino), 0, 0);
            }
        }
        answer();
    }
}
