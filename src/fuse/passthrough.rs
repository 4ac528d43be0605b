//! Passthrough: files that the kernel reads and writes by itself (Linux 6.9 and later, where we
//! may administer the system), so that bytes come and go as fast as without us.
//!
//! The kernel's conditions: all who have a file open by passthrough have the same file behind
//! it, and nobody has it open in another way meanwhile. Who would, gets a new inode.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::connection::{close_backing, open_backing};
use crate::tree::{Caching, Direct};

/// How long who writes a file waits until those have closed it who read it.
const CLOSED: Duration = Duration::from_millis(100);

/// The files behind inodes.
#[derive(Debug, Default)]
pub(super) struct Passthrough {
    device: OnceLock<OwnedFd>,
    /// Whether the kernel offers it; then, whether it works.
    pub(super) works: AtomicBool,
    inodes: Mutex<HashMap<u64, Inode>>,
    /// Wakes who waits for files to be closed.
    closed: Condvar,
}

/// How an inode is open.
#[derive(Debug)]
enum Inode {
    /// By passthrough: the number of the file behind, whether it is an upload's, and how often.
    Passthrough {
        backing: u32,
        upload: bool,
        opened: usize,
    },
    /// Through us: so often cached by the kernel, and so often to be written anew.
    Ours { cached: usize, writing: usize },
}

/// How a file is to be opened.
#[derive(Debug)]
pub(super) enum Way {
    /// By passthrough, with the file of this number behind it. What was lent goes with the
    /// open file.
    Passthrough(u32, Direct),
    /// Through us, and cached by the kernel or not.
    Ours { cached: bool },
    /// Not by this inode.
    Elsewhere,
}

impl Passthrough {
    /// Learns the connection, and whether files can be passed through it.
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

    /// Decides how an inode is opened: `direct` is the file that could be behind it, `caching`
    /// what the kernel may keep of what comes through us.
    pub(super) fn open(&self, ino: u64, direct: Option<Direct>, caching: Caching) -> Way {
        let mut inodes = self.inodes.lock();
        match (inodes.get_mut(&ino), direct) {
            (
                Some(Inode::Passthrough {
                    backing,
                    upload,
                    opened,
                }),
                Some(direct),
            ) if *upload == matches!(direct, Direct::Upload(_)) => {
                *opened += 1;
                Way::Passthrough(*backing, direct)
            }
            (Some(Inode::Passthrough { .. }), _) => Way::Elsewhere,
            // The kernel would take the length of what is written for that of what it caches, and
            // show those who read zeros.
            (Some(Inode::Ours { cached: 1.., .. }), _) if caching == Caching::Writing => {
                self.alone(&mut inodes, ino)
            }
            (Some(Inode::Ours { cached, writing }), _) => ours(cached, writing, caching),
            (None, direct) => {
                if let Some((backing, direct)) = direct.and_then(|direct| self.back(direct)) {
                    let inode = Inode::Passthrough {
                        backing,
                        upload: matches!(direct, Direct::Upload(_)),
                        opened: 1,
                    };
                    inodes.insert(ino, inode);
                    return Way::Passthrough(backing, direct);
                }
                let (mut cached, mut writing) = (0, 0);
                let way = ours(&mut cached, &mut writing, caching);
                if cached + writing > 0 {
                    inodes.insert(ino, Inode::Ours { cached, writing });
                }
                way
            }
        }
    }

    /// Opens for writing what others read from the kernel's memory, once they have closed it;
    /// whoever opens it meanwhile reads through us.
    fn alone(&self, inodes: &mut MutexGuard<'_, HashMap<u64, Inode>>, ino: u64) -> Way {
        let until = Instant::now() + CLOSED;
        let mut late = false;
        if let Some(Inode::Ours { writing, .. }) = inodes.get_mut(&ino) {
            *writing += 1;
        }
        while let Some(Inode::Ours { cached, writing }) = inodes.get_mut(&ino) {
            if *cached == 0 {
                return Way::Ours { cached: false };
            }
            if late {
                *writing -= 1;
                break;
            }
            late = self.closed.wait_until(inodes, until).timed_out();
        }
        Way::Elsewhere
    }

    /// Whether the kernel may be caching an inode that is open.
    pub(super) fn is_cached(&self, ino: u64) -> bool {
        let inodes = self.inodes.lock();
        matches!(inodes.get(&ino), Some(Inode::Ours { cached: 1.., .. }))
    }

    /// Tells the kernel of a file.
    fn back(&self, direct: Direct) -> Option<(u32, Direct)> {
        if !self.works.load(Ordering::Relaxed) {
            return None;
        }
        let backing = open_backing(self.device.get()?, direct.file()?);
        let backing = backing.inspect_err(|error| log::debug!("no passthrough: {error}"));
        Some((backing.ok()?, direct))
    }

    /// A file is closed that was opened in this way.
    pub(super) fn close(&self, ino: u64, passed: bool, cached: bool, caching: Caching) {
        let mut inodes = self.inodes.lock();
        let ended = match inodes.get_mut(&ino) {
            Some(Inode::Passthrough {
                opened, backing, ..
            }) if passed => {
                *opened -= 1;
                (*opened == 0).then_some(Some(*backing))
            }
            Some(Inode::Ours {
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

/// How a file comes through us, of which so many are open. Nobody begins to cache what somebody
/// writes.
fn ours(cached: &mut usize, writing: &mut usize, caching: Caching) -> Way {
    let keeps = match caching {
        Caching::Keep => *writing == 0,
        Caching::Fresh => true,
        Caching::Direct | Caching::Writing => false,
    };
    *cached += usize::from(keeps);
    *writing += usize::from(caching == Caching::Writing);
    Way::Ours { cached: keeps }
}
