//! Repair: facts and bytes brought to agree, one finding at a time.
//!
//! Bytes are never thrown away: what is taken out is in the trash.

use std::sync::Arc;

use super::{Cure, Discovery};
use crate::blobs::{BlobsError, Content};
use crate::digest::Digest;
use crate::name::{LinkSet, RepositoryName};
use crate::registry::{Error, Registry};

impl Cure {
    /// What it does, in words; nothing if it does nothing.
    pub(super) fn plan(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::GoOn => Some("go on with what there is, the damaged segments kept aside"),
            Self::Mend(flaw) if flaw.value.is_none() => Some("write the row"),
            Self::Mend(_) => Some("remove the row"),
            Self::Learn(_) => Some("read the manifest again"),
            Self::Missing(_) => {
                Some("take its bytes back from the trash, or else forget it until it is pushed")
            }
            Self::TakeOut(_) => Some("take it out, so that it can be pushed again"),
            Self::Unlink(..) => Some("remove the link, at which collection would end"),
            Self::Adopt(_) => Some("make it a blob if its bytes are right, or else take it out"),
        }
    }
}

impl Registry {
    /// Does what a discovery asks for; whether anything was done.
    pub fn repair(&self, discovery: &Discovery) -> Result<bool, Error> {
        match &discovery.cure {
            Cure::Nothing => Ok(false),
            // That was done when the store was opened.
            Cure::GoOn => {
                *self.damage.lock() = None;
                Ok(true)
            }
            Cure::Mend(flaw) => Ok(self.index.mend(flaw)?),
            Cure::Learn(digest) => {
                let held = self.hold(digest);
                self.learn(digest)?;
                drop(held);
                Ok(true)
            }
            Cure::Missing(digest) => self.bring_back(digest),
            Cure::TakeOut(digest) => self.take_out(digest),
            Cure::Unlink(name, digest) => self.unlink(name, digest),
            Cure::Adopt(digest) => self.adopt_file(digest),
        }
    }

    /// Takes the bytes of a blob back from the trash if they are right there; forgets otherwise
    /// that it was here.
    fn bring_back(&self, digest: &Digest) -> Result<bool, Error> {
        let held = self.hold(digest);
        if self.blobs.open(digest).is_ok() {
            return Ok(false);
        }
        if right(self.blobs.open_retired(digest), digest)?.is_some() {
            self.blobs.restore(digest)?;
            self.blobs.settle()?;
            return Ok(true);
        }
        self.forget_blob(digest)?;
        drop(held);
        Ok(true)
    }

    /// Takes a blob's bytes out, if they are still wrong; the fact goes first. Right ones in the
    /// trash take their place.
    fn take_out(&self, digest: &Digest) -> Result<bool, Error> {
        let held = self.hold(digest);
        let blob = self.index.view().blob(digest)?.filter(|blob| blob.present);
        let Some(blob) = blob else { return Ok(false) };
        if let Some(size) = self.right_on_disk(digest)? {
            // Pushed again meanwhile, or of another length than was noted.
            if blob.inline {
                self.note(&[*digest], false)?;
            } else {
                self.take_in(digest, size)?;
            }
            return Ok(true);
        }
        let retired = right(self.blobs.open_retired(digest), digest)?;
        self.settle_one(digest)?;
        self.forget_blob(digest)?;
        if let Some(size) = retired {
            self.blobs.restore(digest)?;
            self.take_in(digest, size)?;
            return Ok(true);
        }
        self.retire(digest)?;
        drop(held);
        Ok(true)
    }

    /// Removes the link of a revision whose bytes are still not there.
    fn unlink(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let held = self.hold(digest);
        let removed = match self.queries().link(name, &LinkSet::Revisions, digest) {
            Ok((target, _)) if !self.has_blob(&target)? => {
                self.remove_link(name, &LinkSet::Revisions, digest)?;
                true
            }
            Ok(_) | Err(Error::Missing) => false,
            Err(error) => return Err(error),
        };
        drop(held);
        Ok(removed)
    }

