//! A mount for one test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

pub(crate) use support::program::regfs;

use regfs::digest::{Algorithm, Digest};
use tempfile::TempDir;

use super::daemon::Daemon;

/// Waits until something holds; fails after a while.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Held by tests that count on what the kernel keeps, of all file systems.
static KEPT: RwLock<()> = RwLock::new(());

/// Has the kernel keep what it keeps until this is dropped.
pub(crate) fn keep() -> RwLockReadGuard<'static, ()> {
    KEPT.read().unwrap_or_else(PoisonError::into_inner)
}

/// Has the kernel forget what it keeps ("2": names and inodes, "3": bytes too), once no test counts
/// on it.
pub(crate) fn forget(what: &str) {
    let _alone = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    fs::write("/proc/sys/vm/drop_caches", what).unwrap();
}

/// The sha256 of some bytes, in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).hex()
}

/// A store and where it is mounted.
pub(crate) struct Mounted {
    directory: TempDir,
    daemon: Option<Daemon>,
}

impl Mounted {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// A mount with more words on the command line.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("mnt")).unwrap();
        let mut mounted = Self {
            directory,
            daemon: None,
        };
        mounted.mount(arguments);
        mounted
    }

    pub(crate) fn mount(&mut self, arguments: &[&str]) {
        assert!(
            Path::new("/dev/fuse").exists(),
            "there is no /dev/fuse to mount with"
        );
        let mut command = regfs();
        command
            .arg("mount")
            .arg(self.store())
            .arg(self.top())
            .arg("--foreground");
        // Runs the tests with the features of an older kernel.
        if let Ok(options) = std::env::var("REGFS_OPTIONS") {
            command.args(["-o", &options]);
        }
        // One test makes the daemon panic many times: print no backtraces, only the place.
        command.args(arguments).env("RUST_BACKTRACE", "0");
        self.daemon = Some(Daemon::start(&mut command, self.log()));
        let top = self.top();
        wait("the mount", || {
            // In this order: first a dead mount is still there, then for a short time none.
            rustix::fs::statfs(&top).is_ok() && is_mounted(&top)
        });
    }

    pub(crate) fn unmount(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            let top = self.top();
            // Between fork and exec, children of other tests hold our open files.
            wait("the mount to be idle", || {
                let unmounted = Command::new("umount").arg(&top).output().unwrap();
                unmounted.status.success()
            });
            daemon.ended();
        }
    }

    /// Waits until the daemon has ended by itself.
    pub(crate) fn ended(&mut self) {
        self.daemon.take().unwrap().ended();
    }

    /// Ends the daemon as no program can prepare for; the dead mount stays.
    pub(crate) fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    pub(crate) fn top(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    /// What the daemon has said.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// A path below `v2`.
    pub(crate) fn v2(&self, path: &str) -> PathBuf {
        self.top().join("docker/registry/v2").join(path)
    }

    /// A path below a repository.
    pub(crate) fn repository(&self, path: &str) -> PathBuf {
        self.v2("repositories/team/app").join(path)
    }

    /// The number of the process that serves the mount.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().pid()
    }

    /// A repository with the empty configuration `{}` and the layer `layer`.
    pub(crate) fn stock(&self) {
        fs::create_dir_all(self.repository("_manifests/tags")).unwrap();
        fs::create_dir_all(self.repository("_layers")).unwrap();
        fs::write(self.repository("_layers/config.json"), "{}").unwrap();
        fs::write(self.repository("_layers/layer.tar"), "layer").unwrap();
    }

    /// The manifest over the stock.
    pub(crate) fn stock_manifest(&self) {
        let stock = super::table::filled(super::table::STOCK);
        fs::write(self.repository("_manifests/stock.json"), stock).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            let _unmounted = Command::new("umount").arg("-l").arg(self.top()).status();
            if !std::thread::panicking() {
                daemon.ended();
                super::store::must_be_sound(&self.store());
            }
        }
    }
}

/// Whether something of ours is mounted there.
pub(crate) fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == path.to_str() && words.next().is_some_and(|kind| kind.starts_with("fuse"))
    })
}

/// The number of a failure.
pub(crate) fn errno<T>(result: io::Result<T>) -> i32 {
    result
        .err()
        .expect("it should have failed")
        .raw_os_error()
        .unwrap()
}

/// Every path below a directory, with each file's content.
pub(crate) fn tree(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|row| row.unwrap().path())
        .collect();
    names.sort();
    for path in names {
        let content = if path.is_dir() {
            Vec::new()
        } else {
            fs::read(&path).unwrap()
        };
        rows.push((path.display().to_string(), content));
        if path.is_dir() {
            rows.extend(tree(&path));
        }
    }
    rows
}

/// An extended attribute, as text.
pub(crate) fn attribute(path: &Path, name: &str) -> io::Result<String> {
    let mut buffer = vec![0; 65536];
    let len = rustix::fs::getxattr(path, name, &mut buffer)?;
    buffer.truncate(len);
    Ok(String::from_utf8(buffer).unwrap())
}
