//! The registry: the only code that changes facts and bytes, in the one safe order.
//!
//! Bytes are durable before a fact names them, or with it; a fact is gone before its bytes are.
//! Every change of facts is one optimistic transaction of the index: what it read is checked
//! again when it commits, so that two processes at work never leave half of each other's change.
//!
//! It knows no paths: what a file operation means is for the tree to say. It takes digests and
//! names that are already well formed, and answers in the field's terms ([`Error`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::blobs::Blobs;
use crate::digest::Digest;
use crate::dir::Dir;
use crate::index::{Index, JournalDamage, Store};

mod admission;
mod adopt;
mod blob;
mod checkpoint;
mod directory;
mod error;
mod ingest;
mod link;
mod logged;
mod open;
mod open_blob;
mod ownership;
mod policy;
mod publish;
mod queries;
mod recovery;
mod references;
mod room;
mod snapshot;
mod staging;
mod time;
mod upload;
mod value;
mod verified;

pub use crate::blobs::DiskSpace;
pub use crate::blobs::{Shareable, StoredBlob, TransferMode, other_writers, read_held, transfer};
pub use crate::index::Recover;
pub use admission::Admission;
pub use adopt::{Adopted, Adopter, FoundFile};
pub use blob::LockedBlob;
pub use directory::DirectoryTree;
pub use error::Error;
pub use ingest::{Destination, Ingested};
pub use link::Links;
pub(crate) use open::{BACKUP_MARK, holds};
pub use open::{FILES, StoreState, check_pages, is_backup, state};
pub use open_blob::OpenBlob;
pub use ownership::{Ownership, OwnershipScope};
pub use policy::{Audit, Policy, ReferenceCheck, Removal, Schema1, Sync, UploadDurability};
pub use publish::{Bytes, INLINE_BYTES_MAX};
pub use queries::{Queries, QueryPages};
pub(crate) use references::stored_manifest;
pub use room::Room;
pub(crate) use room::reserve;
pub use snapshot::Snapshot;
pub use staging::{Parked, SharedFile, StagedUpload};
use time::now;
pub use time::{seconds, time};
pub use upload::{METADATA_BYTES_MAX, Uploads};
pub use value::{Fact, Value};

/// A registry's storage: facts in the index, bytes among the blobs.
pub struct Registry {
    index: Arc<Index>,
    blobs: Arc<dyn Blobs>,
    policy: Policy,
    /// One lock for each first byte of a digest, held while a blob is published or removed: a
    /// publication must not commit a fact whose bytes a removal is about to take.
    digest_locks: Vec<Mutex<()>>,
    /// Held shared while adding references and exclusively while removing an unreferenced blob,
    /// so that a manifest cannot reference a blob being removed.
    reference_lock: RwLock<()>,
    open_uploads: upload::OpenUploads,
    inline_open: open_blob::InlineOpen,
    verified: verified::Verified,
    reclaimable: checkpoint::Reclaimable,
    checkpoints: checkpoint::Checkpoints,
    snapshots: Mutex<snapshot::OpenSnapshots>,
    recent: directory::RecentRepositories,
    /// Held while blobs are removed from the trash to free space: one thread at a time.
    making_room: Mutex<()>,
    /// Held while an adoption commits: one transaction at a time.
    adopting: Mutex<()>,
    /// `true` if the owner or mode of any directory was ever set.
    owned: AtomicBool,
    /// The damage of the journal that was accepted at opening, until it is repaired.
    damage: Mutex<Option<JournalDamage>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens a registry over these facts and bytes, and recovers what an earlier process left
    /// pending.
    ///
    /// # Errors
    /// The failure to read the index, or to recover a file.
    pub fn new(
        store: Arc<dyn Store>,
        blobs: Arc<dyn Blobs>,
        policy: Policy,
    ) -> Result<Self, Error> {
        let digest_locks = (0..=u8::MAX).map(|_| Mutex::new(())).collect();
        let index = Arc::new(Index::new(store));
        let owned = AtomicBool::new(index.view().owners().any()?);
        let registry = Self {
            index,
            blobs,
            policy,
            digest_locks,
            reference_lock: RwLock::default(),
            open_uploads: upload::OpenUploads::default(),
            inline_open: open_blob::InlineOpen::default(),
            verified: verified::Verified::default(),
            reclaimable: checkpoint::Reclaimable::default(),
            checkpoints: checkpoint::Checkpoints::default(),
            snapshots: Mutex::default(),
            recent: directory::RecentRepositories::default(),
            making_room: Mutex::default(),
            adopting: Mutex::default(),
            owned,
            damage: Mutex::default(),
        };
        let pending = recovery::recover(&registry.index, registry.blobs.as_ref())?;
        registry.add_pending(pending);
        Ok(registry)
    }

