//! Processes of the host, by the thread ids that the kernel passes with a request.
//!
//! The id is 0 for a process outside the daemon's PID namespace. A process counts as ended only if
//! that is certain.

use std::fs;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Returns `true` if two threads belong to one process: programs in Go use a file on any of their
/// threads.
pub(super) fn is_one(thread: u32, other: u32) -> bool {
    thread == other || Path::new(&format!("/proc/{thread}/task/{other}")).exists()
}

/// Returns the process of a thread, or `None` if it is not known.
pub(super) fn of(thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let mut lines = status.lines();
    lines.find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// Returns `true` if a process has certainly ended.
pub(super) fn has_ended(process: u32) -> bool {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_has_ended_only_if_that_is_known() {
        let own = std::process::id();
        assert!(!has_ended(own) && !has_ended(0) && !has_ended(1));
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(has_ended(child.id()));
    }

    #[test]
    fn a_thread_is_of_its_process() {
        let own = std::process::id();
        let thread = || rustix::thread::gettid().as_raw_pid().cast_unsigned();
        let other = std::thread::spawn(move || (of(thread()), is_one(own, thread())));
        assert_eq!(other.join().unwrap(), (Some(own), true));
        assert_eq!(of(0), None);
    }
}
