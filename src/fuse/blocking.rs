//! Waits: which requests may wait for a disk, so that a worker answers them. It does not say how
//! they are answered.

use std::ffi::OsStr;

use super::files::access;
use super::request::SetAttributes;
use super::service::Service;
use crate::tree::{Access, Place};

impl Service {
    /// Whether what is done with an open file may wait for the disk.
    pub(super) fn may_block(&self, number: u64) -> bool {
        let handle = self.files.get(number);
        handle.is_some_and(|handle| self.tree.may_wait(&handle))
    }

    /// Whether the last close(2) of an open file may.
    pub(super) fn release_may_block(&self, number: u64) -> bool {
        let handle = self.files.get(number);
        handle.is_some_and(|handle| self.tree.release_may_wait(&handle))
    }

    /// Whether open(2) of an inode may.
    pub(super) fn open_may_block(&self, ino: u64, flags: i32) -> bool {
        if access(flags) == Access::Write && self.passthrough.is_cached(ino) {
            return true;
        }
        let place = self.inodes.place(ino);
        place.is_some_and(|place| self.tree.open_may_wait(&place))
    }

    /// Whether open(2) with `O_CREAT`, mknod(2) and mkdir(2) may wait for the disk.
    pub(super) fn create_may_block(&self, parent: u64, name: &OsStr) -> bool {
        let parent = self.inodes.place(parent);
        parent.is_some_and(|parent| self.tree.create_may_wait(&parent, name))
    }

    /// Whether stat(2) may.
    pub(super) fn stat_may_block(&self, ino: u64) -> bool {
        let place = self.inodes.place(ino);
        place.is_some_and(|place| self.tree.stat_may_wait(&place))
    }

    /// Whether chmod(2), chown(2), utimes(2) and truncate(2) may.
    pub(super) fn set_may_block(&self, ino: u64, request: &SetAttributes) -> bool {
        let busy = || {
            let open = self.files.open_on(ino);
            open.iter().any(|handle| self.tree.may_wait(handle))
        };
        request.may_block()
            || request.size.is_some() && busy()
            || matches!(self.inodes.place(ino), Some(Place::Plain(_)))
    }

    /// Whether rename(2) may wait for the disk.
    pub(super) fn rename_may_block(&self, parent: u64, name: &OsStr) -> bool {
        let parent = self.inodes.place(parent);
        parent.is_some_and(|parent| self.tree.rename_may_wait(&parent, name))
    }

    /// Whether unlink(2) and rmdir(2) may.
    pub(super) fn remove_may_block(&self, parent: u64, name: &OsStr) -> bool {
        let parent = self.inodes.place(parent);
        parent.is_some_and(|parent| self.tree.remove_may_wait(&parent, name))
    }
}
