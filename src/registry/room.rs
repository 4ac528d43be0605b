//! Room: the space that is left, and the reserve that keeps a full disk manageable.
//!
//! Index and journal must be able to grow when nothing else can: what frees space is a change
//! of facts too. New bytes are therefore refused while there still is some space.

use super::{Error, Registry};
use crate::blobs::{Area, DiskSpace, StoredBlob};

/// Most that is kept in reserve, in bytes.
const RESERVE_MAX: u64 = 64 << 20;
/// The part of the filesystem that is kept in reserve, if that is less.
const RESERVE_PART: u64 = 100;

/// What is kept in reserve of a filesystem of this size.
pub(crate) fn reserve(total: u64) -> u64 {
    RESERVE_MAX.min(total / RESERVE_PART)
}

/// The space of a store: how much there is, and who may still use it.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a>(&'a Registry);

impl Registry {
    /// Returns the space of the store.
    pub fn room(&self) -> Room<'_> {
        Room(self)
    }
}

impl Room<'_> {
    /// The space of the store; what is in reserve is not available.
    pub fn space(self) -> Result<DiskSpace, Error> {
        let space = self.0.blobs.filesystem().space()?;
        Ok(DiskSpace {
            available: space.available.saturating_sub(reserve(space.total)),
            ..space
        })
    }

    /// Refuses to write on where only the reserve is left; looks once in a mebibyte.
    pub fn require_for_write(self, offset: u64, len: u64) -> Result<(), Error> {
        const LOOK: u64 = 1 << 20;
        if offset / LOOK == offset.saturating_add(len) / LOOK {
            return Ok(());
        }
        self.require()
    }

    /// Refuses to begin something new on a filesystem that is full but for its reserve.
    /// What is oldest in the trash goes first.
    pub(super) fn require(self) -> Result<(), Error> {
        let mut space = self.0.blobs.filesystem().space()?;
        let reserve = reserve(space.total);
        if space.available < reserve {
            self.free_up(reserve.saturating_mul(2))?;
            space = self.0.blobs.filesystem().space()?;
        }
        if space.available < reserve {
            let available = space.available;
            return Err(Error::Full { available, reserve });
        }
        Ok(())
    }

    /// Removes what is oldest in the trash until this many bytes are available, or it is empty.
    pub fn free_up(self, wanted: u64) -> Result<(), Error> {
        let _alone = self.0.making_room.lock();
        let lacks = || Ok::<_, Error>(self.0.blobs.filesystem().space()?.available < wanted);
        if !lacks()? {
            return Ok(());
        }
        let mut retired = self.0.blobs.list(Area::Trash, None, usize::MAX)?;
        retired.sort_unstable_by_key(|one| one.since);
        for one in retired {
            self.remove_from_trash(&one)?;
            if !lacks()? {
                break;
            }
        }
        Ok(())
    }

    /// Removes a blob from the trash, unless an open snapshot may name it, or it went there
    /// again meanwhile.
    pub(crate) fn remove_from_trash(self, one: &StoredBlob) -> Result<(), Error> {
        let _held = self.0.lock(&one.digest);
        let snapshots = self.0.snapshots.lock();
        if snapshots.since.is_none_or(|since| one.since < since) {
            self.0
                .blobs
                .remove(Area::Trash, &one.digest, Some(one.since))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_part_of_small_disks_and_bounded_on_large_ones() {
        assert_eq!(reserve(256 << 20), (256 << 20) / 100);
        assert_eq!(reserve(10 << 40), 64 << 20);
        assert_eq!(reserve(0), 0);
    }
}
