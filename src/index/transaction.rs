//! Transactions: facts read and changed as one, optimistically.
//!
//! What a transaction reads is remembered, and must be unchanged when it commits; what it must
//! find empty is checked again at that moment. It reads its own changes by key; ranges show
//! only what is committed.

use std::collections::BTreeMap;
use std::ops::Range;

use super::IndexError;
use super::key::{Fields, Key};
use super::record::{
    Blob, DigestId, Directories, Link, Repository, RepositoryId, Role, TagRecord, Upload,
};
use super::store::{Batch, Change, Precondition, Store};
use crate::digest::{Algorithm, Digest};
use crate::name::{LinkSet, Namespace, Tag, UploadId};

/// Facts, read and changed as one.
pub struct Transaction<'a> {
    pub(super) store: &'a dyn Store,
    read: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    written: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    empty: Vec<Range<Vec<u8>>>,
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("written", &self.written.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Transaction<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
            read: BTreeMap::new(),
            written: BTreeMap::new(),
            empty: Vec::new(),
        }
    }

    /// What to commit; nothing if nothing changes.
    pub(super) fn batch(self) -> Option<Batch> {
        if self.written.is_empty() {
            return None;
        }
        let read = self.read.into_iter().map(|(key, value)| match value {
            Some(value) => Precondition::Equals(key, value),
            None => Precondition::Absent(key),
        });
        let preconditions = read
            .chain(self.empty.into_iter().map(Precondition::Empty))
            .collect();
        let changes = self.written.into_iter().map(|(key, value)| match value {
            Some(value) => Change::Put(key, value),
            None => Change::Delete(key),
        });
        Some(Batch {
            preconditions,
            changes: changes.collect(),
        })
    }

    /// The value of a key, as this transaction sees it.
    pub(super) fn get(&mut self, key: Vec<u8>) -> Result<Option<Vec<u8>>, IndexError> {
        if let Some(value) = self.written.get(&key).or_else(|| self.read.get(&key)) {
            return Ok(value.clone());
        }
        let value = self.store.get(&key)?;
        self.read.insert(key, value.clone());
        Ok(value)
    }

    fn put(&mut self, key: Key, value: Vec<u8>) {
        self.written.insert(key.done(), Some(value));
    }

    fn delete(&mut self, key: Key) {
        self.written.insert(key.done(), None);
    }

    /// Reads a record and decodes it.
    fn record<T>(
        &mut self,
        key: Key,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, IndexError> {
        let key = key.done();
        let Some(value) = self.get(key.clone())? else {
            return Ok(None);
        };
        decode(&value).map(Some).ok_or(IndexError::Record { key })
    }

    /// Whether nothing lies in a range; if so, that must hold until the commit.
    fn require_empty(&mut self, range: Range<Vec<u8>>) -> Result<bool, IndexError> {
        let empty = !self.any(&range)?;
        if empty {
            self.empty.push(range);
        }
        Ok(empty)
    }

    fn any(&self, range: &Range<Vec<u8>>) -> Result<bool, IndexError> {
        Ok(!self.store.scan(&range.start..&range.end, 1)?.is_empty())
    }
}

