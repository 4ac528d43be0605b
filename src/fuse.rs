//! FUSE: serves the tree to the kernel.
//!
//! This module has inode numbers, open files, permission checks, what the kernel may cache, and
//! errno. What an operation means is the tree's business, and it knows nothing of registries.
//!
//! A request arrives by one of two transports, `/dev/fuse` or `io_uring`, which decode it into the
//! values of `request`. `dispatch` calls the `Service` for it, which calls the tree and returns
//! values of `reply`; a transport encodes these. `coherence` has the kernel drop what a change has
//! made invalid. fuser mounts and negotiates.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{getegid, geteuid};

use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};

use crate::tree::Tree;

mod access;
mod attributes;
mod blocking;
mod caller;
mod coherence;
mod connection;
mod dispatch;
mod durability;
mod entries;
mod errno;
mod files;
mod guard;
mod handles;
mod inodes;
mod lengths;
mod listings;
mod negotiation;
mod op_counters;
mod passthrough;
mod permission;
mod reply;
mod request;
mod service;
mod syncs;
mod task;
mod transport;
mod workers;

use access::MountOwner;
use coherence::KernelCache;
use negotiation::Negotiation;
use service::Service;
use transport::device;
use transport::ring::Rings;

/// Features of the kernel that make a mount faster, where it offers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// Requests and replies pass through `io_uring`.
    pub rings: bool,
    /// The kernel reads and writes blobs and uploads itself.
    pub passthrough: bool,
}

impl Default for Offers {
    fn default() -> Self {
        Self {
            rings: true,
            passthrough: true,
        }
    }
}

/// Mount options that every filesystem has and the kernel implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent options"
)]
pub struct Generic {
    /// Programs may be executed.
    pub exec: bool,
    /// Set-user-ID and set-group-ID bits take effect.
    pub suid: bool,
    /// Device files can be opened.
    pub dev: bool,
    /// Every write waits until it is durable.
    pub sync: bool,
    /// Every change of a directory waits until it is durable.
    pub dirsync: bool,
}

impl Default for Generic {
    fn default() -> Self {
        Self {
            exec: true,
            suid: false,
            dev: false,
            sync: false,
            dirsync: false,
        }
    }
}

impl Generic {
    /// Returns the options for mount(2), and for fusermount3, which mounts for ordinary users.
    fn options(self) -> Vec<MountOption> {
        let either = |on: bool, yes, no| if on { yes } else { no };
        let mut options = vec![
            either(self.exec, MountOption::Exec, MountOption::NoExec),
            either(self.suid, MountOption::Suid, MountOption::NoSuid),
            either(self.dev, MountOption::Dev, MountOption::NoDev),
            either(self.sync, MountOption::Sync, MountOption::Async),
        ];
        if self.dirsync {
            options.push(MountOption::DirSync);
        }
        options
    }
}

/// The options of a mount.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The source that the table of mounts shows: the store.
    pub source: String,
    /// Nothing may be changed.
    pub read_only: bool,
    /// Other users than the one who mounts have access.
    pub allow_other: bool,
    /// The owner of all files that have none of their own.
    pub uid: u32,
    /// The group of all files that have none of their own.
    pub gid: u32,
    /// Features to use if the kernel offers them.
    pub offers: Offers,
    /// Options that every filesystem has.
    pub generic: Generic,
}

/// A mount that is being served, for the rest of the process.
#[derive(Debug)]
pub struct Mounted(Arc<Service>);

impl Mounted {
    /// Makes the kernel drop everything that it caches, after facts have changed in another way
    /// than through the mount. Returns when that is done.
    pub fn refresh(&self) {
        self.0.drop_all();
    }

    /// Describes how the mount is served, one line for each aspect.
    pub fn served(&self) -> Vec<String> {
        self.0.served.get().cloned().unwrap_or_default()
    }

    /// Returns the number of requests of each kind since the mount began.
    pub fn requests(&self) -> Vec<(&'static str, u64)> {
        self.0.counters.counts()
    }
}

