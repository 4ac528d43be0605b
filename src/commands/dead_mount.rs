//! A mount whose daemon is dead: nobody can use it, nor mount over it. It is taken away, and who
//! waits for its answers is let go.

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
use super::{CommandError, about};
use crate::dir::Dir;

/// How long a mount has for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Symbolic links that are followed on the way to a mountpoint.
const LINKS: usize = 8;

/// What a mount says.
enum Answer {
    /// It is served.
    Served,
    /// Its connection has ended.
    Gone,
    /// Nothing, in time.
    None,
}

/// Takes away what a daemon that is dead has left at a mountpoint.
///
/// # Errors
/// A mount that does not answer though its daemon may be alive.
pub(super) fn clear(mountpoint: &Path) -> Result<(), CommandError> {
    let Some(mount) = mounts::at(&untouched(mountpoint)) else {
        return Ok(());
    };
    match ask(&mount.mountpoint) {
        Answer::Served => {}
        Answer::Gone => detach(&mount.mountpoint),
        Answer::None if is_free(&mount.source) => {
            abort(&mount)?;
            detach(&mount.mountpoint);
        }
        Answer::None => {
            let (path, number) = (mount.mountpoint.display(), mount.connection());
            return Err(CommandError::Usage(format!(
                "the mount at {path} does not answer, and its process is there: it may be \
                 stopped, or wait for its disk; to end it, kill it and write 1 to \
                 /sys/fs/fuse/connections/{}/abort",
                number.unwrap_or("N")
            )));
        }
    }
    Ok(())
}

/// A mountpoint without symbolic links, of which nothing is asked: a dead one would not answer.
fn untouched(mountpoint: &Path) -> PathBuf {
    let mut path = mountpoint.to_owned();
    for _ in 0..LINKS {
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

/// Asks a mount for something that the kernel never answers from what it remembers.
fn ask(mountpoint: &Path) -> Answer {
    let (told, answer) = mpsc::channel();
    let path = mountpoint.to_owned();
    // It may never end: then it ends with us, or when the connection is aborted.
    let asking = std::thread::Builder::new().name("statfs".into());
    let asking = asking.spawn(move || {
        // Nobody listens any more if it took too long.
        let _late = told.send(rustix::fs::statfs(&path).map(drop));
    });
    // What is asked while the kernel takes the rings away is aborted.
    let gone = [Errno::NOTCONN, Errno::CONNABORTED, Errno::CANCELED];
    match asking.ok().and_then(|_| answer.recv_timeout(PATIENCE).ok()) {
        None => Answer::None,
        Some(Err(error)) if gone.contains(&error) => Answer::Gone,
        Some(_) => Answer::Served,
    }
}

/// Returns `true` if nobody has a store, so that nobody serves a mount of it.
fn is_free(store: &Path) -> bool {
    let lock = Dir::open(store);
    let lock = lock.and_then(|dir| dir.open_file(LOCK, OFlags::RDONLY, Mode::empty()));
    lock.is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Ends a connection that nobody serves, and with it every wait for an answer.
fn abort(mount: &MountEntry) -> Result<(), CommandError> {
    let number = mount.connection().unwrap_or_default();
    let path = PathBuf::from(format!("/sys/fs/fuse/connections/{number}/abort"));
    let aborted = match std::fs::write(&path, "1") {
        // Nobody has mounted the control filesystem, as in most containers.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            connections().and_then(|connections| {
                let abort = format!("{number}/abort");
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let file = openat(connections, abort, flags, Mode::empty())?;
                std::fs::File::from(file).write_all(b"1")
            })
        }
        aborted => aborted,
    };
    aborted.map_err(about(&path))
}

/// The control filesystem of FUSE, mounted for us alone.
fn connections() -> io::Result<OwnedFd> {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(fsmount(context.as_fd(), flags, MountAttrFlags::empty())?)
}

/// Unmounts once nobody uses the mount any more, hiding it at once.
pub(super) fn detach(mountpoint: &Path) {
    if unmount(mountpoint, UnmountFlags::DETACH).is_err() {
        fusermount(&["-u", "-z"], mountpoint);
    }
}

/// Asks the helper that may unmount for ordinary users. Returns `true` if it did.
pub(super) fn fusermount(arguments: &[&str], mountpoint: &Path) -> bool {
    let mut command = Command::new("fusermount3");
    command.args(arguments).arg("--").arg(mountpoint);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