    /// Returns an empty registry in memory, and its blobs.
    #[cfg(test)]
    pub(crate) fn in_memory() -> (Self, Arc<crate::blobs::MemoryBlobs>) {
        let bytes = Arc::new(crate::blobs::MemoryBlobs::default());
        let facts = Arc::new(crate::index::MemoryStore::default());
        let registry = Self::new(facts, bytes.clone(), Policy::default());
        (registry.unwrap(), bytes)
    }

    /// Returns an empty registry in memory with this policy.
    #[cfg(test)]
    pub(crate) fn in_memory_with(policy: Policy) -> Self {
        let bytes = Arc::new(crate::blobs::MemoryBlobs::default());
        let facts = Arc::new(crate::index::MemoryStore::default());
        Self::new(facts, bytes, policy).unwrap()
    }

    /// Opens the registry in the directory `store`; an empty directory becomes a store.
    /// `recover` says whether lost commits of the journal are accepted. The caller holds the
    /// store's lock: two processes on one store would destroy it.
    ///
    /// # Errors
    /// [`Error::Store`] for a directory that holds something else; an error with
    /// [`Error::journal_damage`] if the journal lost commits and `recover` refuses that.
    pub fn open(store: &Dir, policy: Policy, recover: Recover) -> Result<Self, Error> {
        open::open(store, policy, recover)
    }

    /// Opens the registry in the directory `store` without writing to it: what opening repairs,
    /// and every later change, stays in memory.
    ///
    /// # Errors
    /// The same as of [`Registry::open`].
    pub fn open_unwritten(store: &Dir, policy: Policy, recover: Recover) -> Result<Self, Error> {
        open::open_unwritten(store, policy, recover)
    }

    /// Waits until every earlier change is durable, unless the policy says that nobody waits.
    /// Costs nothing if nothing was changed since the last flush.
    ///
    /// # Errors
    /// The failure of the flush; from then on every change fails.
    pub fn sync(&self) -> Result<(), Error> {
        if self.is_durable(self.position()) {
            return Ok(());
        }
        self.sync_always()
    }

    /// Waits until every earlier change is durable, whatever the policy says.
    ///
    /// # Errors
    /// The failure of the flush; from then on every change fails.
    pub fn sync_always(&self) -> Result<(), Error> {
        self.index.sync()?;
        self.reclaim();
        Ok(())
    }

    /// Returns the position of the last change: a number that grows with each change of facts.
    pub fn position(&self) -> u64 {
        self.index.position()
    }

    /// Returns `true` if nobody has to wait for the changes up to a position: they are durable,
    /// or the policy says that nobody waits.
    pub fn is_durable(&self, position: u64) -> bool {
        self.policy.sync != Sync::Always || self.index.is_durable(position)
    }

    /// Returns what is admitted, what is refused, and what fsync waits for.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the facts, for maintenance.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Returns the bytes, for maintenance.
    pub(crate) fn blobs(&self) -> &dyn Blobs {
        self.blobs.as_ref()
    }

    /// Returns the damage of the journal that was accepted when the store was opened; `None`
    /// after its repair.
    pub(crate) fn journal_damage(&self) -> MutexGuard<'_, Option<JournalDamage>> {
        self.damage.lock()
    }

    /// Locks the publication and removal of these bytes.
    fn lock(&self, digest: &Digest) -> Option<MutexGuard<'_, ()>> {
        self.digest_locks
            .get(usize::from(digest.shard()))
            .map(Mutex::lock)
    }

    /// Locks several digests, in an order that cannot deadlock.
    fn lock_all(&self, digests: &[Digest]) -> Vec<MutexGuard<'_, ()>> {
        let first_bytes: BTreeSet<u8> = digests.iter().map(Digest::shard).collect();
        let locks = first_bytes
            .into_iter()
            .filter_map(|one| self.digest_locks.get(usize::from(one)));
        locks.map(Mutex::lock).collect()
    }
}
