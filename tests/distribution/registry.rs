//! Registries: real ones, started with a configuration and stopped again.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use super::http;
use super::root::wait;
use super::tool::tool;

/// A version of distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V2_8,
    V3_0,
    V3_1,
}

impl Version {
    pub(crate) const ALL: [Self; 3] = [Self::V2_8, Self::V3_0, Self::V3_1];

    fn program(self) -> PathBuf {
        match self {
            Self::V2_8 => "docker-registry".into(),
            Self::V3_0 => tool("registry-3.0.0"),
            Self::V3_1 => tool("registry-3.1.1"),
        }
    }
}

/// How a registry is to run, besides its root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) read_only: bool,
    /// The port of the registry that it caches.
    pub(crate) proxy: Option<u16>,
    /// Whether uploads are purged at once, whatever their age.
    pub(crate) purge: bool,
}

/// A registry that answers.
pub(crate) struct Registry {
    pub(crate) port: u16,
    pub(crate) debug: u16,
    process: Child,
    version: Version,
    directory: TempDir,
}

/// A port that nobody has, nor is given again: below those that the kernel gives out itself.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn configuration(root: &Path, port: u16, debug: u16, setup: &Setup) -> String {
    let mut text = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage:\n  \
         filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n  maintenance:\n",
        root.display()
    );
    let _ = writeln!(text, "    readonly: {{enabled: {}}}", setup.read_only);
    let age = if setup.purge { "1s" } else { "168h" };
    let _ = writeln!(
        text,
        "    uploadpurging: {{enabled: {}, age: {age}, interval: 1h, dryrun: false}}",
        setup.purge
    );
    let _ = writeln!(
        text,
        "http: {{addr: '127.0.0.1:{port}', secret: s, debug: {{addr: '127.0.0.1:{debug}'}}}}\n\
         health: {{storagedriver: {{enabled: true, interval: 1s, threshold: 1}}}}"
    );
    if let Some(upstream) = setup.proxy {
        let _ = writeln!(text, "proxy: {{remoteurl: 'http://127.0.0.1:{upstream}'}}");
    }
    text
}

impl Registry {
    /// Starts a registry on a root, and waits until it answers.
    pub(crate) fn start(version: Version, root: &Path, setup: &Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, debug) = (free_port(), free_port());
        let config = directory.path().join("config.yml");
        fs::write(&config, configuration(root, port, debug, setup)).unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(version.program());
        command
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none");
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().expect("a registry: run scripts/install");
        let registry = Self {
            port,
            debug,
            process,
            version,
            directory,
        };
        wait("the registry", || {
            http::request(port, "GET", "/v2/", &[], b"").is_some()
        });
        registry
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Runs the registry's own collection on the same root; what it prints, in any order.
    pub(crate) fn collect(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = Command::new(self.version.program());
        command.arg("garbage-collect").args(arguments);
        command
            .arg(self.directory.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none");
        let output = command.stderr(Stdio::null()).output().unwrap();
        let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines.push(format!("{}", output.status));
        lines
    }
}

impl Registry {
    /// Ends it at once, as a restart of its container might.
    pub(crate) fn stop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("{:?} logged:\n{}", self.version, self.log());
        }
    }
}
