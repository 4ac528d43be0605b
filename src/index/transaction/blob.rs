//! Blobs: digests with an id, and whether their content is stored.

use super::{TimeKey, Transaction};
use crate::digest::{Algorithm, Digest};
use crate::index::error::IndexError;
use crate::index::field_reader::FieldReader;
use crate::index::id::DigestId;
use crate::index::key::{Key, next_key, prefix_end};
use crate::index::record::Blob;
use crate::index::store::Store;

/// Rows that are read from the store at once where some are skipped.
const PAGE: usize = 256;

impl Transaction<'_> {
    /// Returns the digest of an id.
    ///
    /// # Errors
    /// [`IndexError::Record`] if the id has no digest.
    pub fn digest(&mut self, id: DigestId) -> Result<Digest, IndexError> {
        if let Some(digest) = self.interner.digest(id) {
            return Ok(digest);
        }
        let key = Key::table(b'd').id(id);
        let known = key.clone().into_bytes();
        let digest = self.record(key, |value| FieldReader(value).digest())?;
        if let Some(digest) = digest.filter(|_| !self.written.contains_key(&known)) {
            self.interner.remember(&digest, id);
        }
        digest.ok_or(IndexError::Record { key: known })
    }

    /// The id of a digest, if it has one.
    pub(in crate::index) fn id_of(
        &mut self,
        digest: &Digest,
    ) -> Result<Option<DigestId>, IndexError> {
        if let Some(id) = self.interner.id(digest) {
            return Ok(Some(id));
        }
        let Some(blob) = self.blobs().get(digest)? else {
            return Ok(None);
        };
        if !self
            .written
            .contains_key(&Key::table(b'B').digest(digest).into_bytes())
        {
            self.interner.remember(digest, blob.id);
        }
        Ok(Some(blob.id))
    }

    /// The id of a digest, which is allocated if it has none.
    pub(super) fn intern(&mut self, digest: &Digest) -> Result<DigestId, IndexError> {
        match self.id_of(digest)? {
            Some(id) => Ok(id),
            None => Ok(self.intern_record(digest)?.id),
        }
    }

    /// The record of a digest, whose id is allocated if it has none.
    pub(super) fn intern_record(&mut self, digest: &Digest) -> Result<Blob, IndexError> {
        if let Some(blob) = self.blobs().get(digest)? {
            return Ok(blob);
        }
        let id = DigestId(self.allocate_id(b'd')?);
        // If the counter was set back, this id would overwrite the digest that has it.
        let number = Key::table(b'd').id(id);
        if self.get(number.clone().into_bytes())?.is_some() {
            return Err(IndexError::Record {
                key: number.into_bytes(),
            });
        }
        let blob = Blob {
            id,
            present: false,
            has_directory: false,
            inline: false,
            damaged: false,
            size: 0,
            created: 0,
        };
        let value = Key::table(0).digest(digest).into_bytes().split_off(1);
        self.put(number, value);
        self.put(Key::table(b'B').digest(digest), blob.encode());
        Ok(blob)
    }

    pub(super) fn allocate_id(&mut self, counter: u8) -> Result<u32, IndexError> {
        self.interner.allocate(self.store, counter)
    }

    /// Removes the pending publication of content that is about to be replaced or removed, and its
    /// logged bytes.
    fn cancel_pending_publication(
        &mut self,
        blob: &Blob,
        digest: &Digest,
    ) -> Result<(), IndexError> {
        if blob.present
            && let Some(staging) = self.blobs().pending_publication(digest)?
        {
            self.uploads().remove_logged_bytes(staging)?;
            self.delete(Key::table(b'Y').digest(digest));
        }
        Ok(())
    }

    fn put_present(
        &mut self,
        digest: &Digest,
        size: u64,
        now: u32,
        inline: bool,
    ) -> Result<(), IndexError> {
        let blob = self.intern_record(digest)?;
        self.cancel_pending_publication(&blob, digest)?;
        if !blob.has_directory {
            self.times()
                .touch(TimeKey::shard(digest.algorithm(), digest.shard()));
        }
        if !blob.present {
            // A time that was set for the directory is void, even in the same second.
            self.times().remove(TimeKey::blob(digest))?;
        }
        let created = if blob.present { blob.created } else { now };
        let blob = Blob {
            present: true,
            has_directory: true,
            inline,
            damaged: false,
            size,
            created,
            ..blob
        };
        self.put(Key::table(b'B').digest(digest), blob.encode());
        self.blobs().put_algorithm(digest.algorithm())?;
        self.blobs().put_shard(digest.algorithm(), digest.shard())
    }
}

