//! The trash: blobs that were removed though something needed them, or were taken out.

use super::fsck::hash;
use super::{Error, Registry};
use crate::blobs::Retired;
use crate::digest::Digest;

/// What became of a blob that was to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is there again.
    Back,
    /// It was there already.
    There,
    /// Its bytes are not what its name says: it stays in the trash.
    Damaged,
}

impl Registry {
    /// What is in the trash, in the order of digests.
    pub fn trash(&self) -> Result<Vec<Retired>, Error> {
        Ok(self.blobs.retired()?)
    }

    /// Takes a blob back from the trash.
    pub fn undelete(&self, digest: &Digest) -> Result<Restored, Error> {
        let held = self.hold(digest);
        if self.has_blob(digest)? {
            return Ok(Restored::There);
        }
        let content = self.blobs.open_retired(digest)?;
        if hash(content.as_ref(), digest)? != *digest {
            return Ok(Restored::Damaged);
        }
        let size = content.len();
        self.blobs.restore(digest)?;
        self.take_in(digest, size)?;
        drop(held);
        Ok(Restored::Back)
    }
}
