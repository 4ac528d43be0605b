//! Who has a store that we want: whether it serves it, or will let go of it soon.

use std::fmt;
use std::path::PathBuf;

use super::mounts;
use super::protocol::{Answer, Presence, Question, ask};
use crate::dir::Dir;

/// The process that has a store.
#[derive(Clone, Debug)]
pub enum Holder {
    /// It serves a mount.
    Serves(PathBuf),
    /// Its mount is not seen where it was mounted any more, but in use.
    Lingers(PathBuf),
    /// Its mount is not seen where it was mounted any more, but by a process in another mount
    /// namespace, there.
    Elsewhere(String, PathBuf),
    /// Nobody answers: it begins, ends, or does something else with the store.
    Silent,
}

impl Holder {
    /// Asks the process that has a store.
    pub(super) fn of(store: &Dir) -> Self {
        let answer = ask(store, &Question::Presence, |_| {});
        let presence = match answer {
            Ok(Some(Answer::Presence(presence))) => presence,
            // An older program does not know the question, but serves.
            Ok(Some(_)) => return Self::Serves(PathBuf::new()),
            Ok(None) | Err(_) => return Self::Silent,
        };
        let Presence {
            mountpoint,
            device,
            mounted,
        } = presence;
        match device {
            None => Self::Silent,
            Some(_) if mounted => Self::Serves(mountpoint),
            Some(device) => match mounts::seen_elsewhere(&device) {
                Some((process, path)) => Self::Elsewhere(process, path),
                None => Self::Lingers(mountpoint),
            },
        }
    }

    /// Returns `true` if it will not let go of the store by itself.
    pub(super) fn stays(&self) -> bool {
        matches!(self, Self::Serves(_))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serves(path) if path.as_os_str().is_empty() => {
                f.write_str(": unmount it first, or use another store")
            }
            Self::Serves(path) => write!(
                f,
                ", mounted at {}: unmount it first, or use another store",
                path.display()
            ),
            Self::Lingers(path) => write!(
                f,
                ": it was unmounted from {} lazily (umount -l) while files in it were open, and \
                 ends when the last of them is closed; close them, or end that process",
                path.display()
            ),
            Self::Elsewhere(process, path) => write!(
                f,
                ": its mount is still held by another mount namespace, that of process \
                 {process}, at {}; unmount it there (nsenter -t {process} -m umount {}), or end \
                 who uses it",
                path.display(),
                path.display()
            ),
            Self::Silent => f.write_str(": it works on the store; try again when it is done"),
        }
    }
}
