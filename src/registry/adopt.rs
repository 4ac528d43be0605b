//! Adoption: facts and bytes that another storage kept, taken over in bulk.
//!
//! Many facts go into one transaction; what is known already is left as it is, so that the same
//! may be adopted again. Nothing is judged: what is wrong with it fsck says afterwards.
//! Manifests are read, so that what they name is known.

use std::ffi::OsString;
use std::os::unix::fs::FileExt;

use super::ownership::enable_ownership;
use super::references::{record_manifest, record_references, references, stored_manifest};
use super::{Error, Fact, INLINE_BYTES_MAX, Owner, Ownership, Registry, TransferMode, Value};
use crate::blobs::{Area, BlobsError, ImportSource, claim};
use crate::digest::Digest;
use crate::dir::Dir;
use crate::index::EDGES_AT_ONCE;
use crate::layout::Node;
use crate::manifest::{ManifestSummary, parse_lenient};
use crate::name::{LinkSet, RepositoryName, UploadId};
use crate::printable::printable;

mod fact;
mod found;

use fact::{adopt, has, has_ownership, own};
pub use found::Found;

/// Operations of the index that go into one transaction, by our own estimate; the index takes
/// more.
const OPERATIONS: usize = 600;
/// Bytes of small blobs that go into one transaction.
const BYTES: usize = 512 << 10;
/// Files that are made durable at once.
const FILES: usize = 256;

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It is taken over, of this length.
    New(u64),
    /// It was there, of this length.
    Known(u64),
    /// Its bytes are not what its name says but this.
    Wrong(Digest),
}

/// A file whose blob waits to become a fact, and whose name elsewhere goes then.
struct Moved {
    digest: Digest,
    directory: Dir,
    name: OsString,
    inode: (u64, u64),
}

/// Something that waits for the next transaction.
enum Pending {
    Fact(Fact),
    /// A small blob.
    Inline {
        digest: Digest,
        bytes: Vec<u8>,
        created: u32,
    },
    /// What a manifest names.
    Manifest {
        digest: Digest,
        manifest: Box<ManifestSummary>,
    },
}

impl Pending {
    /// Operations of the index that it takes at most, and bytes.
    fn cost(&self) -> (usize, usize) {
        match self {
            Self::Fact((_, Value::Directory | Value::Ownership(_))) => (12, 0),
            Self::Fact(_) => (24, 0),
            Self::Inline { bytes, .. } => (12, bytes.len()),
            Self::Manifest { manifest, .. } => (8 + 6 * manifest.references.len(), 0),
        }
    }

    /// The blob of which the file was taken.
    fn file(&self) -> Option<Digest> {
        match self {
            Self::Fact((Node::BlobData(digest), _)) => Some(*digest),
            Self::Fact(_) | Self::Inline { .. } | Self::Manifest { .. } => None,
        }
    }
}

/// Takes over facts and blobs; what was not [flushed](Adopter::flush) is not there.
pub struct Adopter<'a> {
    registry: &'a Registry,
    pending: Vec<Pending>,
    operations: usize,
    bytes: usize,
    files: usize,
    /// Files whose blobs wait, to be removed.
    moved: Vec<Moved>,
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
fn known(registry: &Registry, digest: &Digest) -> Result<Option<u64>, Error> {
    let blob = registry.index.view().blob(digest)?;
    Ok(blob.filter(|blob| blob.present).map(|blob| blob.size))
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
            moved: Vec::new(),
            new: 0,
        }
    }
}

