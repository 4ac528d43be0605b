//! Roots: the rootdirectory of a registry, on a plain directory or on a mount.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::program::regfs;

use tempfile::TempDir;

use super::daemon::Daemon;

/// Waits until something holds; fails after a while.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// What statfs says of a mount that a process serves (`FUSE_SUPER_MAGIC` of linux/magic.h).
const FUSE: rustix::fs::FsWord = 0x6573_5546;

/// Where a registry keeps its storage.
pub(crate) struct Root {
    directory: TempDir,
    daemon: Option<Daemon>,
    options: &'static str,
    /// Where the store is, if not beside the mountpoint.
    store: Option<PathBuf>,
}

impl Root {
    pub(crate) fn plain() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        Self {
            directory,
            daemon: None,
            options: "rw",
            store: None,
        }
    }

    pub(crate) fn mounted() -> Self {
        Self::mounted_with("rw")
    }

    /// The same with mount options.
    pub(crate) fn mounted_with(options: &'static str) -> Self {
        let mut root = Self::plain();
        root.options = options;
        root.mount();
        root
    }

    /// A mount of a store that is elsewhere.
    pub(crate) fn of_store(store: &Path, options: &'static str) -> Self {
        let mut root = Self::plain();
        (root.options, root.store) = (options, Some(store.to_owned()));
        root.mount();
        root
    }

    /// The registry's rootdirectory.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn store(&self) -> PathBuf {
        let beside = || self.directory.path().join("store");
        self.store.clone().unwrap_or_else(beside)
    }

    /// The number of the process that serves the mount.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().pid()
    }

    /// Mounts the store, and waits until the mount answers.
    pub(crate) fn mount(&mut self) {
        let mut command = regfs();
        command
            .arg("mount")
            .arg(self.store())
            .arg(self.path())
            .arg("--foreground");
        command.args(["-o", "allow_other", "-o", self.options]);
        let log = self.directory.path().join("log");
        self.daemon = Some(Daemon::start(&mut command, log));
        let answers = self.path().join("docker/registry/v2");
        // Not stat or a listing, which the kernel answers for a dead mount from its
        // cache. The directory below the mount has the same path if a registry once wrote there.
        wait("the mount", || {
            rustix::fs::statfs(&answers).is_ok_and(|of| of.f_type == FUSE)
        });
    }

    /// Ends the mount's process as no program can prepare for. The dead mount stays, until it
    /// is mounted over: below it a registry would go on in the plain directory.
    pub(crate) fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    /// Waits until the mount's process has ended by itself.
    pub(crate) fn ended(&mut self) {
        self.daemon.take().unwrap().ended();
    }

    /// The same, and the dead mount is taken away.
    pub(crate) fn kill_and_unmount(&mut self) {
        self.kill();
        unmount(&self.path());
    }
}

fn unmount(path: &Path) {
    let status = Command::new("umount").arg("-l").arg(path).status().unwrap();
    assert!(status.success(), "umount {}", path.display());
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            if std::thread::panicking() {
                let _unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
                return;
            }
            unmount(&self.path());
            daemon.ended();
            super::store::must_be_sound(&self.store());
        }
    }
}