/// The rows of blobs.
#[derive(Debug)]
pub struct BlobRows<'t, 'a>(&'t mut Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Returns the rows of blobs.
    pub fn blobs(&mut self) -> BlobRows<'_, 'a> {
        BlobRows(self)
    }
}

impl BlobRows<'_, '_> {
    /// Returns the record of a digest; `None` if it has no id.
    pub fn get(&mut self, digest: &Digest) -> Result<Option<Blob>, IndexError> {
        self.0.record(Key::table(b'B').digest(digest), Blob::decode)
    }

    /// Returns the record of a digest whose content is stored; `None` for other digests.
    pub fn stored(&mut self, digest: &Digest) -> Result<Option<Blob>, IndexError> {
        Ok(self.get(digest)?.filter(|blob| blob.present))
    }

    /// Records that the content of a digest is stored among the blobs.
    pub fn put(&mut self, digest: &Digest, size: u64, now: u32) -> Result<(), IndexError> {
        self.0.put_present(digest, size, now, false)
    }

    /// Records that the publication of a blob is pending: after a crash, its content may be in the
    /// staging file of this number.
    pub fn put_pending_publication(&mut self, digest: &Digest, staging: u64) {
        self.0.put(
            Key::table(b'Y').digest(digest),
            staging.to_be_bytes().to_vec(),
        );
    }

    /// The staging number of the pending publication of a blob, if there is one.
    pub fn pending_publication(&mut self, digest: &Digest) -> Result<Option<u64>, IndexError> {
        let key = Key::table(b'Y').digest(digest);
        self.0.record(key, |value| FieldReader(value).u64())
    }

    /// Removes the pending publication of a blob, if it is that of this staging number: the rename
    /// to its final name is durable.
    pub fn complete_publication(
        &mut self,
        digest: &Digest,
        staging: u64,
    ) -> Result<(), IndexError> {
        if self.0.blobs().pending_publication(digest)? == Some(staging) {
            self.0.delete(Key::table(b'Y').digest(digest));
        }
        Ok(())
    }

    /// Records that the content of a digest is stored, and stores it in the index.
    pub fn put_inline(
        &mut self,
        digest: &Digest,
        bytes: &[u8],
        now: u32,
    ) -> Result<(), IndexError> {
        self.0.put_present(digest, bytes.len() as u64, now, true)?;
        let id = self.0.intern(digest)?;
        self.0.put(Key::table(b'K').id(id), bytes.to_vec());
        Ok(())
    }

