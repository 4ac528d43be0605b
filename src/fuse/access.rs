//! Access: what a caller may do, by the rules of POSIX and the permissions that stat(2) shows.
//!
//! The daemon checks, and not the kernel (`default_permissions`): the kernel drops a directory's
//! attributes with every name that is made or removed in it, and requests them again at the next
//! lookup through it. Measured with a small image pushed through a registry, that is 465 requests
//! instead of 316 (Distribution 2.8), and 683 instead of 428 (3.1).
//!
//! The kernel answers from its caches without asking. Therefore names in a directory that not
//! every user may search are not cached, so that the kernel asks at each lookup of each user; the
//! listing of a directory that not every user may read is dropped once it was read; and when
//! permissions change, the kernel drops what it had cached. With the usual mode 0755 none of this
//! costs a request.
//!
//! The kernel would know better about capabilities (here root is user 0, even without
//! capabilities) and about supplementary groups, which are read from the calling process. Of a
//! process in a PID namespace that the daemon cannot see into, the kernel does not send the
//! number: such a caller has its own group and, when it makes something (Linux 6.3), the group of
//! the directory; its other groups are unknown. It may be denied what a group would allow it,
//! never the reverse.

use crate::tree::{Attributes, Change, FileKind, Permissions, TreeError};

use super::caller::Caller;
use super::request::SetAttributes;

/// The bits of access(2), and of each class of a mode.
pub(super) const READ: u16 = 4;
pub(super) const WRITE: u16 = 2;
/// To execute a file, or to search a directory.
pub(super) const EXECUTE: u16 = 1;

const SET_GID: u16 = 0o2000;
const STICKY: u16 = 0o1000;

/// The owner of files that have none of their own, and the user of the daemon.
#[derive(Clone, Copy, Debug)]
pub(super) struct MountOwner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The daemon's own user and group: files that these make get no owner of their own. A daemon
    /// that is not root cannot make others.
    pub(super) daemon: (u32, u32),
}

impl MountOwner {
    /// Returns the owner of a file with these permissions.
    pub(super) fn uid(self, of: Permissions) -> u32 {
        of.uid.unwrap_or(self.uid)
    }

    /// Returns the group of a file with these permissions.
    pub(super) fn gid(self, of: Permissions) -> u32 {
        of.gid.unwrap_or(self.gid)
    }

    /// Returns `true` if a caller may do all that these bits say.
    pub(super) fn may(self, caller: Caller, of: Permissions, bits: u16) -> bool {
        let class = |shift: u16| of.mode >> shift & bits == bits;
        if caller.is_root() {
            true
        } else if caller.uid == self.uid(of) {
            class(6)
        } else if class(3) == class(0) {
            // The groups make no difference.
            class(0)
        } else if caller.is_in(self.gid(of)) {
            class(3)
        } else {
            class(0)
        }
    }

    /// Returns `true` if a caller may do what access(2) asks about.
    pub(super) fn may_all(self, caller: Caller, of: &Attributes, mask: u32) -> bool {
        let bits = u16::try_from(mask & 7).unwrap_or_default();
        // Root may do everything but execute a file that nobody may execute.
        let runs = bits & EXECUTE != 0 && of.kind == FileKind::File;
        (!runs || of.permissions.mode & 0o111 != 0) && self.may(caller, of.permissions, bits)
    }

    /// Returns `true` if a caller may remove or move a file with these permissions from a
    /// directory in which it may change names.
    pub(super) fn may_take(
        self,
        caller: Caller,
        directory: Permissions,
        of: impl FnOnce() -> Result<Permissions, TreeError>,
    ) -> Result<bool, TreeError> {
        if directory.mode & STICKY == 0 || self.owns(caller, directory) {
            return Ok(true);
        }
        Ok(self.owns(caller, of()?))
    }

    /// Returns `true` if a caller may do what only owners may.
    fn owns(self, caller: Caller, of: Permissions) -> bool {
        caller.is_root() || caller.uid == self.uid(of)
    }

    /// Returns the permissions of a file that a caller makes in a directory.
    pub(super) fn made(
        self,
        caller: Caller,
        parent: Permissions,
        mode: u32,
        kind: FileKind,
    ) -> Permissions {
        let mut mode = u16::try_from(mode & 0o7777).unwrap_or_default();
        let (user, own_group) = self.daemon;
        let inherits = parent.mode & SET_GID != 0;
        if inherits && kind == FileKind::Directory {
            mode |= SET_GID;
        }
        let group = if inherits {
            parent.gid
        } else {
            Some(caller.gid).filter(|gid| *gid != own_group)
        };
        let gives = user == 0;
        Permissions {
            uid: Some(caller.uid).filter(|uid| gives && *uid != user),
            gid: group.filter(|_| gives),
            mode,
        }
    }

