//! Daemons: the program serving a mount, in a process of its own. It does not outlive its test,
//! and what it logged is shown if the test fails.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How much of a log is shown, in bytes.
const SHOWN: usize = 8192;

/// A daemon that was started.
pub struct Daemon {
    process: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts one in the foreground; what it logs is added to this file. Nothing of the test's
    /// own is left open in it: who reads that to its end would wait for the daemon's.
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(file.unwrap()).spawn().unwrap();
        Self { process, log }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it has ended by itself, as it must without a failure.
    pub fn ended(mut self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the daemon does not end");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        assert!(self.process.wait().unwrap().success());
    }

    /// Ends it as no program can prepare for.
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
