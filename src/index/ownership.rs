//! Ownership: the directories that keep to whom they belong, and how that is written down (the
//! table stands in `key.rs`).

use super::key::FieldReader;
use super::record::RepositoryId;

/// A directory that keeps to whom it belongs; what is below shows the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnedDirectory {
    /// The top of the mount.
    Mountpoint,
    /// The top of the layout.
    Root,
    /// That of the blobs.
    Blobs,
    /// That of the repositories.
    Repositories,
    /// A repository, or a directory on the way to one.
    Repository(RepositoryId),
}

impl OwnedDirectory {
    /// The byte that stands for the kind.
    pub(super) fn kind(self) -> u8 {
        match self {
            Self::Mountpoint => 1,
            Self::Root => 2,
            Self::Blobs => 3,
            Self::Repositories => 4,
            Self::Repository(_) => 5,
        }
    }

    /// What a key says behind its table; nothing if that is none of these.
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

/// To whom a directory belongs, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The owner; nothing where it is the mount's own.
    pub uid: Option<u32>,
    /// The group; nothing where it is the mount's own.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: u16,
}

impl Ownership {
    /// Nobody has this number.
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
