//! Ownership: the directories that have an owner of their own, and the encoding of table A
//! (`key.rs`).

use super::field_reader::FieldReader;
use super::id::RepositoryId;

/// A directory with an owner of its own; everything below shows the same owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnedDirectory {
    /// The top of the mount.
    Mountpoint,
    /// `v2`.
    Root,
    /// `blobs`.
    Blobs,
    /// `repositories`.
    Repositories,
    /// A repository, or a directory that leads to one.
    Repository(RepositoryId),
}

impl OwnedDirectory {
    /// The byte of the kind in a key.
    pub(super) fn kind(self) -> u8 {
        match self {
            Self::Mountpoint => 1,
            Self::Root => 2,
            Self::Blobs => 3,
            Self::Repositories => 4,
            Self::Repository(_) => 5,
        }
    }

    /// Decodes the bytes of a key after its table.
    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(key);
        let owned = match fields.u8()? {
            1 => Self::Mountpoint,
            2 => Self::Root,
            3 => Self::Blobs,
            4 => Self::Repositories,
            5 => Self::Repository(RepositoryId(fields.u32()?)),
            _ => return None,
        };
        fields.0.is_empty().then_some(owned)
    }
}

/// Owner, group and permissions of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The owner; `None` for the mount's owner.
    pub uid: Option<u32>,
    /// The group; `None` for the mount's group.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: u16,
}

impl Ownership {
    /// Stands for the mount's owner or group; no user has this id.
    const NONE: u32 = u32::MAX;

    pub(super) fn encode(self) -> Vec<u8> {
        let [uid, gid] = [self.uid, self.gid].map(|id| id.unwrap_or(Self::NONE).to_be_bytes());
        [&uid[..], &gid, &self.mode.to_be_bytes()].concat()
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(value);
        let some = |id: u32| (id != Self::NONE).then_some(id);
        Some(Self {
            uid: some(fields.u32()?),
            gid: some(fields.u32()?),
            mode: fields.u16()?,
        })
    }
}
