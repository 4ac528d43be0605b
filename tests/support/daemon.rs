//! Daemons: the program serving a mount in a process of its own. It is killed at the end of its
//! test, and its log is printed if the test fails.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How many bytes of the log's end are printed.
const SHOWN: usize = 8192;

/// A running daemon.
pub struct Daemon {
    process: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a daemon in the foreground, which appends its log to this file. It inherits no other
    /// file of the test: a reader of such a file would wait for the daemon to end.
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(file.unwrap()).spawn().unwrap();
        Self { process, log }
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the daemon has ended by itself; it must succeed.
    pub fn ended(mut self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the daemon does not end");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        assert!(self.process.wait().unwrap().success());
    }

    /// Kills the daemon (SIGKILL).
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _ended = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read(&self.log).unwrap_or_default();
            let shown = String::from_utf8_lossy(&log[log.len().saturating_sub(SHOWN)..]);
            eprintln!("the daemon logged:\n{shown}");
        }
    }
}
