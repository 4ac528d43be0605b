//! Disks: filesystems in a file, whose power can be cut.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::clients::run;
use super::root::wait;

/// Shuts a filesystem down as a power cut would (`FS_IOC_SHUTDOWN`, without flushing its log):
/// what was not made durable is gone, and whatever is asked of it from now on fails.
const CUT: &str = "
import fcntl, os, struct, sys
directory = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(directory, 0x8004587d, struct.pack('I', 2))
";

/// A filesystem in a file.
pub(crate) struct Disk {
    directory: TempDir,
}

impl Disk {
    /// A new one of this kind and size in MiB, mounted.
    pub(crate) fn new(kind: &str, size: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        let disk = Self { directory };
        let image = disk.image();
        run(Command::new("truncate")
            .arg(format!("-s{size}M"))
            .arg(&image));
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    pub(crate) fn mount(&self) {
        let mut mount = Command::new("mount");
        run(mount
            .args(["-o", "loop"])
            .arg(self.image())
            .arg(self.path()));
    }

    /// Cuts its power.
    pub(crate) fn cut(&self) {
        run(Command::new("python3").args(["-c", CUT]).arg(self.path()));
    }

    /// Takes it off, and puts it on again as a machine does that starts.
    pub(crate) fn restart(&self) {
        unmount(&self.path());
        self.mount();
    }
}

/// Takes a disk off. The kernel lets go of files that it read and wrote for a mount whose
/// process was killed a moment after that.
fn unmount(path: &Path) {
    wait(&format!("{} to be free", path.display()), || {
        let umount = Command::new("umount").arg(path).output();
        umount.is_ok_and(|done| done.status.success())
    });
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let _busy = umount.arg("-l").arg(self.path()).status();
    }
}
