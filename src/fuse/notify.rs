//! Notification: the kernel told of changes that it did not see.
//!
//! Threads of its own do that, and only then send the answer to the request which made the
//! change: whoever made it finds the kernel knowing of it. A request's own thread must not, since
//! the kernel may hold for the request what it needs to take note.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use fuser::{INodeNo, Notifier};
use parking_lot::Mutex;

use super::syncs::Task;
use super::workers::Workers;

/// The way to tell the kernel.
pub(super) struct Kernel {
    notifier: Arc<OnceLock<Notifier>>,
    workers: Mutex<Workers>,
    /// The connection, if by it the kernel can be told to ask again for all names.
    asking: OnceLock<OwnedFd>,
}

/// `FUSE_NOTIFY_INC_EPOCH`, which fuser does not know (Linux 6.16 and later).
const ASK_AGAIN: i32 = 8;

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
            asking: OnceLock::new(),
        })
    }

    /// Gives the way to the kernel, which is there once the mount is.
    pub(super) fn connect(&self, notifier: Notifier, connection: OwnedFd) {
        // There is one mount; a second connection would be the same.
        let _known = self.notifier.set(notifier);
        match ask_again(&connection) {
            Ok(()) => {
                let _known = self.asking.set(connection);
            }
            Err(error) => log::debug!("names that are not there are asked for: {error}"),
        }
    }

    /// Whether the kernel can be told to ask again for all names.
    pub(super) fn asks_again(&self) -> bool {
        self.asking.get().is_some()
    }

    /// Has the kernel ask again for every name that it knows, of what is there and of what is
    /// not. It needs no locks, and answers that are under way count as older.
    pub(super) fn ask_again(&self) {
        if let Some(connection) = self.asking.get()
            && let Err(error) = ask_again(connection)
        {
            // The mount is over.
            log::debug!("the kernel was not told to ask again: {error}");
        }
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

fn ask_again(connection: &OwnedFd) -> io::Result<()> {
    // `fuse_out_header`: its own length, what it is, and no request that it would answer.
    let mut header = [0; 16];
    let (fields, _request) = header.split_at_mut(8);
    fields.copy_from_slice(&[16_i32.to_ne_bytes(), ASK_AGAIN.to_ne_bytes()].concat());
    rustix::io::write(connection, &header)?;
    Ok(())
}

fn drop_inode(notifier: &OnceLock<Notifier>, ino: u64) {
    if let Some(notifier) = notifier.get() {
        // An inode that the kernel has forgotten needs no notification.
        let _forgotten = notifier.inval_inode(INodeNo(ino), 0, 0);
    }
}
