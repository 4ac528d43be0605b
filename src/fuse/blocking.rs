//! Blocking: which requests may wait for a disk or take long, so that a worker serves them.

use std::ffi::OsStr;

use super::files::access;
use super::request::SetAttributes;
use super::service::Service;
use crate::tree::{Access, Place};

impl Service {
    /// Returns `true` if an operation on an open file may block.
    pub(super) fn may_block(&self, number: u64) -> bool {
        let handle = self.files.get(number);
        handle.is_some_and(|handle| self.tree.blocking().may_block(&handle))
    }

    /// Returns `true` if the last close(2) of a file may block.
    pub(super) fn release_may_block(&self, number: u64) -> bool {
        let handle = self.files.get(number);
        handle.is_some_and(|handle| self.tree.blocking().release_may_block(&handle))
    }

    /// Returns `true` if open(2) of an inode may block.
    pub(super) fn open_may_block(&self, ino: u64, flags: i32) -> bool {
        if access(flags) == Access::Write && self.passthrough.is_cached(ino) {
            return true;
        }
        let place = self.inodes.place(ino);
        place.is_some_and(|place| self.tree.blocking().open_may_block(&place))
    }

    /// Returns `true` if open(2) with `O_CREAT`, mknod(2) or mkdir(2) may block.
    pub(super) fn create_may_block(&self, parent: u64, name: &OsStr) -> bool {
        let parent = self.inodes.place(parent);
        parent.is_some_and(|parent| self.tree.blocking().create_may_block(&parent, name))
    }

    /// Returns `true` if stat(2) may block.
    pub(super) fn stat_may_block(&self, ino: u64) -> bool {
        let place = self.inodes.place(ino);
        place.is_some_and(|place| self.tree.blocking().stat_may_block(&place))
    }

    /// Returns `true` if chmod(2), chown(2), utimes(2) or truncate(2) may block.
    pub(super) fn set_may_block(&self, ino: u64, request: &SetAttributes) -> bool {
        let busy = || {
            let open = self.files.open_on(ino);
            open.iter()
                .any(|handle| self.tree.blocking().may_block(handle))
        };
        request.may_block()
            || request.size.is_some() && busy()
            || matches!(self.inodes.place(ino), Some(Place::Plain(_)))
    }

    /// Returns `true` if rename(2) may block.
    pub(super) fn rename_may_block(&self, parent: u64, name: &OsStr) -> bool {
        let parent = self.inodes.place(parent);
        parent.is_some_and(|parent| self.tree.blocking().rename_may_block(&parent, name))
    }

    /// Returns `true` if unlink(2) or rmdir(2) may block.
    pub(super) fn remove_may_block(&self, parent: u64, name: &OsStr) -> bool {
        let parent = self.inodes.place(parent);
        parent.is_some_and(|parent| self.tree.blocking().remove_may_block(&parent, name))
    }
}
