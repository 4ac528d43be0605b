//! Attributes that stat(2) shows, and changes that chmod(2), chown(2) and utimes(2) ask for.

use std::time::SystemTime;

/// The kind of a file. Only plain files in an older store are neither directories nor regular
/// files, since such files cannot be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

/// Owner, group and mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The owner; `None` for the user of the mount.
    pub uid: Option<u32>,
    /// The group; `None` for the group of the mount.
    pub gid: Option<u32>,
    /// The permission bits, with those for set-user-ID, set-group-ID and sticky.
    pub mode: u16,
}

impl Permissions {
    /// The permissions of directories of the layout for which none are stored.
    pub const DIRECTORY: Self = Self {
        uid: None,
        gid: None,
        mode: 0o755,
    };

    /// Returns the permissions of the files below a directory of the layout: no execute bits, and
    /// without set-group-ID and sticky, which have a meaning for directories only.
    #[must_use]
    pub fn of_files(self) -> Self {
        Self {
            mode: self.mode & 0o666,
            ..self
        }
    }

    /// Returns `true` if owner, group and all others have these bits (4 to read, 2 to write, 1 to
    /// search).
    pub fn allow_all(self, bits: u16) -> bool {
        let every = bits << 6 | bits << 3 | bits;
        self.mode & every == every
    }
}

/// The attributes of a file, as stat(2) shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The kind of file.
    pub kind: FileKind,
    /// The length in bytes.
    pub size: u64,
    /// The allocated blocks of 512 bytes.
    pub blocks: u64,
    /// The time of the last access, as far as it is stored.
    pub accessed: SystemTime,
    /// The time of the last change of content: for the files of registries the time of the push.
    pub modified: SystemTime,
    /// The time of the last change of content or attributes.
    pub changed: SystemTime,
    /// The number of hard links.
    pub links: u32,
    /// The device number of a device file.
    pub device: u32,
    /// Owner, group and mode.
    pub permissions: Permissions,
    /// The inode number.
    pub number: u64,
}

impl Attributes {
    pub(super) fn directory(number: u64, modified: SystemTime) -> Self {
        Self {
            kind: FileKind::Directory,
            links: 2,
            ..Self::of(number, 0, modified, Permissions::DIRECTORY)
        }
    }

    pub(super) fn file(number: u64, size: u64, modified: SystemTime) -> Self {
        Self::of(number, size, modified, Permissions::DIRECTORY.of_files())
    }

    fn of(number: u64, size: u64, modified: SystemTime, permissions: Permissions) -> Self {
        Self {
            kind: FileKind::File,
            size,
            blocks: size.div_ceil(512),
            accessed: modified,
            modified,
            changed: modified,
            links: 1,
            device: 0,
            permissions,
            number,
        }
    }
}

/// What chmod, chown and utimes ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New permission bits.
    pub mode: Option<u16>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New time of access.
    pub accessed: Option<SystemTime>,
    /// New time of modification.
    pub modified: Option<SystemTime>,
}
