//! The process that holds a store which a command wants: what it does with the store, and what
//! the user can do about it.

use std::fmt;
use std::path::PathBuf;

use super::mounts;
use super::protocol::{Answer, MountStatus, Question, ask};
use crate::dir::Dir;
use crate::printable::printable;

/// What the process that holds a store does with it.
#[derive(Clone, Debug)]
pub enum Holder {
    /// It serves a mount at this path; the path is empty if the process does not say.
    Mounted(PathBuf),
    /// Its mount was detached from this path (`umount -l`) while files in it were open.
    Detached(PathBuf),
    /// Its mount is seen only in the mount namespace of another process.
    OtherNamespace {
        /// The id of a process in that namespace.
        pid: String,
        /// The path of the mount there.
        mountpoint: PathBuf,
    },
    /// It answers no questions: it is starting, ending, or running a command.
    Busy,
}

impl Holder {
    /// Asks the process that holds a store.
    pub(super) fn of(store: &Dir) -> Self {
        let answer = ask(store, &Question::Presence, |_| {});
        let status = match answer {
            Ok(Some(Answer::Presence(status))) => status,
            // An earlier version does not know the question, but it serves a mount.
            Ok(Some(_)) => return Self::Mounted(PathBuf::new()),
            Ok(None) | Err(_) => return Self::Busy,
        };
        let MountStatus {
            mountpoint,
            device,
            mounted,
        } = status;
        match device {
            None => Self::Busy,
            Some(_) if mounted => Self::Mounted(mountpoint),
            Some(device) => match mounts::seen_elsewhere(&device) {
                Some((pid, mountpoint)) => Self::OtherNamespace { pid, mountpoint },
                None => Self::Detached(mountpoint),
            },
        }
    }

    /// Returns `true` if the process serves a mount, and so does not release the store by itself.
    pub(super) fn is_mounted(&self) -> bool {
        matches!(self, Self::Mounted(_))
    }
}

/// The rest of a sentence that begins with "store S is in use by process P".
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted(path) if path.as_os_str().is_empty() => {
                f.write_str(": unmount it first, or use another store")
            }
            Self::Mounted(path) => write!(
                f,
                ", mounted at {}: unmount it first, or use another store",
                printable(path)
            ),
            Self::Detached(path) => write!(
                f,
                ", whose mount at {} was detached (umount -l) while files in it were open: the \
                 process ends when the last of them is closed; close them, or end the process",
                printable(path)
            ),
            Self::OtherNamespace { pid, mountpoint } => {
                let path = printable(mountpoint);
                write!(
                    f,
                    ", whose mount is still in use in another mount namespace, that of process \
                     {pid}, at {path}: unmount it there (nsenter -t {pid} -m umount {path}), or \
                     end the processes that use it"
                )
            }
            Self::Busy => f.write_str(
                ", which serves no mount: it is starting, ending, or running another command; \
                 try again when it has finished",
            ),
        }
    }
}
