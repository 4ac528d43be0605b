//! Room: the free space of the store, and the reserve that keeps a full disk manageable.
//!
//! Index and journal must be able to grow when nothing else can, since removal is a change of facts
//! too. New bytes are therefore refused while some space is still free.

use super::{Error, Registry};
use crate::blobs::{Area, DiskSpace, StoredBlob};

/// Largest reserve, in bytes.
const RESERVE_MAX: u64 = 64 << 20;
/// The reserve is at most one part in this many of the filesystem.
const RESERVE_PART: u64 = 100;

/// Returns the reserve in bytes for a filesystem of `total` bytes.
pub(crate) fn reserve(total: u64) -> u64 {
    RESERVE_MAX.min(total / RESERVE_PART)
}

/// The free space of a store.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a>(&'a Registry);

impl Registry {
    /// Returns the free space of the store.
    pub fn room(&self) -> Room<'_> {
        Room(self)
    }
}

impl Room<'_> {
    /// Returns the space of the store's filesystem in bytes. The reserve is not available.
    ///
    /// # Errors
    /// The failure to read the state of the filesystem.
    pub fn space(self) -> Result<DiskSpace, Error> {
        let space = self.0.blobs.filesystem().space()?;
        Ok(DiskSpace {
            available: space.available.saturating_sub(reserve(space.total)),
            ..space
        })
    }

    /// Refuses a write that extends a file while only the reserve is free. It checks once for each
    /// MiB that is written.
    ///
    /// # Errors
    /// [`Error::Full`], after an attempt to free space.
    pub fn require_for_write(self, offset: u64, len: u64) -> Result<(), Error> {
        const CHECK_EVERY: u64 = 1 << 20;
        if offset / CHECK_EVERY == offset.saturating_add(len) / CHECK_EVERY {
            return Ok(());
        }
        self.require()
    }

    /// Refuses to begin a new file while only the reserve is free. Removes the oldest blobs from
    /// the trash before it refuses.
    ///
    /// # Errors
    /// [`Error::Full`] if that did not help.
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

    /// Removes the oldest blobs from the trash until `wanted` bytes are available, or the trash is
    /// empty.
    pub fn free_up(self, wanted: u64) -> Result<(), Error> {
        let _alone = self.0.making_room.lock();
        let is_short = || Ok::<_, Error>(self.0.blobs.filesystem().space()?.available < wanted);
        if !is_short()? {
            return Ok(());
        }
        let mut retired = self.0.blobs.list(Area::Trash, None, usize::MAX)?;
        retired.sort_unstable_by_key(|blob| blob.since);
        for blob in retired {
            self.remove_from_trash(&blob)?;
            if !is_short()? {
                break;
            }
        }
        Ok(())
    }

    /// Removes a blob from the trash, unless an open snapshot may name it, or it was moved there
    /// again meanwhile.
    pub(crate) fn remove_from_trash(self, blob: &StoredBlob) -> Result<(), Error> {
        let _lock = self.0.lock(&blob.digest);
        let snapshots = self.0.snapshots.lock();
        if snapshots.since.is_none_or(|since| blob.since < since) {
            self.0
                .blobs
                .remove(Area::Trash, &blob.digest, Some(blob.since))?;
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
