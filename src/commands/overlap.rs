//! Overlap: refuses a source or target of a job that lies in the store itself or in its mount.
//!
//! Directories are compared by identity and not by path: by device and inode number of each
//! parent up to the root, and by their path in their filesystem as the kernel's table of mounts
//! has it. So neither a symbolic link nor a bind mount hides one directory in the other.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use super::mounts::{self, MountEntry};
use super::{CommandError, with_path};
use crate::dir::Dir;
use crate::printable::printable;

/// The most parent directories that are followed.
const DEPTH_MAX: usize = 10_000;

/// Fails if `path`, which need not exist yet, lies in the directory of a store, or in its mount at
/// `mountpoint`.
///
/// # Errors
/// [`CommandError::Refused`] if it does; a directory or the table of mounts cannot be read.
pub(super) fn refuse_overlap(
    path: &Path,
    store: &Dir,
    mountpoint: Option<&Path>,
) -> Result<(), CommandError> {
    let refused = |what: &str, whose: &Path| {
        Err(CommandError::Refused(format!(
            "{} lies below {what} {}: choose another path",
            printable(path),
            printable(whose)
        )))
    };
    let at = open_nearest(path).map_err(with_path(path))?;
    let mounts = MountTable(mounts::table(SELF).map_err(with_path(&mounts::table_path(SELF)))?);
    let location = mounts.locate(&at).map_err(with_path(path))?;
    if let Some(mountpoint) = mountpoint
        && let Some(device) = mounts.device_at(mountpoint)
        && location.device == Some(device)
    {
        return refused("the store's own mount", mountpoint);
    }
    let own = mounts.locate(store).map_err(with_path(store.path()))?;
    let below = is_below(&at, store).map_err(with_path(path))? || location.is_below(&own);
    if below {
        return refused("the store", store.path());
    }
    Ok(())
}

/// Opens the directory at a path, or its nearest parent that exists.
fn open_nearest(path: &Path) -> io::Result<Dir> {
    let path = std::path::absolute(path)?;
    let mut error = None;
    for one in path.ancestors() {
        match Dir::open(one) {
            Err(failed) if failed.kind() == io::ErrorKind::NotFound => error = Some(failed),
            opened => return opened,
        }
    }
    Err(error.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// Returns `true` if `dir` is `other` or lies below it.
fn is_below(dir: &Dir, other: &Dir) -> io::Result<bool> {
    let wanted = other.identity()?;
    let mut at = dir.clone();
    for _ in 0..DEPTH_MAX {
        let identity = at.identity()?;
        if identity == wanted {
            return Ok(true);
        }
        at = at.open_through("..".as_ref())?;
        if at.identity()? == identity {
            return Ok(false);
        }
    }
    Err(rustix::io::Errno::NAMETOOLONG.into())
}

/// This process, as `/proc` names it.
const SELF: &str = "self";

/// The mounts that this process sees.
struct MountTable(Vec<MountEntry>);

/// The path of a directory within the filesystem of a device.
#[derive(Debug)]
struct DevicePath {
    /// The device number; `None` if this process sees no mount of the filesystem.
    device: Option<String>,
    path: PathBuf,
}

impl DevicePath {
    fn is_below(&self, other: &Self) -> bool {
        self.device.is_some() && self.device == other.device && self.path.starts_with(&other.path)
    }
}

impl MountTable {
    /// Returns the device of the topmost mount at a path.
    fn device_at(&self, mountpoint: &Path) -> Option<String> {
        let mut newest = self.0.iter().rev();
        let mount = newest.find(|mount| mount.mountpoint == mountpoint);
        mount.map(|mount| mount.device.clone())
    }

    /// Returns the location of an open directory.
    fn locate(&self, dir: &Dir) -> io::Result<DevicePath> {
        let number = dir.as_fd().as_raw_fd();
        let shown = fs::read_link(format!("/proc/self/fd/{number}"))?;
        let known = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
        let id = known.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        let id = id.and_then(|id| id.trim().parse::<u64>().ok());
        let mount = self.0.iter().find(|mount| Some(mount.id) == id);
        let location = mount.and_then(|mount| {
            let below = shown.strip_prefix(&mount.mountpoint).ok()?;
            Some((mount.device.clone(), mount.root.join(below)))
        });
        Ok(match location {
            Some((device, path)) => DevicePath {
                device: Some(device),
                path,
            },
            None => DevicePath {
                device: None,
                path: shown,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_in_a_store_is_refused_whatever_its_name() {
        let top = tempfile::tempdir().unwrap();
        let (store, other) = (top.path().join("store"), top.path().join("store-2"));
        fs::create_dir_all(store.join("blobs")).unwrap();
        fs::create_dir(&other).unwrap();
        symlink(store.join("blobs"), top.path().join("link")).unwrap();
        let store = Dir::open(&store).unwrap();
        for path in [
            "store",
            "store/new",
            "store/blobs/new",
            "link",
            "link/new/below",
        ] {
            let refused = refuse_overlap(&top.path().join(path), &store, None);
            assert!(matches!(refused, Err(CommandError::Refused(_))), "{path}");
        }
        for path in ["", "new", "store-2", "store-2/new"] {
            refuse_overlap(&top.path().join(path), &store, None).unwrap();
        }
    }
}