/// Digests and blobs.
impl Transaction<'_> {
    /// What is known of a digest.
    pub fn blob(&mut self, digest: &Digest) -> Result<Option<Blob>, IndexError> {
        self.record(Key::table(b'B').digest(digest), Blob::decode)
    }

    /// The digest of a number.
    pub fn digest(&mut self, id: DigestId) -> Result<Digest, IndexError> {
        let key = Key::table(b'd').id(id);
        let missing = key.clone().done();
        let digest = self.record(key, |value| Fields(value).digest())?;
        digest.ok_or(IndexError::Record { key: missing })
    }

    /// The record of a digest, which becomes known if it was not.
    fn intern(&mut self, digest: &Digest) -> Result<Blob, IndexError> {
        if let Some(blob) = self.blob(digest)? {
            return Ok(blob);
        }
        let id = DigestId(self.number(b'd')?);
        let blob = Blob {
            id,
            present: false,
            kept: false,
            size: 0,
            created: 0,
        };
        let value = Key::table(0).digest(digest).done().split_off(1);
        self.put(Key::table(b'd').id(id), value);
        self.put(Key::table(b'B').digest(digest), blob.encode());
        Ok(blob)
    }

    fn number(&mut self, counter: u8) -> Result<u32, IndexError> {
        let number = self
            .store
            .allocate(&Key::table(b'C').byte(counter).done(), 1)?
            .start;
        u32::try_from(number).map_err(|_| IndexError::Exhausted)
    }

    /// The bytes of a digest are there.
    pub fn put_blob(&mut self, digest: &Digest, size: u64, now: u32) -> Result<(), IndexError> {
        let blob = self.intern(digest)?;
        let created = if blob.present { blob.created } else { now };
        let blob = Blob {
            present: true,
            kept: true,
            size,
            created,
            ..blob
        };
        self.put(Key::table(b'B').digest(digest), blob.encode());
        self.keep_blob_algorithm(digest.algorithm())?;
        self.keep_blob_shard(digest.algorithm(), digest.shard())
    }

    /// The bytes of a digest are not there, but their directory is.
    pub fn put_blob_directory(&mut self, digest: &Digest, now: u32) -> Result<(), IndexError> {
        let blob = self.intern(digest)?;
        let blob = Blob {
            present: false,
            kept: true,
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
        let blob = Blob {
            present: false,
            kept: false,
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
        self.require_empty(super::key::after(prefix.clone())..super::key::successor(prefix))
    }

    /// Whether no digest of a shard has a directory. Each blob is made after a look at its
    /// shard, which the removal of the shard changes: that keeps the answer true.
    pub fn require_no_blobs(
        &mut self,
        algorithm: Algorithm,
        shard: u8,
    ) -> Result<bool, IndexError> {
        let blobs = super::Index::scan_blobs(self.store, algorithm, shard, None, 1)?;
        Ok(blobs.is_empty())
    }
}

/// Repositories.
impl Transaction<'_> {
    /// A repository, or a directory on the way to one.
    pub fn repository(&mut self, name: &Namespace) -> Result<Option<Repository>, IndexError> {
        self.record(Key::table(b'N').namespace(name), Repository::decode)
    }

    /// Makes a repository, or sets which directories it has.
    pub fn put_repository(
        &mut self,
        name: &Namespace,
        directories: Directories,
    ) -> Result<(), IndexError> {
        let known = self.repository(name)?;
        if known.is_some_and(|known| known.directories == directories) {
            return Ok(());
        }
        let id = match known {
            Some(known) => known.id,
            None => RepositoryId(self.number(b'n')?),
        };
        if known.is_none() {
            self.put(
                Key::table(b'n').repository(id),
                name.as_str().as_bytes().to_vec(),
            );
        }
        let repository = Repository { id, directories };
        self.put(Key::table(b'N').namespace(name), repository.encode());
        Ok(())
    }

    /// Forgets a repository, which must be empty.
    pub fn remove_repository(&mut self, name: &Namespace) -> Result<(), IndexError> {
        if let Some(repository) = self.repository(name)? {
            self.delete(Key::table(b'N').namespace(name));
            self.delete(Key::table(b'n').repository(repository.id));
        }
        Ok(())
    }

    /// Whether there is any repository below a name.
    pub fn has_namespaces(&mut self, name: Option<&Namespace>) -> Result<bool, IndexError> {
        self.any(&super::Index::children(name))
    }

    /// Whether there is no repository below a name, until the commit.
    pub fn require_no_namespaces(&mut self, name: &Namespace) -> Result<bool, IndexError> {
        self.require_empty(super::Index::children(Some(name)))
    }
}

