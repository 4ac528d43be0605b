//! Access: who may read and write.
//!
//! Everything belongs to one user and group, given at mount time. The owner and root may do
//! what the owner's bits say; the kernel is not asked to check, since that would cost it three
//! more requests for every file made.

use std::fs;

use crate::tree::{Attributes, FileKind, Writer};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Caller {
    /// Whose a change is.
    pub(super) fn writer(self) -> Writer {
        Writer {
            pid: self.pid,
            uid: self.uid,
        }
    }
}

/// The bits of access(2), and of a mode for others.
const READ: u32 = 4;
const WRITE: u32 = 2;
const EXECUTE: u32 = 1;

/// To whom everything belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    /// Whether a caller may write (or, of a directory, change what is in it).
    pub(super) fn may_write(self, caller: Caller, mode: u16) -> bool {
        self.may(caller, mode, 0o2)
    }

    /// Whether a caller may read.
    pub(super) fn may_read(self, caller: Caller, mode: u16) -> bool {
        self.may(caller, mode, 0o4)
    }

    /// Whether a caller may change mode and times.
    pub(super) fn may_change(self, caller: Caller) -> bool {
        caller.uid == 0 || caller.uid == self.uid
    }

    /// Whether a caller may do all that access(2) asks about.
    pub(super) fn may_all(self, caller: Caller, of: &Attributes, mask: u32) -> bool {
        // Root may do what it wants, but what is no program it cannot run.
        let runs = mask & EXECUTE != 0 && of.kind == FileKind::File;
        let all = [READ, WRITE, EXECUTE]
            .into_iter()
            .filter(|bit| mask & bit != 0);
        let mut bits = all.filter_map(|bit| u16::try_from(bit).ok());
        (!runs || of.mode & 0o111 != 0) && bits.all(|bit| self.may(caller, of.mode, bit))
    }

    fn may(self, caller: Caller, mode: u16, bit: u16) -> bool {
        let (group, others) = (mode & bit << 3 != 0, mode & bit != 0);
        if caller.uid == 0 {
            true
        } else if caller.uid == self.uid {
            mode & bit << 6 != 0
        } else if group != others && self.is_in_group(caller) {
            group
        } else {
            others
        }
    }

    /// Whether a caller is in the group, by its own or by one of its others.
    fn is_in_group(self, caller: Caller) -> bool {
        let listed = || {
            let status = fs::read_to_string(format!("/proc/{}/status", caller.pid)).ok()?;
            let groups = status
                .lines()
                .find_map(|line| line.strip_prefix("Groups:"))?;
            let mut groups = groups.split_whitespace().filter_map(|one| one.parse().ok());
            groups.any(|gid: u32| gid == self.gid).then_some(())
        };
        caller.gid == self.gid || listed().is_some()
    }

    /// The permission bits to show.
    pub(super) fn mode(attributes: &Attributes) -> u16 {
        match attributes.kind {
            FileKind::Symlink => 0o777,
            FileKind::Directory | FileKind::File => attributes.mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_owner_and_root_may_write_what_all_may_read() {
        let owner = Owner { uid: 7, gid: 8 };
        let (file, secret) = (0o644, 0o640);
        for (uid, gid, write, read, read_secret) in [
            (0, 0, true, true, true),
            (7, 1, true, true, true),
            (9, 8, false, true, true),
            (9, 9, false, true, false),
        ] {
            let caller = Caller { pid: 1, uid, gid };
            assert_eq!(owner.may_write(caller, file), write);
            assert_eq!(owner.may_read(caller, file), read);
            assert_eq!(owner.may_read(caller, secret), read_secret);
            assert_eq!(owner.may_change(caller), uid != 9);
        }
    }
}