    /// Returns the content of a digest that is stored in the index.
    pub fn inline(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, IndexError> {
        match self.0.id_of(digest)? {
            Some(id) => self.0.get(Key::table(b'K').id(id).into_bytes()),
            None => Ok(None),
        }
    }

    /// When the content of a digest was last verified, in seconds since 1970, whatever the result.
    pub fn verified(&mut self, digest: &Digest) -> Result<Option<u32>, IndexError> {
        match self.0.id_of(digest)? {
            Some(id) => self
                .0
                .record(Key::table(b'V').id(id), |value| FieldReader(value).u32()),
            None => Ok(None),
        }
    }

    /// Records that the content of a digest was verified at `now`, and the result.
    pub fn put_verified(
        &mut self,
        digest: &Digest,
        now: u32,
        damaged: bool,
    ) -> Result<(), IndexError> {
        let blob = self.0.intern_record(digest)?;
        if blob.present && blob.damaged != damaged {
            let blob = Blob { damaged, ..blob };
            self.0.put(Key::table(b'B').digest(digest), blob.encode());
        }
        self.0
            .put(Key::table(b'V').id(blob.id), now.to_be_bytes().to_vec());
        Ok(())
    }

    /// Sets the time since which the content of a digest is stored.
    pub fn set_created(&mut self, digest: &Digest, blob: &Blob, created: u32) {
        let blob = Blob { created, ..*blob };
        self.0.put(Key::table(b'B').digest(digest), blob.encode());
    }

    /// Records that the content of a digest is not stored, but its directory exists.
    pub fn put_directory(&mut self, digest: &Digest, now: u32) -> Result<(), IndexError> {
        let blob = self.0.intern_record(digest)?;
        self.0.cancel_pending_publication(&blob, digest)?;
        if blob.inline {
            self.0.delete(Key::table(b'K').id(blob.id));
        }
        let blob = Blob {
            present: false,
            has_directory: true,
            inline: false,
            damaged: false,
            size: 0,
            created: now,
            ..blob
        };
        self.0.put(Key::table(b'B').digest(digest), blob.encode());
        Ok(())
    }

    /// Records that neither the content of a digest nor its directory exists.
    pub fn remove(&mut self, digest: &Digest) -> Result<(), IndexError> {
        let blob = self.0.intern_record(digest)?;
        self.0.cancel_pending_publication(&blob, digest)?;
        let blob = Blob {
            present: false,
            has_directory: false,
            inline: false,
            damaged: false,
            size: 0,
            created: 0,
            ..blob
        };
        self.0.put(Key::table(b'B').digest(digest), blob.encode());
        Ok(())
    }

    /// Returns `true` if the directory of an algorithm's blobs was created.
    pub fn has_algorithm(&mut self, algorithm: Algorithm) -> Result<bool, IndexError> {
        Ok(self
            .0
            .get(Key::table(b'P').algorithm(algorithm).into_bytes())?
            .is_some())
    }

    /// Returns `true` if the directory of a shard was created.
    pub fn has_shard(&mut self, algorithm: Algorithm, shard: u8) -> Result<bool, IndexError> {
        Ok(self
            .0
            .get(
                Key::table(b'P')
                    .algorithm(algorithm)
                    .byte(shard)
                    .into_bytes(),
            )?
            .is_some())
    }

    /// Creates the directory of an algorithm's blobs.
    pub fn put_algorithm(&mut self, algorithm: Algorithm) -> Result<(), IndexError> {
        if !self.0.blobs().has_algorithm(algorithm)? {
            self.0
                .put(Key::table(b'P').algorithm(algorithm), Vec::new());
            self.0.times().touch(TimeKey::blobs(algorithm));
        }
        Ok(())
    }

    /// Creates the directory of a shard.
    pub fn put_shard(&mut self, algorithm: Algorithm, shard: u8) -> Result<(), IndexError> {
        if !self.0.blobs().has_shard(algorithm, shard)? {
            self.0.put(
                Key::table(b'P').algorithm(algorithm).byte(shard),
                Vec::new(),
            );
            self.0.times().touch(TimeKey::shard(algorithm, shard));
            self.0.times().touch(TimeKey::blobs(algorithm));
        }
        Ok(())
    }

    /// Removes the directory of an algorithm's blobs.
    pub fn remove_algorithm(&mut self, algorithm: Algorithm) -> Result<(), IndexError> {
        self.0.delete(Key::table(b'P').algorithm(algorithm));
        Ok(())
    }

    /// Removes the directory of a shard.
    pub fn remove_shard(&mut self, algorithm: Algorithm, shard: u8) -> Result<(), IndexError> {
        self.0
            .delete(Key::table(b'P').algorithm(algorithm).byte(shard));
        Ok(())
    }

    /// Returns `true` if no shard of an algorithm has a directory. If so, the commit fails unless
    /// that still holds.
    pub fn require_no_shards(&mut self, algorithm: Algorithm) -> Result<bool, IndexError> {
        let prefix = Key::table(b'P').algorithm(algorithm).into_bytes();
        self.0
            .require_empty(next_key(prefix.clone())..prefix_end(prefix))
    }

    /// Returns `true` if no digest of a shard has a directory. This holds until the commit: a
    /// transaction that creates a blob reads the row of its shard, and removing the shard changes
    /// that row.
    pub fn require_none(&mut self, algorithm: Algorithm, shard: u8) -> Result<bool, IndexError> {
        let blobs = scan_blobs(self.0.store, algorithm, shard, None, 1)?;
        Ok(blobs.is_empty())
    }
}

/// At most `limit` blobs of a shard after `last`, in digest order, and directories without a blob.
pub(in crate::index) fn scan_blobs(
    store: &dyn Store,
    algorithm: Algorithm,
    shard: u8,
    last: Option<&Digest>,
    limit: usize,
) -> Result<Vec<(Digest, Blob)>, IndexError> {
    let mut range = Key::table(b'B')
        .algorithm(algorithm)
        .byte(shard)
        .prefix_range();
    if let Some(last) = last {
        range.start = next_key(Key::table(b'B').digest(last).into_bytes());
    }
    let mut found = Vec::new();
    while found.len() < limit {
        let rows = store.scan(&range.start..&range.end, PAGE)?;
        let Some((key, _)) = rows.last() else { break };
        range.start = next_key(key.clone());
        for (key, value) in rows {
            let digest = FieldReader(key.get(1..).unwrap_or_default()).digest();
            let row = digest
                .zip(Blob::decode(&value))
                .ok_or(IndexError::Record { key })?;
            if row.1.present || row.1.has_directory {
                found.push(row);
            }
        }
    }
    found.truncate(limit);
    Ok(found)
}