/// Links.
impl Transaction<'_> {
    /// The table of a set of links; nothing for the signatures of an unknown manifest.
    pub(super) fn set(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
    ) -> Result<Option<Key>, IndexError> {
        Ok(Some(match set {
            LinkSet::Layers => Key::table(b'L').repository(repository),
            LinkSet::Revisions => Key::table(b'R').repository(repository),
            LinkSet::TagIndex(tag) => Key::table(b'I').repository(repository).tag(tag),
            LinkSet::Signatures(revision) => {
                let Some(blob) = self.blob(revision)? else {
                    return Ok(None);
                };
                Key::table(b'S').repository(repository).id(blob.id)
            }
        }))
    }

    /// The range of a set of links, or of an algorithm in it.
    pub(super) fn set_range(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        algorithm: Option<Algorithm>,
    ) -> Result<Option<Range<Vec<u8>>>, IndexError> {
        let Some(key) = self.set(repository, set)? else {
            return Ok(None);
        };
        Ok(Some(match algorithm {
            None => key.below(),
            Some(algorithm) => key.algorithm(algorithm).below(),
        }))
    }

    /// A link, or the directory made for it.
    pub fn link(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<Option<Link>, IndexError> {
        let Some(blob) = self.blob(digest)? else {
            return Ok(None);
        };
        let Some(key) = self.set(repository, set)? else {
            return Ok(None);
        };
        let key = key.prefix(digest).id(blob.id).done();
        let Some(value) = self.get(key.clone())? else {
            return Ok(None);
        };
        self.decode_link(&key, &value, digest).map(Some)
    }

    /// A link's value; `key` is for the error.
    pub(super) fn decode_link(
        &mut self,
        key: &[u8],
        value: &[u8],
        digest: &Digest,
    ) -> Result<Link, IndexError> {
        let mut fields = Fields(value);
        if value.is_empty() {
            return Ok(Link::Directory);
        }
        let pushed = fields
            .u32()
            .ok_or_else(|| IndexError::Record { key: key.to_vec() })?;
        let target = match fields.id() {
            None => *digest,
            Some(id) => self.digest(id)?,
        };
        Ok(Link::Linked { target, pushed })
    }

    /// Sets a link, or makes its directory.
    pub fn put_link(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        digest: &Digest,
        link: &Link,
    ) -> Result<(), IndexError> {
        if let LinkSet::Signatures(revision) = set {
            self.intern(revision)?;
        }
        let id = self.intern(digest)?.id;
        let Some(key) = self.set(repository, set)? else {
            return Ok(());
        };
        let value = match link {
            Link::Directory => Vec::new(),
            Link::Linked { target, pushed } => {
                let mut value = pushed.to_be_bytes().to_vec();
                if target != digest {
                    value.extend(self.intern(target)?.id.0.to_be_bytes());
                }
                value
            }
        };
        self.put(key.prefix(digest).id(id), value);
        if *set == LinkSet::Revisions {
            let reverse = Key::table(b'r').id(id).repository(repository);
            match link {
                Link::Directory => self.delete(reverse),
                Link::Linked { .. } => self.put(reverse, Vec::new()),
            }
        }
        Ok(())
    }

    /// Removes a link and its directory.
    pub fn remove_link(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<(), IndexError> {
        let Some(blob) = self.blob(digest)? else {
            return Ok(());
        };
        let Some(key) = self.set(repository, set)? else {
            return Ok(());
        };
        self.delete(key.prefix(digest).id(blob.id));
        if *set == LinkSet::Revisions {
            self.delete(Key::table(b'r').id(blob.id).repository(repository));
        }
        Ok(())
    }

    /// Whether a set has any link or directory made for one.
    pub fn has_links(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        algorithm: Option<Algorithm>,
    ) -> Result<bool, IndexError> {
        match self.set_range(repository, set, algorithm)? {
            None => Ok(false),
            Some(range) => self.any(&range),
        }
    }

    /// Whether a set has neither links nor directories made for them, until the commit.
    pub fn require_no_links(
        &mut self,
        repository: RepositoryId,
        set: &LinkSet,
        algorithm: Option<Algorithm>,
    ) -> Result<bool, IndexError> {
        match self.set_range(repository, set, algorithm)? {
            None => Ok(true),
            Some(range) => self.require_empty(range),
        }
    }
}

/// Tags.
impl Transaction<'_> {
    /// A tag.
    pub fn tag(
        &mut self,
        repository: RepositoryId,
        tag: &Tag,
    ) -> Result<Option<TagRecord>, IndexError> {
        let key = Key::table(b'T').repository(repository).tag(tag).done();
        let Some(value) = self.get(key.clone())? else {
            return Ok(None);
        };
        self.decode_tag(&key, &value).map(Some)
    }

    /// A tag's value; `key` is for the error.
    pub(super) fn decode_tag(&mut self, key: &[u8], value: &[u8]) -> Result<TagRecord, IndexError> {
        let mut fields = Fields(value);
        let flags = fields
            .u8()
            .ok_or_else(|| IndexError::Record { key: key.to_vec() })?;
        let current = match (fields.id(), fields.u32()) {
            (Some(id), Some(pushed)) => Some((self.digest(id)?, pushed)),
            _ => None,
        };
        Ok(TagRecord {
            directories: super::TagDirectories(flags),
            current,
        })
    }

    /// Sets a tag.
    pub fn put_tag(
        &mut self,
        repository: RepositoryId,
        tag: &Tag,
        record: &TagRecord,
    ) -> Result<(), IndexError> {
        self.forget_tag_target(repository, tag)?;
        let mut value = vec![record.directories.0];
        if let Some((digest, pushed)) = &record.current {
            let id = self.intern(digest)?.id;
            value.extend(id.0.to_be_bytes());
            value.extend(pushed.to_be_bytes());
            let reverse = Key::table(b't').id(id).repository(repository);
            self.put(reverse.bytes(tag.as_str().as_bytes()), Vec::new());
        }
        self.put(Key::table(b'T').repository(repository).tag(tag), value);
        Ok(())
    }

    /// Removes a tag.
    pub fn remove_tag(&mut self, repository: RepositoryId, tag: &Tag) -> Result<(), IndexError> {
        self.forget_tag_target(repository, tag)?;
        self.delete(Key::table(b'T').repository(repository).tag(tag));
        Ok(())
    }

    fn forget_tag_target(&mut self, repository: RepositoryId, tag: &Tag) -> Result<(), IndexError> {
        if let Some((digest, _)) = self.tag(repository, tag)?.and_then(|record| record.current) {
            let id = self.intern(&digest)?.id;
            let reverse = Key::table(b't').id(id).repository(repository);
            self.delete(reverse.bytes(tag.as_str().as_bytes()));
        }
        Ok(())
    }

    /// Whether a repository has no tags, until the commit.
    pub fn require_no_tags(&mut self, repository: RepositoryId) -> Result<bool, IndexError> {
        self.require_empty(Key::table(b'T').repository(repository).below())
    }
}

