//! Passthrough: files that the kernel reads and writes itself, as fast as on the underlying
//! filesystem (Linux 6.9 and later, with `CAP_SYS_ADMIN`).
//!
//! The kernel demands that all open files of an inode with passthrough have the same backing
//! file, and that no other open file of the inode is without passthrough. A file that would break
//! this is opened by another inode.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::connection::{close_backing, open_backing};
use crate::tree::{Caching, PassthroughFile};

/// How long opening a file for writing waits until its readers have closed it.
const READERS_CLOSE: Duration = Duration::from_millis(100);

/// The open inodes and their backing files.
#[derive(Debug, Default)]
pub(super) struct Passthrough {
    device: OnceLock<OwnedFd>,
    /// Whether the mount options allow passthrough; after negotiation, whether it works.
    pub(super) works: AtomicBool,
    inodes: Mutex<HashMap<u64, OpenInode>>,
    /// Wakes threads that wait for files to be closed.
    closed: Condvar,
}

/// How an inode is open.
#[derive(Debug)]
enum OpenInode {
    /// With passthrough: the number of the backing file, whether that is an upload's, and how
    /// many files are open.
    Passthrough {
        backing: u32,
        upload: bool,
        opened: usize,
    },
    /// Without passthrough: how many files are open that the kernel caches, and how many for
    /// writing new content.
    Daemon { cached: usize, writing: usize },
}

/// How a file is to be opened.
#[derive(Debug)]
pub(super) enum OpenMode {
    /// With passthrough, to the backing file of this number. The open file must hold the
    /// [`PassthroughFile`].
    Passthrough(u32, PassthroughFile),
    /// Without passthrough, and cached by the kernel or not.
    Daemon { cached: bool },
    /// Not by this inode.
    OtherInode,
}

impl Passthrough {
    /// Sets the connection to the kernel, and finds out whether passthrough works on it.
    pub(super) fn connect(&self, device: OwnedFd) {
        let probe = || {
            let number = open_backing(&device, &File::open("/proc/self/exe")?)?;
            close_backing(&device, number)
        };
        if self.works.load(Ordering::Relaxed)
            && let Err(error) = probe()
        {
            log::info!("no passthrough of files: {error}");
            self.works.store(false, Ordering::Relaxed);
        }
        // There is one connection.
        let _known = self.device.set(device);
    }

    /// Decides how an inode is opened. `direct` is the file that could back it, `caching` what the
    /// kernel may cache without passthrough.
    pub(super) fn open(
        &self,
        ino: u64,
        direct: Option<PassthroughFile>,
        caching: Caching,
    ) -> OpenMode {
        let mut inodes = self.inodes.lock();
        match (inodes.get_mut(&ino), direct) {
            (
                Some(OpenInode::Passthrough {
                    backing,
                    upload,
                    opened,
                }),
                Some(direct),
            ) if *upload == matches!(direct, PassthroughFile::Upload(_)) => {
                *opened += 1;
                OpenMode::Passthrough(*backing, direct)
            }
            (Some(OpenInode::Passthrough { .. }), _) => OpenMode::OtherInode,
            // The kernel would take the length of the new content for that of the cached content,
            // and show zeros to readers.
            (Some(OpenInode::Daemon { cached: 1.., .. }), _) if caching == Caching::Writing => {
                self.after_readers(&mut inodes, ino)
            }
            (Some(OpenInode::Daemon { cached, writing }), _) => {
                without_passthrough(cached, writing, caching)
            }
            (None, direct) => {
                if let Some((backing, direct)) = direct.and_then(|direct| self.back(direct)) {
                    let inode = OpenInode::Passthrough {
                        backing,
                        upload: matches!(direct, PassthroughFile::Upload(_)),
                        opened: 1,
                    };
                    inodes.insert(ino, inode);
                    return OpenMode::Passthrough(backing, direct);
                }
                let (mut cached, mut writing) = (0, 0);
                let mode = without_passthrough(&mut cached, &mut writing, caching);
                if cached + writing > 0 {
                    inodes.insert(ino, OpenInode::Daemon { cached, writing });
                }
                mode
            }
        }
    }

    /// Opens a file for writing new content once all who read it through the kernel's cache have
    /// closed it. Files that are opened meanwhile are not cached.
    fn after_readers(
        &self,
        inodes: &mut MutexGuard<'_, HashMap<u64, OpenInode>>,
        ino: u64,
    ) -> OpenMode {
        let until = Instant::now() + READERS_CLOSE;
        let mut late = false;
        if let Some(OpenInode::Daemon { writing, .. }) = inodes.get_mut(&ino) {
            *writing += 1;
        }
        while let Some(OpenInode::Daemon { cached, writing }) = inodes.get_mut(&ino) {
            if *cached == 0 {
                return OpenMode::Daemon { cached: false };
            }
            if late {
                *writing -= 1;
                break;
            }
            late = self.closed.wait_until(inodes, until).timed_out();
        }
        OpenMode::OtherInode
    }

    /// Returns `true` if the kernel may cache the content of an inode that is open.
    pub(super) fn is_cached(&self, ino: u64) -> bool {
        let inodes = self.inodes.lock();
        matches!(
            inodes.get(&ino),
            Some(OpenInode::Daemon { cached: 1.., .. })
        )
    }

    /// Registers a backing file with the kernel.
    fn back(&self, direct: PassthroughFile) -> Option<(u32, PassthroughFile)> {
        if !self.works.load(Ordering::Relaxed) {
            return None;
        }
        let backing = open_backing(self.device.get()?, direct.file()?);
        let backing = backing.inspect_err(|error| log::debug!("no passthrough: {error}"));
        Some((backing.ok()?, direct))
    }

    /// Closes a file that was opened in this way.
    pub(super) fn close(&self, ino: u64, passed: bool, cached: bool, caching: Caching) {
        let mut inodes = self.inodes.lock();
        let ended = match inodes.get_mut(&ino) {
            Some(OpenInode::Passthrough {
                opened, backing, ..
            }) if passed => {
                *opened -= 1;
                (*opened == 0).then_some(Some(*backing))
            }
            Some(OpenInode::Daemon {
                cached: keep,
                writing,
            }) if !passed => {
                *keep -= usize::from(cached);
                *writing -= usize::from(caching == Caching::Writing);
                self.closed.notify_all();
                (*keep + *writing == 0).then_some(None)
            }
            _ => None,
        };
        let Some(backing) = ended else {
            return;
        };
        inodes.remove(&ino);
        if let (Some(backing), Some(device)) = (backing, self.device.get())
            && let Err(error) = close_backing(device, backing)
        {
            log::debug!("a file behind an inode stays open: {error}");
        }
    }
}

/// Decides whether the kernel may cache a file without passthrough, of which so many are open. It
/// does not begin to cache a file that is being written.
fn without_passthrough(cached: &mut usize, writing: &mut usize, caching: Caching) -> OpenMode {
    let keep = match caching {
        Caching::Keep => *writing == 0,
        Caching::Fresh => true,
        Caching::Direct | Caching::Writing => false,
    };
    *cached += usize::from(keep);
    *writing += usize::from(caching == Caching::Writing);
    OpenMode::Daemon { cached: keep }
}
