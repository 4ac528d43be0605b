//! Publication: bytes become blobs, under the digest that they have and no other.
//!
//! Small blobs (manifests, configurations) are stored in the index: bytes and fact become durable
//! in the same flush, and no file is made. The bytes of other blobs are [logged](super::logged) or
//! made durable before their fact.

use std::sync::Arc;

use super::directory::{mark, repository, upload};
use super::link::link;
use super::references::index_references;
use super::{Error, Registry, StagedUpload, now};
use crate::blobs::{Area, BlobsError, Draft, Published, Survives, Vouched};
use crate::digest::{Algorithm, Digest};
use crate::index::{RepositoryDirectories, Transaction, Upload};
use crate::name::{LinkSet, RepositoryName, UploadId};

/// Largest blob that is stored in the index, in bytes. By measurement (`scripts/measure inline`)
/// the index is faster up to 128 KiB at least: a durable write takes a fifth of the time, a read
/// half. Nearly every manifest and configuration fits into this limit. A larger one would make the
/// index, which every backup copies as a whole, as large as what it indexes.
pub const INLINE_BYTES_MAX: usize = 16 << 10;

/// Bytes that are to become a blob.
#[derive(Clone, Copy, Debug)]
pub enum Bytes<'a> {
    /// Bytes in memory.
    Held(&'a [u8]),
    /// Bytes in the staging area.
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
            Self::Staged(staging) => staging.read_all(),
        }
    }
}

/// A blob whose bytes are verified and in their final place as soon as a fact names them.
enum PreparedBlob {
    /// The bytes are written to the index together with the fact.
    Inline(Vec<u8>),
    /// The bytes are a file among the blobs. Until the rename is durable, a crash may undo it and
    /// leave the draft that the file was.
    File {
        published: Published,
        draft: Arc<dyn Draft>,
        /// Discards the draft when this is dropped; `None` if the caller does so.
        _discards: Option<StagedUpload>,
    },
    /// The blob is stored already.
    Known,
}

impl PreparedBlob {
    /// Writes the fact that names the blob.
    fn put(&self, tx: &mut Transaction<'_>, digest: &Digest) -> Result<(), Error> {
        match self {
            Self::Inline(bytes) => Ok(tx.blobs().put_inline(digest, bytes, now())?),
            Self::File {
                published, draft, ..
            } => {
                tx.blobs().put(digest, published.len, now())?;
                if published.survives != Survives::ByDigest {
                    tx.blobs().put_pending_publication(digest, draft.id());
                }
                if published.survives == Survives::ByNumber {
                    tx.uploads().remove_logged_bytes(draft.id())?;
                }
                Ok(())
            }
            Self::Known => Ok(()),
        }
    }
}

impl Registry {
    /// Stores bytes as a blob under `digest`. Bytes and fact are durable after the next
    /// [`Registry::sync`].
    ///
    /// # Errors
    /// [`BlobsError::Mismatch`] if the bytes have another digest; the failure to write the store.
    pub fn publish(&self, bytes: Bytes<'_>, digest: &Digest) -> Result<(), Error> {
        self.publish_with(bytes, digest, |_| Ok(()))
    }

    /// Stores the bytes of an upload as a blob, and removes the upload's data in the same
    /// transaction.
    ///
    /// # Errors
    /// [`Error::Missing`] if the upload has no data; [`BlobsError::Mismatch`] if it has another
    /// digest; the failure to write the store.
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

    /// Publishes bytes; `also` changes other facts in the same transaction.
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

    /// Publishes several blobs, whose digests the caller has locked; `also` changes other facts in
    /// the same transaction. If that fails, the files are moved back to staging or removed.
    pub(super) fn publish_locked(
        &self,
        blobs: &[(Bytes<'_>, Digest)],
        mut also: impl FnMut(&mut Transaction<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut prepared = Vec::new();
        let mut publish = || {
            for (bytes, digest) in blobs {
                prepared.push((*digest, self.prepare(bytes, digest)?));
            }
            let _no_removal = self.reference_lock.read();
            self.index.transact(|tx| {
                for (digest, blob) in &prepared {
                    blob.put(tx, digest)?;
                }
                also(tx)
            })
        };
        let published = publish();
        if published.is_err() {
            self.roll_back(&prepared);
        }
        let by_number = |(_, blob): &&(Digest, PreparedBlob)| match blob {
            PreparedBlob::File { published, .. } => published.survives == Survives::ByNumber,
            PreparedBlob::Inline(_) | PreparedBlob::Known => false,
        };
        self.add_pending(prepared.iter().filter(by_number).count());
        published
    }

    /// Verifies bytes and moves them to their final place.
    fn prepare(&self, bytes: &Bytes<'_>, digest: &Digest) -> Result<PreparedBlob, Error> {
        let known = self.index.view().blobs().stored(digest)?;
        if known.is_some_and(|blob| blob.damaged && !blob.inline) {
            // The damaged file must not be in the way of the new one.
            self.retire(digest)?;
        }
        let known = known.is_some_and(|blob| !blob.damaged);
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
            Bytes::Staged(staging) => self.move_into_place(staging.draft(), None, digest, known),
            Bytes::Held(bytes) => {
                let staging = self.stage()?;
                staging.write_at(0, bytes)?;
                let draft = Arc::clone(staging.draft());
                self.move_into_place(&draft, Some(staging), digest, known)
            }
        }
    }

    /// Moves staged bytes to their final place.
    fn move_into_place(
        &self,
        draft: &Arc<dyn Draft>,
        staging: Option<StagedUpload>,
        digest: &Digest,
        known: bool,
    ) -> Result<PreparedBlob, Error> {
        let logged = self.log(draft.as_ref())?;
        let published = draft.publish(digest, Vouched { logged, known })?;
        // A stored blob may have lost its file; publication has restored it then.
        if known && published.survives == Survives::ByDigest {
            return Ok(PreparedBlob::Known);
        }
        Ok(PreparedBlob::File {
            published,
            draft: Arc::clone(draft),
            _discards: staging,
        })
    }

    /// Moves files that no fact names back to staging, or removes them. fsck finds a file that
    /// cannot be removed now.
    fn roll_back(&self, prepared: &[(Digest, PreparedBlob)]) {
        for (digest, blob) in prepared {
            let removed = match blob {
                PreparedBlob::File { published, .. }
                    if published.survives == Survives::ByDigest =>
                {
                    self.blobs.remove(Area::Live, digest, None)
                }
                PreparedBlob::File { draft, .. } => draft.unpublish(digest),
                PreparedBlob::Inline(_) | PreparedBlob::Known => continue,
            };
            match removed {
                Ok(()) | Err(BlobsError::Missing(_)) => {}
                Err(error) => log::warn!("blob {digest} keeps its file without a fact: {error}"),
            }
        }
    }

    /// Stores bytes as a layer or configuration of a repository: blob and link in one transaction.
    /// `expected` is the digest that the bytes must have; without it they get their SHA-256 digest.
    /// Returns the digest, and `true` if the repository did not have the link before.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist; [`BlobsError::Mismatch`] if the bytes
    /// have another digest than `expected`; the failure to write the store.
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
