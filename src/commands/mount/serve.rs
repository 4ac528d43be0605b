//! The daemon: opens a store, mounts it, and serves the mount until it ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::Mode;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::MountRequest;
use crate::commands::control::{ControlServer, ServedStore};
use crate::commands::dead_mount::{detach, fusermount};
use crate::commands::{CommandError, StoreLock, absolute, mounts, with_path};
use crate::fuse::{Mount, Options};
use crate::maintenance::Expiry;
use crate::printable::printable;
use crate::registry::FILES;
use crate::tree::Tree;

/// Mounts a store and serves the mount until it is unmounted.
///
/// # Errors
/// The store is in use or cannot be opened, the mount fails, or the connection to the kernel
/// breaks.
pub(super) fn serve(request: &MountRequest, mountpoint: &Path) -> Result<(), CommandError> {
    let lock = take_lock(request)?;
    raise_open_files();
    let registry = lock.registry(request.options.policy, request.options.recover)?;
    let served = Arc::new(ServedStore {
        store: lock.dir().clone(),
        registry: Arc::new(registry),
        mountpoint: mountpoint.to_owned(),
        mounted: OnceLock::new(),
        device: OnceLock::new(),
    });
    // On a read-only filesystem there can be no socket: commands open the store beside this mount.
    let control = (!lock.is_read_only()).then(|| ControlServer::listen(Arc::clone(&served)));
    let control = control.transpose()?;
    let expiry = start_expiry(request, &served)?;
    let mount = mount(request, &served)?;
    end_on_signals(mountpoint.to_owned()).map_err(with_path(mountpoint))?;
    announce(&request.store, mountpoint, lock.is_new());
    let ended = mount.serve().map_err(with_path(mountpoint));
    // From now on commands wait for the lock.
    drop(control);
    drop(expiry);
    if let Err(error) = served.registry.checkpoint() {
        log::warn!(
            "the last checkpoint failed; opening the store again completes it from the journal: \
             {error}"
        );
    }
    drop(served);
    ended?;
    // The registry is closed by now: another process may take the store.
    drop(lock);
    Ok(())
}

/// Takes the lock of the store to mount.
fn take_lock(request: &MountRequest) -> Result<StoreLock, CommandError> {
    let lock = StoreLock::take(&request.store, request.options.if_missing)?;
    if lock.is_new() {
        log::warn!("made a new store in {}", printable(&request.store));
    }
    if lock.is_read_only() && !request.options.read_only {
        return Err(CommandError::Usage(format!(
            "store {} is on a read-only filesystem: mount it with -o ro",
            printable(&request.store)
        )));
    }
    Ok(lock)
}

/// Starts the thread that empties the trash; none for a read-only mount.
fn start_expiry(
    request: &MountRequest,
    served: &ServedStore,
) -> Result<Option<Expiry>, CommandError> {
    if request.options.read_only {
        return Ok(None);
    }
    let started = Expiry::start(Arc::clone(&served.registry));
    started.map(Some).map_err(with_path(&request.store))
}

/// Mounts the tree of a store.
fn mount(request: &MountRequest, served: &ServedStore) -> Result<Mount, CommandError> {
    let options = &request.options;
    let mountpoint = &served.mountpoint;
    // Other users reach the files in it only through the mount: the store itself is private.
    let files = served.store.ensure_dir(FILES, Mode::from_raw_mode(0o755));
    let files = files.map_err(with_path(&served.store.shown(FILES)))?;
    let registry = Arc::clone(&served.registry);
    let tree = Tree::new(registry, files, &request.root, options.read_only)?
        .with_control_group(options.control_gid);
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let kernel = Options {
        source: absolute(&request.store)?.display().to_string(),
        read_only: options.read_only,
        allow_other: options.allow_other,
        uid: options.uid.unwrap_or_else(|| uid.as_raw()),
        gid: options.gid.unwrap_or_else(|| gid.as_raw()),
        offers: options.offers,
        generic: options.generic,
    };
    let mount = Mount::new(tree, mountpoint, &kernel, &served.mounted);
    let mount = mount.map_err(with_path(mountpoint))?;
    if let Some(entry) = mounts::at(mountpoint) {
        // Set here only, once.
        let _first = served.device.set(entry.device);
    }
    Ok(mount)
}

/// Raises the limit of open files to the most that the system allows: every blob that a client
/// reads is an open file of this process.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        let current = limit.current.unwrap_or(u64::MAX);
        log::warn!("cannot raise the limit of {current} open files (RLIMIT_NOFILE): {error}");
    }
}

/// Prints that the mount answers, for people and for the process that waits for this line.
fn announce(store: &Path, mountpoint: &Path, new: bool) {
    let mut out = std::io::stdout();
    let made = if new { "made a new store: " } else { "" };
    // stdout may be closed.
    let _closed = writeln!(
        out,
        "{made}{} is mounted at {}",
        store.display(),
        mountpoint.display()
    );
    let _closed = out.flush();
}

/// Unmounts at the first SIGTERM or SIGINT. A mount in use is detached, and served until its last
/// file is closed or the second signal comes.
fn end_on_signals(mountpoint: PathBuf) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut received = signals.forever();
            received.next();
            if unmount(&mountpoint, UnmountFlags::empty()).is_err()
                && !fusermount(&["-u"], &mountpoint)
            {
                log::warn!(
                    "{} is in use: detached now, it ends when its last file is closed",
                    printable(&mountpoint)
                );
                detach(&mountpoint);
            }
            received.next();
            // As safe as kill -9: acknowledged writes are durable.
            std::process::exit(1);
        })?;
    Ok(())
}
