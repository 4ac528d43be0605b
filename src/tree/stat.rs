//! What stat shows of a place, and what chmod, chown and utimes change.

use std::time::SystemTime;

/// What kind of file a place is. Only plain files are others than directories and files: those
/// that an older store holds, since nobody can make one.
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

/// Who may do what with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The owner; none where it is the mount's own.
    pub uid: Option<u32>,
    /// The group; none where it is the mount's own.
    pub gid: Option<u32>,
    /// Permission bits, with those for set-user-ID, set-group-ID and sticky.
    pub mode: u16,
}

impl Permissions {
    /// Those of the layout's directories where nobody has set any.
    pub const DIRECTORY: Self = Self {
        uid: None,
        gid: None,
        mode: 0o755,
    };

    /// Those of the files below a directory of the layout with these: nobody runs a link, and
    /// what setgid and sticky mean is for directories.
    #[must_use]
    pub fn of_files(self) -> Self {
        Self {
            mode: self.mode & 0o666,
            ..self
        }
    }

    /// Returns `true` if every user may do what these bits of a class say (4 to read, 2 to
    /// write, 1 to run or search).
    pub fn allow_all(self, bits: u16) -> bool {
        let every = bits << 6 | bits << 3 | bits;
        self.mode & every == every
    }
}

/// What stat shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The kind of file.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes that it takes.
    pub blocks: u64,
    /// Time of the last access that is kept.
    pub accessed: SystemTime,
    /// Time of the last change of content: for what registries write, the time of its push.
    pub modified: SystemTime,
    /// Time of the last change of any kind.
    pub changed: SystemTime,
    /// Names that it has.
    pub links: u32,
    /// The device that a device file stands for.
    pub device: u32,
    /// Who may do what.
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
