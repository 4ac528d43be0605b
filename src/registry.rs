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
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::blobs::Blobs;
use crate::digest::Digest;
use crate::dir::Dir;
use crate::index::{Index, JournalDamage, Store};

mod adopt;
mod backup;
mod blob;
mod directory;
mod error;
mod expiry;
mod fsck;
mod gate;
mod ingest;
mod inventory;
mod kept;
mod link;
mod moment;
mod open;
mod ownership;
mod policy;
mod publish;
mod queries;
mod room;
mod scrub;
mod settling;
mod staging;
mod times;
mod trash;
mod upload;
mod value;
mod verified;

pub use crate::blobs::{Retired, Shareable, Way, read_held, transfer, who_else_writes};
pub use crate::index::Recover;
pub use adopt::{Adopted, Adopter, Found};
pub use backup::{BackedUp, FromBackup, is_backup, prepare, restore};
pub use error::Error;
pub use expiry::Expiry;
pub use fsck::{Diagnosis, Discovery, Fault, Severity};
pub use gate::judge;
pub use ingest::{Destination, Ingested};
pub use inventory::{Earlier, Holding, Totals};
pub use moment::Moment;
pub use open::{FILES, StoreState, state};
pub use ownership::{Owner, Ownership};
pub use policy::{Audit, Policy, References, Removal, Schema1, Sync, Uploads};
pub use publish::{Bytes, INLINE_BYTES_MAX};
pub use queries::Queries;
pub use scrub::{Rotten, Scrubbed, Scrubbing};
pub use staging::{Lent, Parked, Reading, Staging};
pub use times::seconds;
pub use trash::Restored;
pub use upload::NOTE_BYTES_MAX;
pub use value::{Fact, Value};

/// A registry's storage: facts in the index, bytes among the blobs.
pub struct Registry {
    index: Arc<Index>,
    blobs: Arc<dyn Blobs>,
    policy: Policy,
    /// One lock for each first byte of a digest: publication and removal of the same bytes
    /// must not overlap, or the one's fact would name what the other has just removed.
    shards: Vec<Mutex<()>>,
    /// Held shared while a link comes that may need bytes, and alone while bytes that nobody
    /// needs are said to be gone: what a manifest found when it came is there.
    needs: RwLock<()>,
    uploads: upload::Open,
    inline_open: staging::InlineOpen,
    verified: verified::Verified,
    spent: upload::Spent,
    settling: settling::Settling,
    moments: Mutex<moment::Moments>,
    recent: directory::Recent,
    /// Held by who takes something out of the trash for room.
    making_room: Mutex<()>,
    /// Whose turn it is of those who adopt facts.
    adopting: Mutex<()>,
    /// Whether the owner or mode of any directory was ever set.
    owned: AtomicBool,
    /// What was wrong with the journal when it was opened, and accepted, until it is repaired.
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
    /// A registry over these facts and bytes; clears away what an earlier process left staged.
    pub fn new(
        store: Arc<dyn Store>,
        blobs: Arc<dyn Blobs>,
        policy: Policy,
    ) -> Result<Self, Error> {
        let shards = (0..=u8::MAX).map(|_| Mutex::new(())).collect();
        let index = Arc::new(Index::new(store));
        let owned = AtomicBool::new(index.view().has_ownership()?);
        let registry = Self {
            index,
            blobs,
            policy,
            shards,
            needs: RwLock::default(),
            uploads: upload::Open::default(),
            inline_open: staging::InlineOpen::default(),
            verified: verified::Verified::default(),
            spent: upload::Spent::default(),
            settling: settling::Settling::default(),
            moments: Mutex::default(),
            recent: directory::Recent::default(),
            making_room: Mutex::default(),
            adopting: Mutex::default(),
            owned,
            damage: Mutex::default(),
        };
        let unsettled = registry.finish_publications()?;
        let kept_whole = registry.give_back_kept(&unsettled.rows)?;
        registry.clear_staging(unsettled.whole && kept_whole)?;
        // Only now: what settles takes for durable what is in the files.
        registry.unsettled(unsettled.rows.len());
        Ok(registry)
    }

