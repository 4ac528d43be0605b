//! The mounts that a process sees, read from `/proc/PID/mountinfo` (see proc(5)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The filesystem types of a regfs mount: `fusermount3` adds the subtype, mount(2) does not.
const FILESYSTEM_TYPES: [&str; 2] = ["fuse.regfs", "fuse"];

/// A mount: a directory of a filesystem, mounted at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountEntry {
    /// Its id, which `/proc/PID/fdinfo` shows for open files as `mnt_id`.
    pub(super) id: u64,
    /// The device number of the filesystem, as `major:minor`.
    pub(super) device: String,
    /// The directory of the filesystem that is mounted.
    pub(super) root: PathBuf,
    /// The path at which it is mounted.
    pub(super) mountpoint: PathBuf,
    /// The source that mount(8) shows; for a regfs mount, the path of the store.
    pub(super) source: PathBuf,
    /// The filesystem type.
    filesystem_type: String,
}

impl MountEntry {
    /// Returns the name of the mount's directory in `/sys/fs/fuse/connections`.
    pub(super) fn connection(&self) -> Option<&str> {
        self.device.split_once(':').map(|(_, minor)| minor)
    }

    /// Returns `true` for a regfs mount.
    fn is_ours(&self) -> bool {
        FILESYSTEM_TYPES.contains(&&*self.filesystem_type)
    }

    /// Parses a row: id, parent id, device, root, mountpoint, options and optional fields; after a
    /// dash filesystem type, source and more options. Returns `None` if a field is missing.
    fn parse(row: &str) -> Option<Self> {
        let (mount, filesystem) = row.split_once(" - ")?;
        let (mut mount, mut filesystem) = (mount.split(' '), filesystem.split(' '));
        Some(Self {
            id: mount.next()?.parse().ok()?,
            device: mount.nth(1)?.to_owned(),
            root: unescaped(mount.next()?),
            mountpoint: unescaped(mount.next()?),
            filesystem_type: filesystem.next()?.to_owned(),
            source: unescaped(filesystem.next()?),
        })
    }
}

/// Returns all mounts that a process sees, oldest first.
///
/// # Errors
/// The process does not exist, or its table may not be read.
pub(super) fn table(process: &str) -> io::Result<Vec<MountEntry>> {
    let text = fs::read_to_string(table_path(process))?;
    Ok(text.lines().filter_map(MountEntry::parse).collect())
}

/// Returns the path of the table of mounts of a process.
pub(super) fn table_path(process: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/mountinfo"))
}

/// Returns the regfs mounts that a process sees, oldest first. Returns none for a process that
/// does not exist or whose table may not be read.
pub(super) fn seen_by(process: &str) -> Vec<MountEntry> {
    let all = table(process).unwrap_or_default().into_iter();
    all.filter(MountEntry::is_ours).collect()
}

/// Returns the topmost regfs mount at a path.
pub(super) fn at(mountpoint: &Path) -> Option<MountEntry> {
    let mut mounts = seen_by("self").into_iter().rev();
    mounts.find(|mount| mount.mountpoint == mountpoint)
}

/// Returns `true` if this process sees a mount of a device.
pub(super) fn is_seen(device: &str) -> bool {
    seen_by("self").iter().any(|mount| mount.device == device)
}

/// Finds a process in another mount namespace that sees a mount of a device. Returns its id and
/// the path of the mount there.
pub(super) fn seen_elsewhere(device: &str) -> Option<(String, PathBuf)> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let own = namespace("self");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut processes = processes.filter_map(|row| row.file_name().into_string().ok());
    processes.find_map(|process| {
        let is_pid = process.bytes().all(|byte| byte.is_ascii_digit());
        if !is_pid || namespace(&process) == own {
            return None;
        }
        let mut mounts = seen_by(&process).into_iter();
        let mount = mounts.find(|mount| mount.device == device)?;
        Some((process, mount.mountpoint))
    })
}

/// Decodes a path of the table, in which the kernel writes white space and backslashes in octal.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|octal| std::str::from_utf8(octal).ok());
        let byte = octal.and_then(|octal| u8::from_str_radix(octal, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = match byte {
            Some(_) => after.get(3..).unwrap_or_default(),
            None => after,
        };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regfs_mounts_are_recognized_and_others_are_skipped() {
        let of = |row| MountEntry::parse(row).filter(MountEntry::is_ours);
        let line = "98 29 0:57 / /srv/a\\040b rw,nosuid - fuse.regfs /srv/store\\134x rw";
        let mount = of(line).unwrap();
        assert_eq!(mount.mountpoint, Path::new("/srv/a b"));
        assert_eq!(mount.source, Path::new("/srv/store\\x"));
        assert_eq!(mount.connection(), Some("57"));
        let optional = "98 29 0:57 / /m rw shared:7 - fuse.regfs /s rw";
        assert_eq!(of(optional).unwrap().mountpoint, Path::new("/m"));
        for other in ["", "98 29 0:57 / /m rw - ext4 /dev/sda rw", "98 29 0:57"] {
            assert_eq!(of(other), None);
        }
    }

    #[test]
    fn rows_are_parsed_as_the_kernel_writes_them() {
        let row = "36 35 98:0 /mnt1 /a\\040b\\134c rw - ext3 /dev/root rw";
        let mount = MountEntry::parse(row).unwrap();
        assert_eq!((mount.id, &*mount.device), (36, "98:0"));
        let (root, mountpoint) = (mount.root, mount.mountpoint);
        assert_eq!((root, mountpoint), ("/mnt1".into(), "/a b\\c".into()));
        assert!(MountEntry::parse("").is_none());
    }
}
