//! Adoption: facts and blobs of another storage, added in bulk.
//!
//! Many facts share one transaction. Facts that exist already stay as they are, so that an
//! adoption can be repeated. Manifests are read to record their references, but nothing is
//! validated: fsck reports what is wrong with an adopted storage.

use std::ffi::OsString;
use std::os::unix::fs::FileExt;

use super::ownership::enable_ownership;
use super::references::{record_manifest, record_references, stored_manifest};
use super::{
    Error, Fact, INLINE_BYTES_MAX, Ownership, OwnershipScope, Registry, TransferMode, Value,
};
use crate::blobs::{Area, BlobsError, ImportSource, claim};
use crate::digest::Digest;
use crate::dir::Dir;
use crate::index::EDGES_AT_ONCE;
use crate::layout::Node;
use crate::manifest::parse_lenient;
use crate::name::{LinkSet, RepositoryName, UploadId};
use crate::printable::printable;

mod fact;
mod found;
mod pending;

use fact::{has_ownership, set_ownership};
pub use found::FoundFile;
use pending::PendingAdoption;

/// Most operations of the index in one transaction, by the estimate of
/// [`PendingAdoption::cost`]; the index accepts more.
const OPERATIONS: usize = 600;
/// Most bytes of small blobs in one transaction.
const BYTES: usize = 512 << 10;
/// Most files that are made durable at once.
const FILES: usize = 256;

/// The result of adopting a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// The blob was added; its length in bytes.
    New(u64),
    /// The blob was stored already; its length in bytes.
    AlreadyStored(u64),
    /// The bytes have this digest instead of the expected one. Nothing was added.
    Mismatch(Digest),
}

/// A file that was moved into the store and whose old name is removed once its fact is durable.
struct MovedFile {
    digest: Digest,
    directory: Dir,
    name: OsString,
    inode: (u64, u64),
}

/// Adds facts and blobs in batches. Additions that were not [flushed](Adopter::flush) are lost.
pub struct Adopter<'a> {
    registry: &'a Registry,
    pending: Vec<PendingAdoption>,
    /// The sums of the [costs](PendingAdoption::cost) of what is pending.
    operations: usize,
    bytes: usize,
    /// Files that were added to the store and that no fact names yet.
    files: usize,
    moved_files: Vec<MovedFile>,
    new: u64,
}

impl std::fmt::Debug for Adopter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adopter")
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

/// Returns the length of a stored blob in bytes.
fn stored_len(registry: &Registry, digest: &Digest) -> Result<Option<u64>, Error> {
    let blob = registry.index.view().blobs().stored(digest)?;
    Ok(blob.map(|blob| blob.size))
}

impl<'a> Adopter<'a> {
    /// Returns an adopter of facts and blobs for this registry. Several may work at once.
    pub fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            pending: Vec::new(),
            operations: 0,
            bytes: 0,
            files: 0,
            moved_files: Vec::new(),
            new: 0,
        }
    }
}

