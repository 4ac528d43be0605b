//! Maintenance: work on a whole store, which takes long and reports its progress.
//!
//! It reads [snapshots](crate::registry::Snapshot), so that the registry continues meanwhile. It
//! knows nothing of the command line: commands print the reports that it returns.

mod backup;
mod expiry;
mod fsck;
mod inventory;
mod progress;
mod reread;
mod scrub;
mod tags;
mod trash;

pub use backup::{BackupReport, RestoreReport, back_up, prepare, restore};
pub use expiry::{Expiry, expire_trash};
pub use fsck::{FsckFinding, FsckReport, Severity, StoreFault, check, repair_all};
pub use inventory::{
    ImageReport, Inventory, ReferencedBlob, RepositoryUsage, TagEntry, TagVersion, Totals,
};
pub use progress::{Progress, ProgressSnapshot};
pub use scrub::{CorruptBlob, ScrubOptions, ScrubReport, scrub};
pub use trash::{RemovedBlob, Restored, TrashReport, list_trash, undelete, undelete_all};
