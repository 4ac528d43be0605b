//! The list of mounts, as the kernel writes it in `/proc/PID/mountinfo`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What `-t` calls a mount of ours: the helper of ordinary users adds what we are, mount(2) does
/// not.
const KINDS: [&str; 2] = ["fuse.regfs", "fuse"];

/// A mount: a directory of a filesystem, shown at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountEntry {
    /// Its number, which the kernel says of open files too.
    pub(super) id: u64,
    /// The number of its device, as `major:minor`.
    pub(super) device: String,
    /// The directory of the filesystem that is mounted.
    pub(super) root: PathBuf,
    /// Where it is mounted.
    pub(super) mountpoint: PathBuf,
    /// What is mounted, as whoever mounted it named it: of ours, the store.
    pub(super) source: PathBuf,
    /// What `-t` calls it.
    kind: String,
}

impl MountEntry {
    /// The number by which `/sys/fs/fuse/connections` knows it.
    pub(super) fn connection(&self) -> Option<&str> {
        self.device.split_once(':').map(|(_, minor)| minor)
    }

    /// Returns `true` for one of ours.
    fn is_ours(&self) -> bool {
        KINDS.contains(&&*self.kind)
    }

    /// A row: number, number of the mount above, device, root, mountpoint, options, and behind a
    /// dash kind, source and more options.
    fn parse(row: &str) -> Option<Self> {
        let (mount, filesystem) = row.split_once(" - ")?;
        let (mut mount, mut filesystem) = (mount.split(' '), filesystem.split(' '));
        Some(Self {
            id: mount.next()?.parse().ok()?,
            device: mount.nth(1)?.to_owned(),
            root: unescaped(mount.next()?),
            mountpoint: unescaped(mount.next()?),
            kind: filesystem.next()?.to_owned(),
            source: unescaped(filesystem.next()?),
        })
    }
}

/// All mounts that a process sees, in the order in which they were mounted.
///
/// # Errors
/// The process is not there, or we may not know.
pub(super) fn table(process: &str) -> io::Result<Vec<MountEntry>> {
    let text = fs::read_to_string(table_path(process))?;
    Ok(text.lines().filter_map(MountEntry::parse).collect())
}

/// The file that has the table of a process.
pub(super) fn table_path(process: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/mountinfo"))
}

/// Our mounts that a process sees, in the order in which they were mounted. Nothing for a
/// process that is not there, or of which we may not know.
pub(super) fn seen_by(process: &str) -> Vec<MountEntry> {
    let all = table(process).unwrap_or_default().into_iter();
    all.filter(MountEntry::is_ours).collect()
}

/// The mount of ours that stands at a path.
pub(super) fn at(mountpoint: &Path) -> Option<MountEntry> {
    let mut mounts = seen_by("self").into_iter().rev();
    mounts.find(|mount| mount.mountpoint == mountpoint)
}

/// Returns `true` if this process sees a mount of a device.
pub(super) fn is_seen(device: &str) -> bool {
    seen_by("self").iter().any(|mount| mount.device == device)
}

/// A process in another mount namespace that sees a mount of a device, and where it sees it.
pub(super) fn seen_elsewhere(device: &str) -> Option<(String, PathBuf)> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let own = namespace("self");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut processes = processes.filter_map(|row| row.file_name().into_string().ok());
    processes.find_map(|process| {
        let number = process.bytes().all(|byte| byte.is_ascii_digit());
        if !number || namespace(&process) == own {
            return None;
        }
        let mut mounts = seen_by(&process).into_iter();
        let mount = mounts.find(|mount| mount.device == device)?;
        Some((process, mount.mountpoint))
    })
}

/// A path as the kernel escapes it: what would end a field is written in octal.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|octal| std::str::from_utf8(octal).ok());
        let byte = octal.and_then(|octal| u8::from_str_radix(octal, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = match byte {
            Some(_) => behind.get(3..).unwrap_or_default(),
            None => behind,
        };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_of_ours_is_read_and_others_are_passed_over() {
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
    fn rows_of_the_table_are_read_as_the_kernel_writes_them() {
        let row = "36 35 98:0 /mnt1 /a\\040b\\134c rw - ext3 /dev/root rw";
        let mount = MountEntry::parse(row).unwrap();
        assert_eq!((mount.id, &*mount.device), (36, "98:0"));
        let (root, mountpoint) = (mount.root, mount.mountpoint);
        assert_eq!((root, mountpoint), ("/mnt1".into(), "/a b\\c".into()));
        assert!(MountEntry::parse("").is_none());
    }
}
