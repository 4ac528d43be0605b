//! Leases: they tell whether anybody else can write a file. The kernel counts writable mappings
//! too, which outlive the descriptor and which no other call reports.

#![expect(unsafe_code, reason = "leases, which only fcntl(2) takes")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The fcntl(2) command that sets the signal for a broken lease (asm-generic/fcntl.h).
const F_SETSIG: i32 = 10;

/// Returns `true` if nobody but the caller can write a file now, and also if its filesystem does
/// not know leases.
pub(super) fn is_alone(file: &File) -> bool {
    let number = file.as_raw_fd();
    // SAFETY: these commands take a number and touch no memory; the file is open meanwhile.
    let ask = |command, value: i32| unsafe { libc::fcntl(number, command, value) };
    // If somebody opens the file while the lease is held, this process gets a signal that it
    // ignores.
    ask(F_SETSIG, libc::SIGURG);
    if ask(libc::F_SETLEASE, libc::F_WRLCK) == 0 {
        ask(libc::F_SETLEASE, libc::F_UNLCK);
        return true;
    }
    io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_opening_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(is_alone(file.as_file()));
        let other = File::options().write(true).open(file.path()).unwrap();
        assert!(!is_alone(file.as_file()));
        drop(other);
        assert!(is_alone(file.as_file()));
    }
}
