//! Sites: a plain tree, a store and an exported tree, for one test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub(crate) use support::program::regfs;

use serde_json::Value;
use tempfile::TempDir;

use super::daemon::Daemon;
use super::plain::{self, Shape};

/// Directories of one test.
pub(crate) struct Site {
    directory: TempDir,
    daemon: Option<Daemon>,
}

/// What an import found odd: each finding, its path, and what was done about it.
pub(crate) fn odd(report: &Value) -> Vec<(String, String, String)> {
    let rows = report["odd"].as_array().unwrap().iter();
    rows.map(|one| {
        let word = |name: &str| one[name].as_str().unwrap().to_owned();
        (word("finding"), word("path"), word("remedy"))
    })
    .collect()
}

/// What a successful command said, as JSON.
pub(crate) fn json(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Site {
    /// A site with a plain tree.
    pub(crate) fn with(shape: &Shape) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = Self {
            directory,
            daemon: None,
        };
        plain::write(&site.plain(), shape);
        site
    }

    pub(crate) fn top(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn plain(&self) -> PathBuf {
        self.top().join("plain")
    }

    pub(crate) fn v2(&self) -> PathBuf {
        plain::v2(&self.plain())
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.top().join("store")
    }

    /// Imports the tree.
    pub(crate) fn import(&self, words: &[&str]) -> Value {
        let mut command = regfs();
        command.args(["import", "--json"]).args(words);
        let output = command.arg(self.plain()).arg(self.store()).output();
        json(&output.unwrap())
    }

    /// Gives the store back into a directory of this name.
    pub(crate) fn export(&self, name: &str, words: &[&str]) -> Value {
        let mut command = regfs();
        command.args(["export", "--json"]).args(words);
        let target = self.top().join(name);
        let output = command.arg(self.store()).arg(target).output();
        json(&output.unwrap())
    }

    /// What a command that succeeds says; its words are about files of the site.
    pub(crate) fn told(&self, words: &[&str]) -> String {
        let output = regfs().args(words).current_dir(self.top()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that is refused says; its words are about files of the site.
    pub(crate) fn refused(&self, words: &[&str]) -> String {
        let output = regfs().args(words).current_dir(self.top()).output();
        let output = output.unwrap();
        assert!(!output.status.success(), "{words:?} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Fails if two directories differ in anything but times.
    pub(crate) fn must_be_the_same(&self, one: &str, other: &str) {
        let output = Command::new("diff")
            .args(["-r", "--no-dereference", one, other])
            .current_dir(self.top())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let shown: String = text.lines().take(20).collect::<Vec<_>>().join("\n");
        assert!(output.status.success() && text.is_empty(), "{shown}");
    }

    /// Mounts the store, and waits until the mount answers; where the registry's root is.
    pub(crate) fn mount(&mut self) -> PathBuf {
        self.mount_with("rw")
    }

    /// The same with options.
    pub(crate) fn mount_with(&mut self, options: &str) -> PathBuf {
        let path = self.top().join("mnt");
        std::fs::create_dir_all(&path).unwrap();
        let mut command = regfs();
        command.args(["mount", "--foreground", "-o", "allow_other", "-o", options]);
        command.arg(self.store()).arg(&path);
        self.daemon = Some(Daemon::start(&mut command, self.top().join("log")));
        let answers = path.join("docker/registry/v2");
        let deadline = Instant::now() + Duration::from_secs(30);
        while rustix::fs::statfs(&answers).is_err() {
            assert!(Instant::now() < deadline, "waited in vain for the mount");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        path
    }

    /// Ends the mount.
    pub(crate) fn unmount(&mut self) {
        let Some(daemon) = self.daemon.take() else {
            return;
        };
        let path = self.top().join("mnt");
        let status = Command::new("umount").arg("-l").arg(path).status();
        if !std::thread::panicking() {
            assert!(status.unwrap().success());
            daemon.ended();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.unmount();
    }
}
