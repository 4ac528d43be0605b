//! A mount whose daemon has died: it cannot be used, and nothing can be mounted over it.
//!
//! It is detached, after its connection is aborted if processes still wait for answers.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsmount, fsopen,
    unmount,
};

use super::lock::LOCK;
use super::mounts::{self, MountEntry};
use super::{CommandError, with_path};
use crate::dir::Dir;
use crate::printable::printable;

/// How long a mount may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The most symbolic links that are followed at the end of a mountpoint's path.
const SYMLINKS_MAX: usize = 8;

/// How a mount reacts to a request.
enum MountState {
    /// Its daemon answers.
    Alive,
    /// Its connection has ended.
    Dead,
    /// No answer within [`TIMEOUT`].
    Silent,
}

/// Removes the mount that a dead daemon has left at a mountpoint, if there is one.
///
/// # Errors
/// The mount does not answer, but a process still holds its store; or its connection cannot be
/// aborted.
pub(super) fn clear(mountpoint: &Path) -> Result<(), CommandError> {
    let Some(mount) = mounts::at(&resolve(mountpoint)) else {
        return Ok(());
    };
    match probe(&mount.mountpoint) {
        MountState::Alive => {}
        MountState::Dead => detach(&mount.mountpoint),
        MountState::Silent if is_unlocked(&mount.source) => {
            abort(&mount)?;
            detach(&mount.mountpoint);
        }
        MountState::Silent => {
            let (path, number) = (printable(&mount.mountpoint), mount.connection());
            return Err(CommandError::Usage(format!(
                "the mount at {path} does not answer, but its process is alive: the process may be \
                 stopped, or waiting for its disk; to remove the mount, kill the process and \
                 write 1 to /sys/fs/fuse/connections/{}/abort",
                number.unwrap_or("N")
            )));
        }
    }
    Ok(())
}

/// Returns a mountpoint without symbolic links in its path. Sends no request to the mount itself:
/// a dead one would never answer.
fn resolve(mountpoint: &Path) -> PathBuf {
    let mut path = mountpoint.to_owned();
    for _ in 0..SYMLINKS_MAX {
        let Ok(whole) = std::path::absolute(&path) else {
            break;
        };
        let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
            return whole;
        };
        let Ok(parent) = parent.canonicalize() else {
            return whole;
        };
        path = parent.join(name);
        match std::fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => break,
        }
    }
    path
}

/// Sends statfs to a mount, which the kernel never answers from a cache.
fn probe(mountpoint: &Path) -> MountState {
    let (sender, answer) = mpsc::channel();
    let path = mountpoint.to_owned();
    // The thread may block until this process ends or the connection is aborted.
    let thread = std::thread::Builder::new().name("statfs".into());
    let thread = thread.spawn(move || {
        // After the timeout nothing receives this.
        let _late = sender.send(rustix::fs::statfs(&path).map(drop));
    });
    // ECONNABORTED and ECANCELED: the kernel is taking the rings of the daemon down.
    let dead = [Errno::NOTCONN, Errno::CONNABORTED, Errno::CANCELED];
    match thread.ok().and_then(|_| answer.recv_timeout(TIMEOUT).ok()) {
        None => MountState::Silent,
        Some(Err(error)) if dead.contains(&error) => MountState::Dead,
        Some(_) => MountState::Alive,
    }
}

/// Returns `true` if no process holds the lock of a store, so that none serves a mount of it.
fn is_unlocked(store: &Path) -> bool {
    let lock = Dir::open(store);
    let lock = lock.and_then(|dir| dir.open_file(LOCK, OFlags::RDONLY, Mode::empty()));
    lock.is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Aborts the connection of a mount, which ends every request that waits for an answer.
fn abort(mount: &MountEntry) -> Result<(), CommandError> {
    let number = mount.connection().unwrap_or_default();
    let path = PathBuf::from(format!("/sys/fs/fuse/connections/{number}/abort"));
    let aborted = match std::fs::write(&path, "1") {
        // fusectl is not mounted, as in most containers.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            mount_fusectl().and_then(|connections| {
                let abort = format!("{number}/abort");
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let file = openat(connections, abort, flags, Mode::empty())?;
                std::fs::File::from(file).write_all(b"1")
            })
        }
        aborted => aborted,
    };
    aborted.map_err(with_path(&path))
}

/// Mounts fusectl, the control filesystem of FUSE, where only this process sees it.
fn mount_fusectl() -> io::Result<OwnedFd> {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(fsmount(context.as_fd(), flags, MountAttrFlags::empty())?)
}

/// Detaches a mount: its path is free at once, and the mount ends with its last open file.
pub(super) fn detach(mountpoint: &Path) {
    if unmount(mountpoint, UnmountFlags::DETACH).is_err() {
        fusermount(&["-u", "-z"], mountpoint);
    }
}

/// Runs `fusermount3`, which may unmount for ordinary users. Returns `true` if it succeeded.
pub(super) fn fusermount(arguments: &[&str], mountpoint: &Path) -> bool {
    let mut command = Command::new("fusermount3");
    command.args(arguments).arg("--").arg(mountpoint);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
