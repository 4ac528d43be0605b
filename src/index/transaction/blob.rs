//! Blobs: digests that are known, and whether their bytes are there.

use super::{TimeKey, Transaction};
use crate::digest::{Algorithm, Digest};
use crate::index::IndexError;
use crate::index::key::{Fields, Key};
use crate::index::record::{Blob, DigestId};

impl Transaction<'_> {
    /// What is known of a digest.
    pub fn blob(&mut self, digest: &Digest) -> Result<Option<Blob>, IndexError> {
        self.record(Key::table(b'B').digest(digest), Blob::decode)
    }

    /// The digest of a number.
    pub fn digest(&mut self, id: DigestId) -> Result<Digest, IndexError> {
        if let Some(digest) = self.numbers.digest(id) {
            return Ok(digest);
        }
        let key = Key::table(b'd').id(id);
        let known = key.clone().done();
        let digest = self.record(key, |value| Fields(value).digest())?;
        if let Some(digest) = digest.filter(|_| !self.written.contains_key(&known)) {
            self.numbers.remember(&digest, id);
        }
        digest.ok_or(IndexError::Record { key: known })
    }

    /// The number of a digest that is known.
    pub(in crate::index) fn number_of(
        &mut self,
        digest: &Digest,
    ) -> Result<Option<DigestId>, IndexError> {
        if let Some(id) = self.numbers.number(digest) {
            return Ok(Some(id));
        }
        let Some(blob) = self.blob(digest)? else {
            return Ok(None);
        };
        if !self
            .written
            .contains_key(&Key::table(b'B').digest(digest).done())
        {
            self.numbers.remember(digest, blob.id);
        }
        Ok(Some(blob.id))
    }

    /// The number of a digest, which becomes known if it was not.
    pub(super) fn interned(&mut self, digest: &Digest) -> Result<DigestId, IndexError> {
        match self.number_of(digest)? {
            Some(id) => Ok(id),
            None => Ok(self.intern(digest)?.id),
        }
    }

    /// The record of a digest, which becomes known if it was not.
    pub(super) fn intern(&mut self, digest: &Digest) -> Result<Blob, IndexError> {
        if let Some(blob) = self.blob(digest)? {
            return Ok(blob);
        }
        let id = DigestId(self.number(b'd')?);
        // A counter that was set back would have this one overwrite another's bytes.
        let number = Key::table(b'd').id(id);
        if self.get(number.clone().done())?.is_some() {
            return Err(IndexError::Record { key: number.done() });
        }
        let blob = Blob {
            id,
            present: false,
            kept: false,
            inline: false,
            damaged: false,
            size: 0,
            created: 0,
        };
        let value = Key::table(0).digest(digest).done().split_off(1);
        self.put(number, value);
        self.put(Key::table(b'B').digest(digest), blob.encode());
        Ok(blob)
    }

    pub(super) fn number(&mut self, counter: u8) -> Result<u32, IndexError> {
        self.numbers.next(self.store, counter)
    }

    /// The bytes of a digest are there, among the blobs.
    pub fn put_blob(&mut self, digest: &Digest, size: u64, now: u32) -> Result<(), IndexError> {
        self.put_present(digest, size, now, false)
    }

    /// The bytes of a digest are there, but a crash may bring them back to this number in
    /// staging.
    pub fn put_unsettled(&mut self, digest: &Digest, staging: u64) {
        self.put(
            Key::table(b'Y').digest(digest),
            staging.to_be_bytes().to_vec(),
        );
    }

    /// The number in staging to which a crash may bring the bytes of a digest back.
    pub fn unsettled(&mut self, digest: &Digest) -> Result<Option<u64>, IndexError> {
        let key = Key::table(b'Y').digest(digest);
        self.record(key, |value| Fields(value).u64())
    }

    /// No crash will bring the bytes of a digest back to this number any more.
    pub fn settled(&mut self, digest: &Digest, staging: u64) -> Result<(), IndexError> {
        if self.unsettled(digest)? == Some(staging) {
            self.delete(Key::table(b'Y').digest(digest));
        }
        Ok(())
    }

    /// The bytes of a digest go: no number brings them back.
    fn forget_unsettled(&mut self, blob: &Blob, digest: &Digest) -> Result<(), IndexError> {
        if blob.present
            && let Some(staging) = self.unsettled(digest)?
        {
            self.forget_kept(staging)?;
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
        let id = self.interned(digest)?;
        self.put(Key::table(b'K').id(id), bytes.to_vec());
        Ok(())
    }

    /// The bytes of a digest that are here.
    pub fn inline(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, IndexError> {
        match self.number_of(digest)? {
            Some(id) => self.get(Key::table(b'K').id(id).done()),
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
        let blob = self.intern(digest)?;
        self.forget_unsettled(&blob, digest)?;
        if !blob.kept {
            self.touch(TimeKey::shard(digest.algorithm(), digest.shard()));
        }
        if !blob.present {
            // What was set of its directory is over, even in the same second.
            self.forget_directory_time(TimeKey::blob(digest))?;
        }
        let created = if blob.present { blob.created } else { now };
        let blob = Blob {
            present: true,
            kept: true,
            inline,
            damaged: false,
            size,
            created,
            ..blob
        };
        self.put(Key::table(b'B').digest(digest), blob.encode());
        self.keep_blob_algorithm(digest.algorithm())?;
        self.keep_blob_shard(digest.algorithm(), digest.shard())
    }

    /// When the bytes of a digest were last read and found right, or wrong.
    pub fn verified(&mut self, digest: &Digest) -> Result<Option<u32>, IndexError> {
        match self.number_of(digest)? {
            Some(id) => self.record(Key::table(b'V').id(id), |value| Fields(value).u32()),
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
        let blob = self.intern(digest)?;
        if blob.present && blob.damaged != damaged {
            let blob = Blob { damaged, ..blob };
            self.put(Key::table(b'B').digest(digest), blob.encode());
        }
        self.put(Key::table(b'V').id(blob.id), now.to_be_bytes().to_vec());
        Ok(())
    }

    /// The bytes of a digest are there since another time.
    pub fn date_blob(&mut self, digest: &Digest, blob: &Blob, created: u32) {
        let blob = Blob { created, ..*blob };
        self.put(Key::table(b'B').digest(digest), blob.encode());
    }

    /// The bytes of a digest are not there, but their directory is.
    pub fn put_blob_directory(&mut self, digest: &Digest, now: u32) -> Result<(), IndexError> {
        let blob = self.intern(digest)?;
        self.forget_unsettled(&blob, digest)?;
        if blob.inline {
            self.delete(Key::table(b'K').id(blob.id));
        }
        let blob = Blob {
            present: false,
            kept: true,
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
        let blob = self.intern(digest)?;
        self.forget_unsettled(&blob, digest)?;
        let blob = Blob {
            present: false,
            kept: false,
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
    pub fn blob_algorithm_kept(&mut self, algorithm: Algorithm) -> Result<bool, IndexError> {
        Ok(self
            .get(Key::table(b'P').algorithm(algorithm).done())?
            .is_some())
    }

    /// Whether the directory of a shard was made.
    pub fn blob_shard_kept(&mut self, algorithm: Algorithm, shard: u8) -> Result<bool, IndexError> {
        Ok(self
            .get(Key::table(b'P').algorithm(algorithm).byte(shard).done())?
            .is_some())
    }

    /// Makes the directory of an algorithm's blobs.
    pub fn keep_blob_algorithm(&mut self, algorithm: Algorithm) -> Result<(), IndexError> {
        if !self.blob_algorithm_kept(algorithm)? {
            self.put(Key::table(b'P').algorithm(algorithm), Vec::new());
            self.touch(TimeKey::blobs(algorithm));
        }
        Ok(())
    }

    /// Makes the directory of a shard.
    pub fn keep_blob_shard(&mut self, algorithm: Algorithm, shard: u8) -> Result<(), IndexError> {
        if !self.blob_shard_kept(algorithm, shard)? {
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
    pub fn forget_blob_algorithm(&mut self, algorithm: Algorithm) -> Result<(), IndexError> {
        self.delete(Key::table(b'P').algorithm(algorithm));
        Ok(())
    }

    /// Removes the directory of a shard.
    pub fn forget_blob_shard(&mut self, algorithm: Algorithm, shard: u8) -> Result<(), IndexError> {
        self.delete(Key::table(b'P').algorithm(algorithm).byte(shard));
        Ok(())
    }

    /// Whether no shard of an algorithm has a directory, until the commit.
    pub fn require_no_blob_shards(&mut self, algorithm: Algorithm) -> Result<bool, IndexError> {
        let prefix = Key::table(b'P').algorithm(algorithm).done();
        self.require_empty(
            crate::index::key::after(prefix.clone())..crate::index::key::successor(prefix),
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
