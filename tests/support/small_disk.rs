//! Small disks: filesystems in memory that fill up quickly.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A mounted filesystem of a given size in bytes.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    pub fn new(bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"]);
        assert!(mount.arg(directory.path()).status().unwrap().success());
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the free bytes.
    pub fn free(&self) -> u64 {
        let space = rustix::fs::statvfs(self.path()).unwrap();
        space.f_bavail * space.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let _busy = umount.arg("-l").arg(self.path()).status();
    }
}