    /// A blob is not here any more, and not known as a manifest.
    fn forget_blob(&self, digest: &Digest) -> Result<(), Error> {
        let nobody_comes = self.needs.write();
        let was_manifest = self.withdraw_fact(digest)?;
        drop(nobody_comes);
        self.index.sync()?;
        if was_manifest {
            self.forget_edges(digest)?;
        }
        Ok(())
    }

    /// Makes a file a blob whose bytes are right; takes it out otherwise.
    fn adopt_file(&self, digest: &Digest) -> Result<bool, Error> {
        let held = self.hold(digest);
        let known = self.index.view().blob(digest)?;
        if known.is_some_and(|blob| blob.present && !blob.inline) {
            return Ok(false);
        }
        let content = self.blobs.open(digest)?;
        let inline = known.is_some_and(|blob| blob.present);
        if inline || hash(content.as_ref(), digest)? != *digest {
            self.retire(digest)?;
            return Ok(true);
        }
        self.take_in(digest, content.len())?;
        drop(held);
        Ok(true)
    }
}

/// The length of bytes that are there and what the digest says.
fn right(
    content: Result<Arc<dyn Content>, BlobsError>,
    digest: &Digest,
) -> Result<Option<u64>, Error> {
    let content = match content {
        Err(BlobsError::Missing(_)) => return Ok(None),
        content => content?,
    };
    let actual = hash(content.as_ref(), digest)?;
    Ok((actual == *digest).then(|| content.len()))
}

/// The digest that bytes have.
pub(in crate::registry) fn hash(
    content: &dyn Content,
    like: &Digest,
) -> Result<Digest, BlobsError> {
    let mut offset = 0;
    Digest::of_parts(like.algorithm(), |buffer| {
        let read = content.read_at(offset, buffer)?;
        offset += read as u64;
        Ok(read)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::Algorithm;
    use crate::registry::publish::INLINE_BYTES_MAX;
    use crate::registry::{Bytes, Discovery, Fault, Scrubbing};
    use crate::{blobs, blobs::Blobs as _};

    static LAYER: [u8; INLINE_BYTES_MAX + 1] = [1; INLINE_BYTES_MAX + 1];

    /// What fsck says of a layer that has rotted.
    fn rot(registry: &Registry, bytes: &blobs::Memory, digest: &Digest) -> Discovery {
        bytes.give_back(9, Some(digest), b"rotten").unwrap();
        let scrubbing = Scrubbing {
            rate: None,
            age: Duration::ZERO,
        };
        registry.scrub(&scrubbing, |_, _| true).unwrap();
        assert!(registry.read_whole(digest).is_err());
        let found = registry.check_all(|_, _| {}).unwrap().discoveries;
        let mut found = found.into_iter();
        found.find(|one| one.fault == Fault::BlobSize).unwrap()
    }

    #[test]
    fn what_was_pushed_again_since_the_check_is_not_taken_out() {
        let (registry, bytes) = Registry::in_memory();
        let digest = Digest::of(Algorithm::Sha256, &LAYER);
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        let discovery = rot(&registry, &bytes, &digest);
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        registry.repair(&discovery).unwrap();
        assert_eq!(registry.read_whole(&digest).unwrap(), LAYER);
    }

    #[test]
    fn right_bytes_in_the_trash_take_the_place_of_wrong_ones() {
        let (registry, bytes) = Registry::in_memory();
        let digest = Digest::of(Algorithm::Sha256, &LAYER);
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        bytes.retire(&digest).unwrap();
        let discovery = rot(&registry, &bytes, &digest);
        assert!(registry.repair(&discovery).unwrap());
        assert_eq!(registry.read_whole(&digest).unwrap(), LAYER);
        // Bytes that stay wrong go to the trash, and can be pushed again.
        let discovery = rot(&registry, &bytes, &digest);
        assert!(registry.repair(&discovery).unwrap());
        assert!(!registry.has_blob(&digest).unwrap());
        assert!(bytes.open_retired(&digest).is_ok());
        registry.publish(Bytes::Held(&LAYER), &digest).unwrap();
        assert_eq!(registry.read_whole(&digest).unwrap(), LAYER);
    }
}
