//! The kernel's side: requests decoded, the tree called, answers given.
//!
//! Here are inode numbers, open files, what the kernel may cache, who may write, and errno. A
//! request's meaning is not. A request comes by one of two transports, `/dev/fuse` or `io_uring`;
//! `request` decodes it, `dispatch` calls `Service`, which returns plain values, and `reply`
//! encodes these, in the same way for both. fuser mounts and negotiates.
//!
//! It decides nothing about registries.

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
mod coherence;
mod connection;
mod directories;
mod dispatch;
mod durability;
mod entries;
mod errno;
mod files;
mod handles;
mod inodes;
mod lengths;
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

use access::Owner;
use coherence::KernelCache;
use negotiation::Negotiation;
use service::Service;
use transport::device;
use transport::ring::Rings;

/// What makes a mount faster, where the kernel offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// Whether requests go by `io_uring`.
    pub rings: bool,
    /// Whether the kernel reads and writes blobs and uploads by itself.
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

/// Options that every filesystem has, and the kernel keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent options"
)]
pub struct Generic {
    /// Whether programs may be run from it.
    pub exec: bool,
    /// Whether set-user-ID bits count.
    pub suid: bool,
    /// Whether device files count.
    pub dev: bool,
    /// Whether every write waits for the disk.
    pub sync: bool,
    /// Whether every change of a directory does.
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
    /// As the mount helper of ordinary users and the kernel take them.
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

/// How to mount.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The store's name in the list of mounts.
    pub source: String,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// Whether other users than the one who mounts may see anything.
    pub allow_other: bool,
    /// To whom everything belongs.
    pub uid: u32,
    /// And to which group.
    pub gid: u32,
    /// What is used where the kernel offers it.
    pub offers: Offers,
    /// What every filesystem has.
    pub generic: Generic,
}

/// What the rest of the process may ask of a mount that is served.
#[derive(Debug)]
pub struct Mounted(Arc<Service>);

impl Mounted {
    /// Has the kernel look at everything anew, after facts have changed in another way than
    /// through the mount; returns when it has dropped what it kept.
    pub fn refresh(&self) {
        self.0.drop_all();
    }

    /// How the mount is served, in words.
    pub fn served(&self) -> Vec<String> {
        self.0.served.get().cloned().unwrap_or_default()
    }

    /// How often the kernel asked for what since the mount began.
    pub fn requests(&self) -> Vec<(&'static str, u64)> {
        self.0.counters.counts()
    }
}

/// A mount that answers.
#[derive(Debug)]
pub struct Mount {
    session: Session<Negotiation>,
    service: Arc<Service>,
    rings: Option<Rings>,
}

impl Mount {
    /// Mounts a tree. When this returns the kernel sends requests, which [`Mount::serve`]
    /// answers. `known` gets the mount before the kernel can have been told of anything that
    /// changes.
    pub fn new(
        tree: Tree,
        mountpoint: &Path,
        options: &Options,
        known: &OnceLock<Mounted>,
    ) -> io::Result<Self> {
        let owner = Owner {
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
        service.tree.is_served(Box::new(move || {
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

    /// What ends the mount from another thread.
    pub fn unmounter(&mut self) -> SessionUnmounter {
        self.session.unmount_callable()
    }

    /// Answers until the mount ends, from whichever side.
    pub fn serve(self) -> io::Result<()> {
        let connection = self.session.as_fd().try_clone_to_owned()?;
        let served = device::serve(connection, &self.service);
        // Unmounts, if the mount has not ended by itself.
        drop(self.session);
        if let Some(rings) = self.rings {
            rings.join();
        }
        self.service.tree.end();
        served
    }
}

/// How a mount is served, for people.
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

/// Rings, unless there can be none, which is said and no error: /dev/fuse does as well.
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