/// A mount.
#[derive(Debug)]
pub struct Mount {
    session: Session<Negotiation>,
    service: Arc<Service>,
    rings: Option<Rings>,
}

impl Mount {
    /// Mounts a tree. When this returns the kernel sends requests, which [`Mount::serve`] answers.
    /// `known` is set before the kernel can cache anything.
    ///
    /// # Errors
    /// If the kernel or fusermount3 refuses the mount, or threads cannot be started.
    pub fn new(
        tree: Tree,
        mountpoint: &Path,
        options: &Options,
        known: &OnceLock<Mounted>,
    ) -> io::Result<Self> {
        let owner = MountOwner {
            uid: options.uid,
            gid: options.gid,
            daemon: (geteuid().as_raw(), getegid().as_raw()),
        };
        let service = Service::new(tree, owner, KernelCache::start()?);
        let service = Arc::new(service);
        // There is one mount.
        let _first = known.set(Mounted(Arc::clone(&service)));
        let rings = options.offers.rings.then(prepare).flatten();
        let works = &service.passthrough.works;
        works.store(options.offers.passthrough, Ordering::Relaxed);
        let agreed = Arc::new(AtomicBool::new(rings.is_some()));
        let negotiation = Negotiation::new(Arc::clone(&service), Arc::clone(&agreed));
        let session = Session::new(negotiation, mountpoint, &config(options))?;
        service.cache.connect(session.notifier());
        let device = session.as_fd().try_clone_to_owned()?;
        service.passthrough.connect(device);
        let rings = rings.filter(|_| agreed.load(Ordering::Relaxed));
        if let Some(rings) = &rings {
            rings.start(session.as_fd().try_clone_to_owned()?, &service);
        }
        let passes = service.passthrough.works.load(Ordering::Relaxed);
        let served = serving(rings.is_some(), passes);
        // A tree is mounted once.
        let _known = service.served.set(served.clone());
        let counters = Arc::clone(&service.counters);
        service.tree.set_status_source(Box::new(move || {
            let counts = counters.counts().into_iter();
            let counts = counts.map(|(kind, count)| format!("requests, {kind}: {count}"));
            served.iter().cloned().chain(counts).collect()
        }));
        Ok(Self {
            session,
            service,
            rings,
        })
    }

    /// Returns a handle that ends the mount from another thread.
    pub fn unmounter(&mut self) -> SessionUnmounter {
        self.session.unmount_callable()
    }

    /// Answers requests until the mount ends, whether it is unmounted by the daemon or by others.
    ///
    /// # Errors
    /// If requests cannot be read any more.
    pub fn serve(self) -> io::Result<()> {
        let connection = self.session.as_fd().try_clone_to_owned()?;
        let served = device::serve(connection, &self.service);
        // Unmounts, unless somebody else did.
        drop(self.session);
        if let Some(rings) = self.rings {
            rings.join();
        }
        self.service.tree.log_suppressed();
        served
    }
}

/// Describes how a mount is served, and logs that.
fn serving(rings: bool, passthrough: bool) -> Vec<String> {
    let requests = if rings { "io_uring" } else { "/dev/fuse" };
    let bytes = if passthrough { "the kernel" } else { "us" };
    let lines = [
        format!("requests come by: {requests}"),
        format!("blobs and uploads are read and written by: {bytes}"),
    ];
    for line in &lines {
        log::info!("{line}");
    }
    lines.into()
}

/// Prepares rings. Returns `None` and logs why if there can be none: requests then come by
/// `/dev/fuse`.
fn prepare() -> Option<Rings> {
    Rings::prepare()
        .inspect_err(|why| log::info!("no requests by io_uring: {why}"))
        .ok()
}

fn config(options: &Options) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source.clone()),
        MountOption::Subtype("regfs".into()),
        MountOption::NoAtime,
        if options.read_only {
            MountOption::RO
        } else {
            MountOption::RW
        },
    ];
    config.mount_options.extend(options.generic.options());
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config
}
