//! Blobs: digests that are known, and whether their bytes are there.

use super::{TimeKey, Transaction};
use crate::digest::{Algorithm, Digest};
use crate::index::IndexError;
use crate::index::key::{FieldReader, Key};
use crate::index::record::{Blob, DigestId};

impl Transaction<'_> {
    /// What is known of a digest.
    pub fn blob(&mut self, digest: &Digest) -> Result<Option<Blob>, IndexError> {
        self.record(Key::table(b'B').digest(digest), Blob::decode)
    }

    /// The digest of a number.
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

    /// The number of a digest that is known.
    pub(in crate::index) fn id_of(
        &mut self,
        digest: &Digest,
    ) -> Result<Option<DigestId>, IndexError> {
        if let Some(id) = self.interner.id(digest) {
            return Ok(Some(id));
        }
        let Some(blob) = self.blob(digest)? else {
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

    /// The number of a digest, which becomes known if it was not.
    pub(super) fn intern(&mut self, digest: &Digest) -> Result<DigestId, IndexError> {
        match self.id_of(digest)? {
            Some(id) => Ok(id),
            None => Ok(self.intern_record(digest)?.id),
        }
    }

    /// The record of a digest, which becomes known if it was not.
    pub(super) fn intern_record(&mut self, digest: &Digest) -> Result<Blob, IndexError> {
        if let Some(blob) = self.blob(digest)? {
            return Ok(blob);
        }
        let id = DigestId(self.allocate_id(b'd')?);
        // A counter that was set back would have this one overwrite another's bytes.
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

    /// The bytes of a digest are there, among the blobs.
    pub fn put_blob(&mut self, digest: &Digest, size: u64, now: u32) -> Result<(), IndexError> {
        self.put_present(digest, size, now, false)
    }

    /// The bytes of a digest are there, but a crash may bring them back to this number in
    /// staging.
    pub fn put_pending_publication(&mut self, digest: &Digest, staging: u64) {
        self.put(
            Key::table(b'Y').digest(digest),
            staging.to_be_bytes().to_vec(),
        );
    }

    /// The number in staging to which a crash may bring the bytes of a digest back.
    pub fn pending_publication(&mut self, digest: &Digest) -> Result<Option<u64>, IndexError> {
        let key = Key::table(b'Y').digest(digest);
        self.record(key, |value| FieldReader(value).u64())
    }

    /// No crash will bring the bytes of a digest back to this number any more.
    pub fn complete_publication(
        &mut self,
        digest: &Digest,
        staging: u64,
    ) -> Result<(), IndexError> {
        if self.pending_publication(digest)? == Some(staging) {
            self.delete(Key::table(b'Y').digest(digest));
        }
        Ok(())
    }

    /// The bytes of a digest go: no number brings them back.
    fn cancel_pending_publication(
        &mut self,
        blob: &Blob,
        digest: &Digest,
    ) -> Result<(), IndexError> {
        if blob.present
            && let Some(staging) = self.pending_publication(digest)?
        {
            self.remove_logged_bytes(staging)?;
            self.delete(Key::table(b'Y').digest(digest));
        }
        Ok(())
    }

    /// The bytes of a digest are there, here.
    pub fn put_inline(
        &mut self,
        digest: &Digest,
        bytes: &[u8],
        now: u32,
    ) -> Result<(), IndexError> {
        self.put_present(digest, bytes.len() as u64, now, true)?;
        let id = self.intern(digest)?;
        self.put(Key::table(b'K').id(id), bytes.to_vec());
        Ok(())
    }

    /// The bytes of a digest that are here.
    pub fn inline(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, IndexError> {
        match self.id_of(digest)? {
            Some(id) => self.get(Key::table(b'K').id(id).into_bytes()),
            None => Ok(None),
        }
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
            self.touch(TimeKey::shard(digest.algorithm(), digest.shard()));
        }
        if !blob.present {
            // What was set of its directory is over, even in the same second.
            self.remove_directory_time(TimeKey::blob(digest))?;
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
        self.put_blob_algorithm(digest.algorithm())?;
        self.put_blob_shard(digest.algorithm(), digest.shard())
    }

    /// When the bytes of a digest were last read and found right, or wrong.
    pub fn verified(&mut self, digest: &Digest) -> Result<Option<u32>, IndexError> {
        match self.id_of(digest)? {
            Some(id) => self.record(Key::table(b'V').id(id), |value| FieldReader(value).u32()),
            None => Ok(None),
        }
    }

    /// Takes note that the bytes of a digest were read, and whether they were right.
    pub fn put_verified(
        &mut self,
        digest: &Digest,
        now: u32,
        damaged: bool,
    ) -> Result<(), IndexError> {
        let blob = self.intern_record(digest)?;
        if blob.present && blob.damaged != damaged {
            let blob = Blob { damaged, ..blob };
            self.put(Key::table(b'B').digest(digest), blob.encode());
        }
        self.put(Key::table(b'V').id(blob.id), now.to_be_bytes().to_vec());
        Ok(())
    }

    /// The bytes of a digest are there since another time.
    pub fn set_blob_created(&mut self, digest: &Digest, blob: &Blob, created: u32) {
        let blob = Blob { created, ..*blob };
        self.put(Key::table(b'B').digest(digest), blob.encode());
    }

    /// The bytes of a digest are not there, but their directory is.
    pub fn put_blob_directory(&mut self, digest: &Digest, now: u32) -> Result<(), IndexError> {
        let blob = self.intern_record(digest)?;
        self.cancel_pending_publication(&blob, digest)?;
        if blob.inline {
            self.delete(Key::table(b'K').id(blob.id));
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
        self.put(Key::table(b'B').digest(digest), blob.encode());
        Ok(())
    }

    /// Neither the bytes of a digest nor their directory are there.
    pub fn remove_blob(&mut self, digest: &Digest) -> Result<(), IndexError> {
        let blob = self.intern_record(digest)?;
        self.cancel_pending_publication(&blob, digest)?;
        let blob = Blob {
            present: false,
            has_directory: false,
            inline: false,
            damaged: false,
            size: 0,
            created: 0,
            ..blob
        };
        self.put(Key::table(b'B').digest(digest), blob.encode());
        Ok(())
    }

    /// Whether the directory of an algorithm's blobs was made.
    pub fn has_blob_algorithm(&mut self, algorithm: Algorithm) -> Result<bool, IndexError> {
        Ok(self
            .get(Key::table(b'P').algorithm(algorithm).into_bytes())?
            .is_some())
    }

    /// Whether the directory of a shard was made.
    pub fn has_blob_shard(&mut self, algorithm: Algorithm, shard: u8) -> Result<bool, IndexError> {
        Ok(self
            .get(
                Key::table(b'P')
                    .algorithm(algorithm)
                    .byte(shard)
                    .into_bytes(),
            )?
            .is_some())
    }

    /// Makes the directory of an algorithm's blobs.
    pub fn put_blob_algorithm(&mut self, algorithm: Algorithm) -> Result<(), IndexError> {
        if !self.has_blob_algorithm(algorithm)? {
            self.put(Key::table(b'P').algorithm(algorithm), Vec::new());
            self.touch(TimeKey::blobs(algorithm));
        }
        Ok(())
    }

    /// Makes the directory of a shard.
    pub fn put_blob_shard(&mut self, algorithm: Algorithm, shard: u8) -> Result<(), IndexError> {
        if !self.has_blob_shard(algorithm, shard)? {
            self.put(
                Key::table(b'P').algorithm(algorithm).byte(shard),
                Vec::new(),
            );
            self.touch(TimeKey::shard(algorithm, shard));
            self.touch(TimeKey::blobs(algorithm));
        }
        Ok(())
    }

    /// Removes the directory of an algorithm's blobs.
    pub fn remove_blob_algorithm(&mut self, algorithm: Algorithm) -> Result<(), IndexError> {
        self.delete(Key::table(b'P').algorithm(algorithm));
        Ok(())
    }

    /// Removes the directory of a shard.
    pub fn remove_blob_shard(&mut self, algorithm: Algorithm, shard: u8) -> Result<(), IndexError> {
        self.delete(Key::table(b'P').algorithm(algorithm).byte(shard));
        Ok(())
    }

    /// Whether no shard of an algorithm has a directory, until the commit.
    pub fn require_no_blob_shards(&mut self, algorithm: Algorithm) -> Result<bool, IndexError> {
        let prefix = Key::table(b'P').algorithm(algorithm).into_bytes();
        self.require_empty(
            crate::index::key::next_key(prefix.clone())..crate::index::key::prefix_end(prefix),
        )
    }

    /// Whether no digest of a shard has a directory. Each blob is made after a look at its
    /// shard, which the removal of the shard changes: that keeps the answer true.
    pub fn require_no_blobs(
        &mut self,
        algorithm: Algorithm,
        shard: u8,
    ) -> Result<bool, IndexError> {
        let blobs = crate::index::Index::scan_blobs(self.store, algorithm, shard, None, 1)?;
        Ok(blobs.is_empty())
    }
}