/// Uploads.
impl Transaction<'_> {
    /// An upload.
    pub fn upload(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
    ) -> Result<Option<Upload>, IndexError> {
        self.record(
            Key::table(b'U').repository(repository).upload(id),
            Upload::decode,
        )
    }

    /// Sets an upload.
    pub fn put_upload(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        upload: &Upload,
    ) -> Result<(), IndexError> {
        self.put(
            Key::table(b'U').repository(repository).upload(id),
            upload.encode(),
        );
        Ok(())
    }

    /// Removes an upload.
    pub fn remove_upload(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
    ) -> Result<(), IndexError> {
        self.delete(Key::table(b'U').repository(repository).upload(id));
        Ok(())
    }

    /// Whether a repository has no uploads, until the commit.
    pub fn require_no_uploads(&mut self, repository: RepositoryId) -> Result<bool, IndexError> {
        self.require_empty(Key::table(b'U').repository(repository).below())
    }

    /// When a hash state was written, and what it is.
    pub fn hash_state(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Result<Option<(u32, Vec<u8>)>, IndexError> {
        let key = Key::hash_state(repository, id, algorithm, offset);
        self.record(key, super::decode_hash_state)
    }

    /// Sets a hash state.
    pub fn put_hash_state(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
        (updated, state): (u32, &[u8]),
    ) -> Result<(), IndexError> {
        let value = [&updated.to_be_bytes()[..], state].concat();
        self.put(Key::hash_state(repository, id, algorithm, offset), value);
        Ok(())
    }

    /// Removes a hash state.
    pub fn remove_hash_state(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Result<(), IndexError> {
        self.delete(Key::hash_state(repository, id, algorithm, offset));
        Ok(())
    }

    /// Whether an upload has no hash states (of an algorithm), until the commit.
    pub fn require_no_hash_states(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Option<Algorithm>,
    ) -> Result<bool, IndexError> {
        let key = Key::table(b'H').repository(repository).upload(id);
        self.require_empty(match algorithm {
            None => key.below(),
            Some(algorithm) => key.algorithm(algorithm).below(),
        })
    }
}

impl Key {
    fn hash_state(
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Self {
        let upload = Self::table(b'H').repository(repository).upload(id);
        upload.algorithm(algorithm).bytes(&offset.to_be_bytes())
    }
}

/// Manifests and what they name.
impl Transaction<'_> {
    /// The media type of a manifest that is known as one.
    pub fn manifest(&mut self, digest: &Digest) -> Result<Option<String>, IndexError> {
        let Some(blob) = self.blob(digest)? else {
            return Ok(None);
        };
        let key = Key::table(b'M').id(blob.id);
        self.record(key, |value| String::from_utf8(value.to_vec()).ok())
    }

    /// A digest is known as a manifest of this media type.
    pub fn put_manifest(&mut self, digest: &Digest, media_type: &str) -> Result<(), IndexError> {
        let id = self.intern(digest)?.id;
        self.put(Key::table(b'M').id(id), media_type.as_bytes().to_vec());
        Ok(())
    }

    /// What a manifest names, from this position on: edges in both directions. At most
    /// [`super::EDGES_AT_ONCE`] fit into one transaction.
    pub fn put_edges(
        &mut self,
        digest: &Digest,
        first: u32,
        edges: &[(Role, Digest)],
    ) -> Result<(), IndexError> {
        let id = self.intern(digest)?.id;
        for (position, (role, target)) in (first..).zip(edges) {
            let target = self.intern(target)?.id;
            let value = [&[role.byte()][..], &target.0.to_be_bytes()].concat();
            self.put(
                Key::table(b'E').id(id).bytes(&position.to_be_bytes()),
                value,
            );
            self.put(
                Key::table(b'e').id(target).byte(role.byte()).id(id),
                Vec::new(),
            );
        }
        Ok(())
    }

    /// Forgets what a digest is as a manifest, and what it names.
    pub fn remove_manifest(&mut self, digest: &Digest) -> Result<(), IndexError> {
        let Some(blob) = self.blob(digest)? else {
            return Ok(());
        };
        let range = Key::table(b'E').id(blob.id).below();
        for (key, value) in self.store.scan(&range.start..&range.end, usize::MAX)? {
            let mut fields = Fields(&value);
            if let (Some(role), Some(target)) = (fields.u8(), fields.id()) {
                self.delete(Key::table(b'e').id(target).byte(role).id(blob.id));
            }
            self.written.insert(key, None);
        }
        self.delete(Key::table(b'M').id(blob.id));
        Ok(())
    }
}