    /// A new one in memory, and its bytes.
    #[cfg(test)]
    pub(crate) fn in_memory() -> (Self, Arc<crate::blobs::Memory>) {
        let bytes = Arc::new(crate::blobs::Memory::default());
        let facts = Arc::new(crate::index::Memory::default());
        let registry = Self::new(facts, bytes.clone(), Policy::default());
        (registry.unwrap(), bytes)
    }

    /// A new one in memory, under a policy.
    #[cfg(test)]
    pub(crate) fn in_memory_with(policy: Policy) -> Self {
        let bytes = Arc::new(crate::blobs::Memory::default());
        let facts = Arc::new(crate::index::Memory::default());
        Self::new(facts, bytes, policy).unwrap()
    }

    /// The registry kept in the directory `store`, which is made there if it is empty.
    ///
    /// The caller holds the store's lock: two processes on one store would destroy it.
    pub fn open(store: &Dir, policy: Policy) -> Result<Self, Error> {
        open::open(store, policy, Recover::Refuse)
    }

    /// The same, where the loss of commits may be accepted ([`Error::journal_damage`]).
    pub fn recover(store: &Dir, policy: Policy, recover: Recover) -> Result<Self, Error> {
        open::open(store, policy, recover)
    }

    /// The registry kept in the directory `store`, to which nothing is written: what opening would
    /// put right, and what is changed, is kept in memory.
    pub fn open_unwritten(store: &Dir, policy: Policy, recover: Recover) -> Result<Self, Error> {
        open::open_unwritten(store, policy, recover)
    }

    /// Reads every page of the index in a directory whose lock the caller holds, and which
    /// nobody has opened.
    ///
    /// # Errors
    /// One that names the index, if a page is damaged.
    pub fn check_pages(store: &Dir) -> Result<(), Error> {
        open::check_pages(store)
    }

    /// Returns `true` if this directory keeps a registry.
    pub fn exists(store: &Dir) -> Result<bool, Error> {
        open::holds(store, crate::index::INDEX_FILE)
    }

    /// Returns when everything done before is durable, unless policy has it that nobody waits;
    /// free if nothing was done since.
    pub fn sync(&self) -> Result<(), Error> {
        if self.is_durable(self.position()) {
            return Ok(());
        }
        self.sync_always()
    }

    /// Returns when everything done before is durable, whatever policy says.
    pub fn sync_always(&self) -> Result<(), Error> {
        self.index.sync()?;
        self.clear_spent();
        Ok(())
    }

    /// How far changes of facts have come: a number that grows with each.
    pub fn position(&self) -> u64 {
        self.index.position()
    }

    /// Whether nobody waits for what was done up to a position: it is durable, or policy has it
    /// so.
    pub fn is_durable(&self, position: u64) -> bool {
        self.policy.sync != Sync::Always || self.index.is_durable(position)
    }

    /// What is admitted and what is refused.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Keeps others from publishing or removing these bytes.
    fn hold(&self, digest: &Digest) -> Option<MutexGuard<'_, ()>> {
        self.shards
            .get(usize::from(digest.shard()))
            .map(Mutex::lock)
    }

    /// The same for several digests, in an order in which nobody waits for each other.
    fn hold_all(&self, digests: &[Digest]) -> Vec<MutexGuard<'_, ()>> {
        let shards: BTreeSet<u8> = digests.iter().map(Digest::shard).collect();
        let locks = shards
            .into_iter()
            .filter_map(|one| self.shards.get(usize::from(one)));
        locks.map(Mutex::lock).collect()
    }
}

/// Now, in seconds since 1970: the precision of every time that is kept.
fn now() -> u32 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX)
}

/// A kept time as the system's.
pub fn time(seconds: u32) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_secs(u64::from(seconds))
}