    /// Returns the changes that chmod(2), chown(2) and utimes(2) make to a file.
    ///
    /// # Errors
    /// [`TreeError::NotPermitted`] or [`TreeError::Denied`] if the caller may not make them.
    pub(super) fn admit(
        self,
        caller: Caller,
        asked: &SetAttributes,
        of: &Attributes,
    ) -> Result<Change, TreeError> {
        let (now, owns) = (of.permissions, self.owns(caller, of.permissions));
        let refused = || Err(TreeError::NotPermitted("for the file's owner, or for root"));
        let gives = asked.uid.is_some_and(|uid| uid != self.uid(now));
        let moves = asked.gid.is_some_and(|gid| gid != self.gid(now));
        if !caller.is_root() {
            let joins = asked.gid.is_some_and(|gid| owns && caller.is_in(gid));
            let touches_owner = asked.uid.or(asked.gid).or(asked.mode.map(u32::from));
            if gives || moves && !joins || touches_owner.is_some() && !owns {
                return refused();
            }
        }
        if (asked.accessed.or(asked.modified)).is_some() && !owns {
            if !asked.now {
                return refused();
            }
            if !self.may(caller, now, WRITE) {
                return Err(TreeError::Denied);
            }
        }
        let group = asked.gid.unwrap_or(self.gid(now));
        let strange = |mode: u16| mode & SET_GID != 0 && !caller.is_root() && !caller.is_in(group);
        Ok(Change {
            mode: asked
                .mode
                .map(|mode| if strange(mode) { mode & !SET_GID } else { mode }),
            // Every chown(2) changes the time of the last change.
            uid: asked.uid.filter(|_| caller.is_root()),
            gid: asked.gid.filter(|_| moves || caller.is_root()),
            accessed: asked.accessed,
            modified: asked.modified,
        })
    }
}

impl MountOwner {
    /// Returns a change without the owner and group that the file has already.
    pub(super) fn changed(self, change: Change, now: Permissions) -> Change {
        Change {
            uid: change.uid.filter(|uid| *uid != self.uid(now)),
            gid: change.gid.filter(|gid| *gid != self.gid(now)),
            ..change
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const OWNER: MountOwner = MountOwner {
        uid: 7,
        gid: 8,
        daemon: (0, 0),
    };

    fn caller(uid: u32, gid: u32) -> Caller {
        Caller {
            pid: 0,
            uid,
            gid,
            sent_group: None,
        }
    }

    fn with(mode: u16) -> Permissions {
        Permissions {
            uid: None,
            gid: None,
            mode,
        }
    }

    fn file(mode: u16) -> Attributes {
        Attributes {
            number: 2,
            kind: FileKind::File,
            size: 0,
            blocks: 0,
            accessed: UNIX_EPOCH,
            modified: UNIX_EPOCH,
            changed: UNIX_EPOCH,
            links: 1,
            device: 0,
            permissions: with(mode),
        }
    }

    #[test]
    fn only_the_class_of_a_user_decides() {
        for (uid, gid, write, read, read_secret) in [
            (0, 0, true, true, true),
            (7, 1, true, true, true),
            (9, 8, false, true, true),
            (9, 9, false, true, false),
        ] {
            let may = |mode, bits| OWNER.may(caller(uid, gid), with(mode), bits);
            assert_eq!(may(0o644, WRITE), write);
            assert_eq!(may(0o644, READ), read);
            assert_eq!(may(0o640, READ), read_secret);
        }
        // An owner without permission is denied, even if others are not.
        assert!(!OWNER.may(caller(7, 1), with(0o066), READ));
        assert!(OWNER.may(caller(9, 9), with(0o602), WRITE));
        assert!(!OWNER.may(caller(9, 9), with(0o602), READ | WRITE));
    }

    #[test]
    fn only_owners_remove_from_a_sticky_directory() {
        let take = |uid, of: Permissions| {
            OWNER
                .may_take(caller(uid, 9), with(0o1777), || Ok(of))
                .unwrap()
        };
        let theirs = Permissions {
            uid: Some(9),
            ..with(0o644)
        };
        assert!(take(9, theirs) && take(7, theirs) && take(0, theirs));
        assert!(!take(10, theirs));
    }

    #[test]
    fn owners_change_modes_and_only_root_gives_files_away() {
        let admit = |uid, asked: &SetAttributes| OWNER.admit(caller(uid, 9), asked, &file(0o664));
        let chmod = SetAttributes {
            mode: Some(0o2755),
            ..SetAttributes::default()
        };
        assert!(admit(9, &chmod).is_err());
        // Not in the file's group: no set-group-ID.
        assert_eq!(admit(7, &chmod).unwrap().mode, Some(0o755));
        assert_eq!(admit(0, &chmod).unwrap().mode, Some(0o2755));
        let chown = |uid, gid| SetAttributes {
            uid,
            gid,
            ..SetAttributes::default()
        };
        assert!(admit(7, &chown(Some(9), None)).is_err());
        assert!(admit(7, &chown(Some(7), Some(9))).is_ok());
        assert!(admit(7, &chown(None, Some(10))).is_err());
        assert!(admit(0, &chown(Some(9), Some(10))).is_ok());
        let touch = |now| SetAttributes {
            accessed: Some(UNIX_EPOCH),
            modified: Some(UNIX_EPOCH),
            now,
            ..SetAttributes::default()
        };
        let group = |now| OWNER.admit(caller(9, 8), &touch(now), &file(0o664));
        assert!(group(true).is_ok());
        assert!(matches!(group(false), Err(TreeError::NotPermitted(_))));
        assert!(matches!(admit(9, &touch(true)), Err(TreeError::Denied)));
    }
}
