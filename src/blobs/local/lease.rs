//! Leases: whether anybody else can write a file. The kernel knows also of who has mapped it and
//! closed it since, of whom nobody else is told.

#![expect(unsafe_code, reason = "leases, which only fcntl(2) takes")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Which signal tells of an opening (asm-generic/fcntl.h).
const F_SETSIG: i32 = 10;

/// Whether this is the only way in which a file can be written now. Where the filesystem knows
/// no leases, it is taken to be.
pub(super) fn is_alone(file: &File) -> bool {
    let number = file.as_raw_fd();
    // SAFETY: these commands take a number and touch no memory; the file is open meanwhile.
    let ask = |command, value: i32| unsafe { libc::fcntl(number, command, value) };
    // Should somebody open it while the lease is held, the signal is one that nobody minds.
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
