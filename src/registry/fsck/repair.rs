//! Repair: facts and bytes brought to agree, one finding at a time.
//!
//! Bytes are never thrown away: what is taken out is in the trash.

use super::{Cure, Discovery};
use crate::blobs::{BlobsError, Content};
use crate::digest::Digest;
use crate::name::{LinkSet, RepositoryName};
use crate::registry::{Error, Registry, now};

impl Cure {
    /// What it does, in words; nothing if it does nothing.
    pub(super) fn plan(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
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
        let retired = self.blobs.open_retired(digest);
        if let Ok(content) = retired
            && hash(content.as_ref(), digest)? == *digest
        {
            self.blobs.restore(digest)?;
            return Ok(true);
        }
        self.forget_blob(digest)?;
        drop(held);
        Ok(true)
    }

    /// Takes a blob's bytes out; the fact goes first.
    fn take_out(&self, digest: &Digest) -> Result<bool, Error> {
        let held = self.hold(digest);
        self.settle_one(digest)?;
        self.forget_blob(digest)?;
        self.blobs.retire(digest)?;
        drop(held);
        Ok(true)
    }

    /// Removes the link of a revision whose bytes are still not there.
    fn unlink(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let held = self.hold(digest);
        let removed = match self.link(name, &LinkSet::Revisions, digest) {
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
        if self.withdraw_fact(digest)? {
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
            self.blobs.retire(digest)?;
            return Ok(true);
        }
        self.blobs.settle()?;
        let size = content.len();
        self.index
            .transact(|facts| Ok::<_, Error>(facts.put_blob(digest, size, now())?))?;
        self.learn(digest)?;
        drop(held);
        Ok(true)
    }
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
