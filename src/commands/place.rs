//! Places: whether something would be written into a store, or into a mount of it.
//!
//! Directories are compared by what they are and not by their paths: by device and inode number
//! up to the root, and by where the kernel's table of mounts says that they stand in their
//! filesystem, so that neither a symbolic link nor a bind mount hides one in the other.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use super::mounts::{self, MountEntry};
use super::{CommandError, about};
use crate::dir::Dir;
use crate::printable::printable;

/// Most directories on the way up to the root.
const DEPTH_MAX: usize = 10_000;

/// Fails if `path`, which need not exist yet, lies in the directory of a store, or in a mount of
/// it that stands at `mountpoint`.
pub(super) fn must_lie_elsewhere(
    path: &Path,
    store: &Dir,
    mountpoint: Option<&Path>,
) -> Result<(), CommandError> {
    let refused = |what: &str, whose: &Path| {
        Err(CommandError::Refused(format!(
            "{} lies below {what} {}: choose another place",
            printable(path),
            printable(whose)
        )))
    };
    let at = nearest(path).map_err(about(path))?;
    let mounts = Mounts(mounts::table(OWN).map_err(about(&mounts::table_path(OWN)))?);
    let standing = mounts.of(&at).map_err(about(path))?;
    if let Some(mountpoint) = mountpoint
        && let Some(device) = mounts.device_at(mountpoint)
        && standing.device == Some(device)
    {
        return refused("the store's own mount", mountpoint);
    }
    let own = mounts.of(store).map_err(about(store.path()))?;
    let below = is_below(&at, store).map_err(about(path))? || standing.is_below(&own);
    if below {
        return refused("the store", store.path());
    }
    Ok(())
}

/// The directory at a path, or the nearest above it that exists.
fn nearest(path: &Path) -> io::Result<Dir> {
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

/// Returns `true` if a directory is another, or lies in it on the way up to the root.
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

/// This process, as `/proc` calls it.
const OWN: &str = "self";

/// The mounts that this process sees.
struct Mounts(Vec<MountEntry>);

/// Where a directory stands in its filesystem.
#[derive(Debug)]
struct Standing {
    device: Option<String>,
    path: PathBuf,
}

impl Standing {
    fn is_below(&self, other: &Self) -> bool {
        self.device.is_some() && self.device == other.device && self.path.starts_with(&other.path)
    }
}

impl Mounts {
    /// The device of the filesystem that shows at a mountpoint.
    fn device_at(&self, mountpoint: &Path) -> Option<String> {
        let mut newest = self.0.iter().rev();
        let mount = newest.find(|mount| mount.mountpoint == mountpoint);
        mount.map(|mount| mount.device.clone())
    }

    /// Where an open directory stands.
    fn of(&self, dir: &Dir) -> io::Result<Standing> {
        let number = dir.as_fd().as_raw_fd();
        let shown = fs::read_link(format!("/proc/self/fd/{number}"))?;
        let known = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
        let id = known.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        let id = id.and_then(|id| id.trim().parse::<u64>().ok());
        let mount = self.0.iter().find(|mount| Some(mount.id) == id);
        let place = mount.and_then(|mount| {
            let below = shown.strip_prefix(&mount.mountpoint).ok()?;
            Some((mount.device.clone(), mount.root.join(below)))
        });
        Ok(match place {
            Some((device, path)) => Standing {
                device: Some(device),
                path,
            },
            // A mount of which this process sees no place.
            None => Standing {
                device: None,
                path: shown,
            },
        })
    }
}

/// Returns the directory of a store, or `None` if it does not exist.
pub(super) fn existing(store: &Path) -> Result<Option<Dir>, CommandError> {
    match Dir::open(store) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(about(store)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_place_in_a_store_is_known_by_whatever_name_it_has() {
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
            let refused = must_lie_elsewhere(&top.path().join(path), &store, None);
            assert!(matches!(refused, Err(CommandError::Refused(_))), "{path}");
        }
        for path in ["", "new", "store-2", "store-2/new"] {
            must_lie_elsewhere(&top.path().join(path), &store, None).unwrap();
        }
    }
}
