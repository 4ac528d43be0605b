//! The kernel's side: requests decoded, the tree called, answers given.
//!
//! Here are inode numbers, open files, what the kernel may cache, who may write, and errno. A
//! request's meaning is not: `Service` takes decoded requests and returns plain values, which
//! `adapter` hands to fuser, and which another transport could send as well.
//!
//! It decides nothing about registries.

use std::io;
use std::path::Path;
use std::sync::Arc;

use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};

use crate::tree::Tree;

mod access;
mod adapter;
mod directories;
mod errno;
mod files;
mod inodes;
mod names;
mod notify;
mod service;
mod syncs;

use adapter::Adapter;
use notify::Kernel;
use service::Service;

/// Threads that serve requests: enough that a few waiting for the disk keep nobody waiting.
const THREADS: usize = 8;

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
    /// Options for the kernel, as they are.
    pub others: Vec<String>,
}

/// A mount that answers.
#[derive(Debug)]
pub struct Mount {
    session: Session<Adapter>,
}

impl Mount {
    /// Mounts a tree. When this returns the kernel sends requests, which [`Mount::serve`]
    /// answers.
    pub fn new(tree: Tree, mountpoint: &Path, options: &Options) -> io::Result<Self> {
        let kernel = Arc::new(Kernel::start()?);
        let service = Service::new(tree, options.uid, options.gid);
        let adapter = Adapter::new(service, Arc::clone(&kernel));
        let session = Session::new(adapter, mountpoint, &config(options))?;
        kernel.connect(session.notifier());
        Ok(Self { session })
    }

    /// What ends the mount from another thread.
    pub fn unmounter(&mut self) -> SessionUnmounter {
        self.session.unmount_callable()
    }

    /// Answers until the mount ends, from whichever side.
    pub fn serve(self) -> io::Result<()> {
        self.session.run()
    }
}

fn config(options: &Options) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source.clone()),
        MountOption::Subtype("regfs".into()),
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoAtime,
        if options.read_only {
            MountOption::RO
        } else {
            MountOption::RW
        },
    ];
    config
        .mount_options
        .extend(options.others.iter().cloned().map(MountOption::CUSTOM));
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    config
}
