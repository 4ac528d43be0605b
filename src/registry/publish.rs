//! Publication: bytes become blobs, under the digest that they have and no other.
//!
//! Small blobs (manifests, configurations) are kept in the index itself: bytes and fact become
//! durable in the same flush, and no file is made. Of others the bytes are [kept](super::logged) or
//! made durable first.

use std::sync::Arc;

use super::directory::{mark, repository, upload};
use super::link::link;
use super::references::index_references;
use super::{Error, Registry, StagedUpload, now};
use crate::blobs::{Area, BlobsError, Draft, Published, Survives, Vouched};
use crate::digest::{Algorithm, Digest};
use crate::index::{RepositoryDirectories, Transaction, Upload};
use crate::name::{LinkSet, RepositoryName, UploadId};

/// Largest blob that is kept in the index, in bytes. Measured (`scripts/measure inline`), the
/// index is faster up to 128 KiB at least: a durable write in a fifth of the time, a read in
/// half. Nearly every manifest and configuration fits into this; more would make an index that
/// is copied whole by a backup as large as what it indexes.
pub const INLINE_BYTES_MAX: usize = 16 << 10;

/// Bytes that are to become a blob.
#[derive(Clone, Copy, Debug)]
pub enum Bytes<'a> {
    /// In memory.
    Held(&'a [u8]),
    /// In staging.
    Staged(&'a StagedUpload),
}

impl Bytes<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Staged(staging) => staging.len(),
        }
    }

    fn digest(&self, algorithm: Algorithm) -> Result<Digest, Error> {
        match self {
            Self::Held(bytes) => Ok(Digest::of(algorithm, bytes)),
            Self::Staged(staging) => staging.digest(algorithm),
        }
    }

    fn read(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Held(bytes) => Ok(bytes.to_vec()),
            Self::Staged(staging) => {
                let mut bytes = vec![0; usize::try_from(staging.len()).unwrap_or_default()];
                let read = staging.read_at(0, &mut bytes)?;
                bytes.truncate(read);
                Ok(bytes)
            }
        }
    }
}

/// A blob whose bytes are where they will stay, as soon as a fact names them.
enum PreparedBlob {
    /// They come with the fact.
    Inline(Vec<u8>),
    /// They are among the blobs; until what was this draft is settled there, a crash may put it
    /// back.
    File {
        published: Published,
        draft: Arc<dyn Draft>,
        /// What discards the draft once this is dropped, unless the caller does.
        _discards: Option<StagedUpload>,
    },
    /// They and the fact are there.
    Known,
}

impl Registry {
    /// Publishes bytes under `digest`, if that is what they hash to. The fact that names them
    /// is durable after the next sync, and they are before it.
    pub fn publish(&self, bytes: Bytes<'_>, digest: &Digest) -> Result<(), Error> {
        self.publish_with(bytes, digest, |_| Ok(()))
    }

    /// Publishes an upload's bytes; the upload's data is gone in the same moment.
    pub fn publish_upload(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        digest: &Digest,
    ) -> Result<(), Error> {
        let staging = self.uploads().data(name, id)?;
        let number = staging.draft().id();
        self.publish_with(Bytes::Staged(&staging), digest, |tx| {
            let (repository, record) = upload(tx, name, id)?;
            let record = Upload {
                has_data: false,
                ..record
            };
            if tx.blobs().pending_publication(digest)? != Some(number) {
                tx.uploads().remove_logged_bytes(number)?;
            }
            Ok(tx.uploads().put(repository.id, id, &record)?)
        })?;
        self.open_uploads.close(number);
        self.reclaim_when_durable(number);
        Ok(())
    }