impl Adopter<'_> {
    /// Takes over a fact, if it is not there. The directories that lead to it are made.
    /// Blobs come by [`Adopter::blob`], an upload's bytes by [`Adopter::upload`].
    pub fn fact(&mut self, fact: Fact) -> Result<(), Error> {
        match &fact {
            (Node::Link(_, LinkSet::Revisions, _), Value::Link { target, .. }) => {
                self.manifest(target)?;
            }
            (_, Value::Ownership(_)) => enable_ownership(self.registry),
            _ => {}
        }
        self.push(Pending::Fact(fact))
    }

    /// Sets owner and mode of the top of the mount, unless they were set.
    pub fn mountpoint(&mut self, ownership: Ownership) -> Result<(), Error> {
        enable_ownership(self.registry);
        self.new += self.registry.index.transact(|facts| {
            if has_ownership(facts, &Owner::Mountpoint)? {
                return Ok(0);
            }
            own(facts, &Owner::Mountpoint, ownership)?;
            Ok::<_, Error>(1)
        })?;
        Ok(())
    }

    /// Takes over a file as a blob since its time. Small ones are always verified, since they are
    /// read; others if `verify` says so. Also says in which way the bytes came.
    pub fn blob(
        &mut self,
        found: Found,
        digest: &Digest,
        way: TransferMode,
        verify: bool,
    ) -> Result<(Adopted, Option<TransferMode>), Error> {
        if let Some(size) = known(self.registry, digest)? {
            return Ok((Adopted::Known(size), None));
        }
        let (size, created, digest) = (found.len(), found.modified, *digest);
        if size <= INLINE_BYTES_MAX as u64 {
            let bytes = found.bytes().map_err(found.about())?;
            let actual = Digest::of(digest.algorithm(), &bytes);
            if actual != digest {
                return Ok((Adopted::Wrong(actual), None));
            }
            let size = bytes.len() as u64;
            self.push(Pending::Inline {
                digest,
                bytes,
                created,
            })?;
            return Ok((Adopted::New(size), None));
        }
        if verify {
            let actual = found.hash(&digest).map_err(found.about())?;
            if actual != digest {
                return Ok((Adopted::Wrong(actual), None));
            }
        }
        let held = self.registry.lock(&digest);
        // Somebody may have pushed it meanwhile.
        if let Some(size) = known(self.registry, &digest)? {
            return Ok((Adopted::Known(size), None));
        }
        let taken = self.registry.blobs.import(
            Area::Live,
            &digest,
            ImportSource::File(&found.file, way),
        )?;
        drop(held);
        if way == TransferMode::Move {
            // The name elsewhere goes when the fact is durable, and not before.
            self.moved.push(Moved {
                digest,
                directory: found.directory,
                name: found.name,
                inode: found.inode,
            });
        }
        self.files += 1;
        let blob = (Node::BlobData(digest), Value::Blob { size, created });
        self.push(Pending::Fact(blob))?;
        Ok((Adopted::New(size), Some(taken)))
    }

    /// Takes over the bytes of an upload; whether they are not what is there.
    pub fn upload(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
        found: &Found,
    ) -> Result<bool, Error> {
        let system = found.about();
        let len = found.len();
        match self.registry.uploads().data(name, id) {
            // Its registry may have gone on with it here.
            Ok(known) if known.len() >= len => return Ok(false),
            Ok(_) | Err(Error::Missing) => {}
            Err(error) => return Err(error),
        }
        let directory = Node::Upload(name.clone(), *id);
        self.push(Pending::Fact((directory, Value::Directory)))?;
        self.flush()?;
        let staging = self.registry.uploads().create_data(name, id)?;
        staging.truncate(0)?;
        let (mut buffer, mut offset) = (vec![0; 1 << 20], 0);
        loop {
            let read = found.file.read_at(&mut buffer, offset).map_err(&system)?;
            if read == 0 {
                self.registry.uploads().sync(&staging)?;
                self.registry.sync()?;
                return Ok(true);
            }
            staging.write_at(offset, buffer.get(..read).unwrap_or_default())?;
            offset += read as u64;
        }
    }

    /// Learns what a manifest names, if its bytes are there.
    fn manifest(&mut self, digest: &Digest) -> Result<(), Error> {
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
                .transact(|facts| record_manifest(facts, digest, &manifest));
        }
        let (digest, manifest) = (*digest, Box::new(manifest));
        self.push(Pending::Manifest { digest, manifest })
    }

    fn push(&mut self, one: Pending) -> Result<(), Error> {
        let (operations, bytes) = one.cost();
        let full = self.operations + operations > OPERATIONS || self.bytes + bytes > BYTES;
        if full || self.files > FILES {
            self.flush()?;
        }
        self.operations += operations;
        self.bytes += bytes;
        self.pending.push(one);
        Ok(())
    }

    /// How many facts were not there, of those that were [flushed](Adopter::flush).
    pub fn new_facts(&self) -> u64 {
        self.new
    }

    /// Makes what waits facts: bytes first.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.files > 0 {
            self.registry.blobs.sync()?;
        }
        let mut pending = std::mem::take(&mut self.pending);
        let moved = std::mem::take(&mut self.moved);
        (self.operations, self.bytes, self.files) = (0, 0, 0);
        if pending.is_empty() {
            return Ok(());
        }
        let taken: Vec<Digest> = pending.iter().filter_map(Pending::file).collect();
        let held = self.registry.lock_all(&taken);
        // Somebody may have pushed and removed the same meanwhile, and its bytes with it.
        let open = |digest| self.registry.blobs.open(Area::Live, &digest);
        let gone = |digest| matches!(open(digest), Err(BlobsError::Missing(_)));
        pending.retain(|one| !one.file().is_some_and(gone));
        // One at a time: what nobody else changes meanwhile need not be looked at twice.
        let turn = self.registry.adopting.lock();
        let nothing_goes = self.registry.reference_lock.read();
        self.new += self.registry.index.transact(|facts| {
            let mut new = 0;
            for one in &pending {
                match one {
                    Pending::Fact(fact) if has(facts, fact)? => {}
                    Pending::Fact(fact) => {
                        new += 1;
                        adopt(facts, fact)?;
                    }
                    Pending::Inline {
                        digest,
                        bytes,
                        created,
                    } => {
                        new += 1;
                        facts.put_inline(digest, bytes, *created)?;
                    }
                    Pending::Manifest { digest, manifest } => {
                        facts.put_edges(digest, 0, &references(manifest))?;
                        record_manifest(facts, digest, manifest)?;
                    }
                }
            }
            Ok::<_, Error>(new)
        })?;
        drop((nothing_goes, turn, held));
        if !moved.is_empty() {
            self.registry.sync_always()?;
        }
        moved.into_iter().try_for_each(|one| self.end_move(&one))
    }

    /// Removes the name that a blob had elsewhere, and makes its file the store's own.
    fn end_move(&self, moved: &Moved) -> Result<(), Error> {
        let about = |error| BlobsError::System {
            path: printable(moved.directory.shown(&moved.name)),
            error,
        };
        let there = moved.directory.metadata(&moved.name).map_err(about)?;
        // Somebody may have put another file there.
        if (there.st_dev, there.st_ino) == moved.inode {
            moved.directory.remove_file(&moved.name).map_err(about)?;
        }
        let content = self.registry.blobs.open(Area::Live, &moved.digest)?;
        if let Some(file) = content.file() {
            let owner = self.registry.blobs.filesystem().owner()?;
            claim(file, owner).map_err(about)?;
        }
        Ok(())
    }
}