impl Adopter<'_> {
    /// Adds a fact, unless it is present, and makes the directories above it. Blobs are added by
    /// [`Adopter::adopt_blob`], and the bytes of an upload by [`Adopter::adopt_upload`].
    ///
    /// # Errors
    /// [`Error::Misplaced`] if the layout has no such value at the path; the failure of a flush.
    pub fn adopt_fact(&mut self, fact: Fact) -> Result<(), Error> {
        match &fact {
            (Node::Link(_, LinkSet::Revisions, _), Value::Link { target, .. }) => {
                self.adopt_manifest(target)?;
            }
            (_, Value::Ownership(_)) => enable_ownership(self.registry),
            _ => {}
        }
        self.push(PendingAdoption::Fact(fact))
    }

    /// Sets owner and mode of the top of the mount, unless they were set.
    ///
    /// # Errors
    /// The failure of the index.
    pub fn adopt_mountpoint(&mut self, ownership: Ownership) -> Result<(), Error> {
        enable_ownership(self.registry);
        self.new += self.registry.index.transact(|tx| {
            if has_ownership(tx, &OwnershipScope::Mountpoint)? {
                return Ok(0);
            }
            set_ownership(tx, &OwnershipScope::Mountpoint, ownership)?;
            Ok::<_, Error>(1)
        })?;
        Ok(())
    }

    /// Adds a file as a blob that was stored when the file was last modified, unless the blob is
    /// stored. Files of at most [`INLINE_BYTES_MAX`] bytes are always verified, since they are
    /// read anyway; others if `verify` is `true`. Returns the result, and how the bytes of a new
    /// blob that is a file were transferred.
    ///
    /// # Errors
    /// The failure to read the file or to write the store.
    pub fn adopt_blob(
        &mut self,
        found: FoundFile,
        digest: &Digest,
        way: TransferMode,
        verify: bool,
    ) -> Result<(Adopted, Option<TransferMode>), Error> {
        if let Some(size) = stored_len(self.registry, digest)? {
            return Ok((Adopted::AlreadyStored(size), None));
        }
        if found.len() <= INLINE_BYTES_MAX as u64 {
            return Ok((self.adopt_inline(&found, digest)?, None));
        }
        if verify {
            let actual = found.hash(digest).map_err(found.about())?;
            if actual != *digest {
                return Ok((Adopted::Mismatch(actual), None));
            }
        }
        self.adopt_file(found, *digest, way)
    }

    fn adopt_inline(&mut self, found: &FoundFile, digest: &Digest) -> Result<Adopted, Error> {
        let bytes = found.bytes().map_err(found.about())?;
        let actual = Digest::of(digest.algorithm(), &bytes);
        if actual != *digest {
            return Ok(Adopted::Mismatch(actual));
        }
        let size = bytes.len() as u64;
        self.push(PendingAdoption::Inline {
            digest: *digest,
            bytes,
            created: found.modified,
        })?;
        Ok(Adopted::New(size))
    }

    fn adopt_file(
        &mut self,
        found: FoundFile,
        digest: Digest,
        way: TransferMode,
    ) -> Result<(Adopted, Option<TransferMode>), Error> {
        let (size, created) = (found.len(), found.modified);
        let lock = self.registry.lock(&digest);
        // A registry may have pushed the blob meanwhile.
        if let Some(size) = stored_len(self.registry, &digest)? {
            return Ok((Adopted::AlreadyStored(size), None));
        }
        let source = ImportSource::File(&found.file, way);
        let transferred = self.registry.blobs.import(Area::Live, &digest, source)?;
        drop(lock);
        if way == TransferMode::Move {
            self.moved_files.push(MovedFile {
                digest,
                directory: found.directory,
                name: found.name,
                inode: found.inode,
            });
        }
        self.files += 1;
        let blob = (Node::BlobData(digest), Value::Blob { size, created });
        self.push(PendingAdoption::Fact(blob))?;
        Ok((Adopted::New(size), Some(transferred)))
    }

    /// Adds the bytes of an upload, durably. Returns `false` without adding them if the store has
    /// at least as many bytes of this upload: its registry may have continued it here.
    ///
    /// # Errors
    /// The failure to read the file or to write the store.
    pub fn adopt_upload(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
        found: &FoundFile,
    ) -> Result<bool, Error> {
        match self.registry.uploads().data(name, id) {
            Ok(known) if known.len() >= found.len() => return Ok(false),
            Ok(_) | Err(Error::Missing) => {}
            Err(error) => return Err(error),
        }
        let directory = Node::Upload(name.clone(), *id);
        self.push(PendingAdoption::Fact((directory, Value::Directory)))?;
        self.flush()?;
        let staging = self.registry.uploads().create_data(name, id)?;
        staging.truncate(0)?;
        staging.fill(|offset, buffer| {
            let read = found.file.read_at(buffer, offset);
            Ok(read.map_err(found.about())?)
        })?;
        self.registry.uploads().sync(&staging)?;
        self.registry.sync()?;
        Ok(true)
    }

    /// Adds the references of a manifest, if its bytes are stored and its references are not.
    fn adopt_manifest(&mut self, digest: &Digest) -> Result<(), Error> {
        let registry = self.registry;
        if registry.queries().media_type(digest)?.is_some() {
            return Ok(());
        }
        let bytes = stored_manifest(registry, digest)?;
        let Some(manifest) = bytes.as_deref().and_then(parse_lenient) else {
            return Ok(());
        };
        if manifest.references.len() > EDGES_AT_ONCE {
            record_references(&registry.index, digest, &manifest)?;
            return registry
                .index
                .transact(|tx| record_manifest(tx, digest, &manifest));
        }
        let (digest, manifest) = (*digest, Box::new(manifest));
        self.push(PendingAdoption::Manifest { digest, manifest })
    }

    /// Adds to the next transaction, and flushes before if that is full.
    fn push(&mut self, pending: PendingAdoption) -> Result<(), Error> {
        let (operations, bytes) = pending.cost();
        let full = self.operations + operations > OPERATIONS || self.bytes + bytes > BYTES;
        if full || self.files > FILES {
            self.flush()?;
        }
        self.operations += operations;
        self.bytes += bytes;
        self.pending.push(pending);
        Ok(())
    }

    /// Returns the number of facts that were new, of those that were [flushed](Adopter::flush).
    pub fn new_facts(&self) -> u64 {
        self.new
    }

    /// Makes the pending bytes durable and then commits the pending facts. Removes the old names
    /// of moved files once their facts are durable.
    ///
    /// # Errors
    /// The failure to write the store, or to remove an old name.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.files > 0 {
            self.registry.blobs.sync()?;
        }
        let pending = std::mem::take(&mut self.pending);
        let moved_files = std::mem::take(&mut self.moved_files);
        (self.operations, self.bytes, self.files) = (0, 0, 0);
        if pending.is_empty() {
            return Ok(());
        }
        self.commit(pending)?;
        if !moved_files.is_empty() {
            self.registry.sync_always()?;
        }
        let mut moved_files = moved_files.iter();
        moved_files.try_for_each(|moved| self.remove_old_name(moved))
    }

    fn commit(&mut self, mut pending: Vec<PendingAdoption>) -> Result<(), Error> {
        let registry = self.registry;
        let files: Vec<Digest> = pending
            .iter()
            .filter_map(PendingAdoption::stored_file)
            .collect();
        let _locks = registry.lock_all(&files);
        // A registry may have pushed and removed the same blob meanwhile, and with it the file.
        let is_lost = |digest: Digest| {
            matches!(
                registry.blobs.open(Area::Live, &digest),
                Err(BlobsError::Missing(_))
            )
        };
        pending.retain(|one| !one.stored_file().is_some_and(is_lost));
        // One transaction at a time: a conflict would make the transaction run again.
        let _alone = registry.adopting.lock();
        let _no_removal = registry.reference_lock.read();
        self.new += registry.index.transact(|tx| {
            let mut new = 0;
            for one in &pending {
                new += one.apply(tx)?;
            }
            Ok::<_, Error>(new)
        })?;
        Ok(())
    }

    /// Removes the old name of a moved file, and gives the file the owner and mode of a blob.
    fn remove_old_name(&self, moved: &MovedFile) -> Result<(), Error> {
        let (directory, name) = (&moved.directory, &moved.name);
        let about = |error| BlobsError::System {
            path: printable(directory.shown(name)),
            error,
        };
        let metadata = directory.metadata(name).map_err(about)?;
        // Another file may have taken the name.
        if (metadata.st_dev, metadata.st_ino) == moved.inode {
            directory.remove_file(name).map_err(about)?;
        }
        let content = self.registry.blobs.open(Area::Live, &moved.digest)?;
        if let Some(file) = content.file() {
            let owner = self.registry.blobs.filesystem().owner()?;
            claim(file, owner).map_err(about)?;
        }
        Ok(())
    }
}