    /// Bytes first, then the fact, together with whatever else `also` changes.
    fn publish_with(
        &self,
        bytes: Bytes<'_>,
        digest: &Digest,
        also: impl FnMut(&mut Transaction<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let lock = self.lock(digest);
        self.publish_locked(&[(bytes, *digest)], also)?;
        index_references(self, digest)?;
        drop(lock);
        Ok(())
    }

    /// The same for several blobs at once, whose shards the caller holds.
    pub(super) fn publish_locked(
        &self,
        parts: &[(Bytes<'_>, Digest)],
        mut also: impl FnMut(&mut Transaction<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut prepared = Vec::new();
        let mut publish = || {
            for (bytes, digest) in parts {
                prepared.push((*digest, self.prepare(bytes, digest)?));
            }
            let _no_removal = self.reference_lock.read();
            self.index.transact(|tx| {
                for (digest, bytes) in &prepared {
                    match bytes {
                        PreparedBlob::Inline(bytes) => {
                            tx.blobs().put_inline(digest, bytes, now())?;
                        }
                        PreparedBlob::File {
                            published, draft, ..
                        } => {
                            tx.blobs().put(digest, published.len, now())?;
                            if published.survives != Survives::ByDigest {
                                tx.blobs().put_pending_publication(digest, draft.id());
                            }
                            if published.survives == Survives::ByNumber {
                                tx.uploads().remove_logged_bytes(draft.id())?;
                            }
                        }
                        PreparedBlob::Known => {}
                    }
                }
                also(tx)
            })
        };
        let published = publish();
        if published.is_err() {
            self.roll_back(&prepared);
        }
        let unsettled = prepared.iter().filter(|(_, bytes)| match bytes {
            PreparedBlob::File { published, .. } => published.survives == Survives::ByNumber,
            PreparedBlob::Inline(_) | PreparedBlob::Known => false,
        });
        self.add_pending(unsettled.count());
        published
    }

    /// Verifies bytes and puts them where they will stay.
    fn prepare(&self, bytes: &Bytes<'_>, digest: &Digest) -> Result<PreparedBlob, Error> {
        let known = self.index.view().blobs().get(digest)?;
        if known.is_some_and(|blob| blob.present && blob.damaged && !blob.inline) {
            // What is in the way is worth nothing.
            self.retire(digest)?;
        }
        let known = known.is_some_and(|blob| blob.present && !blob.damaged);
        let small = bytes.len() <= INLINE_BYTES_MAX as u64;
        if small || (known && matches!(bytes, Bytes::Held(_))) {
            let content = bytes.read()?;
            let actual = Digest::of(digest.algorithm(), &content);
            if actual != *digest {
                let (expected, size) = (*digest, content.len() as u64);
                return Err(Error::Blobs(BlobsError::Mismatch {
                    expected,
                    actual,
                    size,
                }));
            }
            return Ok(if known {
                PreparedBlob::Known
            } else {
                PreparedBlob::Inline(content)
            });
        }
        match bytes {
            Bytes::Staged(staging) => self.move_in(staging.draft(), None, digest, known),
            Bytes::Held(bytes) => {
                let staging = self.stage()?;
                staging.write_at(0, bytes)?;
                let draft = Arc::clone(staging.draft());
                self.move_in(&draft, Some(staging), digest, known)
            }
        }
    }

    /// Moves staged bytes to where they will stay.
    fn move_in(
        &self,
        draft: &Arc<dyn Draft>,
        staging: Option<StagedUpload>,
        digest: &Digest,
        known: bool,
    ) -> Result<PreparedBlob, Error> {
        let logged = self.log(draft.as_ref())?;
        let published = draft.publish(digest, Vouched { logged, known })?;
        // One that is known may have lost its file, which this has brought back.
        if known && published.survives == Survives::ByDigest {
            return Ok(PreparedBlob::Known);
        }
        Ok(PreparedBlob::File {
            published,
            draft: Arc::clone(draft),
            _discards: staging,
        })
    }

    /// Stages bytes again that no fact names, or removes them. What cannot be removed now fsck
    /// finds.
    fn roll_back(&self, ready: &[(Digest, PreparedBlob)]) {
        for (digest, bytes) in ready {
            let withdrawn = match bytes {
                PreparedBlob::File { published, .. }
                    if published.survives == Survives::ByDigest =>
                {
                    self.blobs.remove(Area::Live, digest, None)
                }
                PreparedBlob::File { draft, .. } => draft.unpublish(digest),
                PreparedBlob::Inline(_) | PreparedBlob::Known => continue,
            };
            match withdrawn {
                Ok(()) | Err(BlobsError::Missing(_)) => {}
                Err(error) => log::warn!("blob {digest} stays without a fact: {error}"),
            }
        }
    }

    /// Stores bytes as a layer (or configuration) of a repository: blob and link in one.
    /// `expected` is the digest that the bytes must have, if the caller knows one. Gives the
    /// digest, and whether the repository did not have it before.
    pub fn store_layer(
        &self,
        name: &RepositoryName,
        bytes: Bytes<'_>,
        expected: Option<&Digest>,
    ) -> Result<(Digest, bool), Error> {
        let digest = match expected {
            Some(digest) => *digest,
            None => bytes.digest(Algorithm::Sha256)?,
        };
        let new = self
            .queries()
            .link(name, &LinkSet::Layers, &digest)
            .is_err();
        self.publish_with(bytes, &digest, |tx| {
            let layers = RepositoryDirectories::LAYERS;
            mark(tx, name, layers.with(layers.of(digest.algorithm())))?;
            let id = repository(tx, name)?.id;
            link(tx, id, &LinkSet::Layers, &digest)
        })?;
        Ok((digest, new))
    }
}
