//! The caller of a request: its process, its user and its groups.

use std::fs;

use crate::tree::Writer;

/// The caller of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The supplementary group that the kernel sends: that of the directory in which the caller
    /// makes something, if the caller is in it.
    pub(super) sent_group: Option<u32>,
}

impl Caller {
    /// Returns the caller as the tree knows it.
    pub(super) fn writer(self) -> Writer {
        Writer {
            pid: self.pid,
            uid: self.uid,
        }
    }

    /// Returns `true` if the caller is root.
    pub(super) fn is_root(self) -> bool {
        self.uid == 0
    }

    /// Returns `true` if the caller is in a group, by its own or by one of its others.
    pub(super) fn is_in(self, gid: u32) -> bool {
        let known = self.gid == gid || self.sent_group == Some(gid);
        known || self.pid != 0 && self.supplementary(gid).unwrap_or(false)
    }

    /// Returns `None` if the groups of the process cannot be read.
    fn supplementary(self, gid: u32) -> Option<bool> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let groups = status
            .lines()
            .find_map(|line| line.strip_prefix("Groups:"))?;
        let mut groups = groups.split_whitespace().filter_map(|one| one.parse().ok());
        Some(groups.any(|one: u32| one == gid))
    }
}
