//! Maintenance: work on a whole store, which takes long and reports its progress.
//!
//! It goes by [snapshots](crate::registry::Snapshot), so that the registry goes on meanwhile. It
//! knows nothing of the command line: commands print the reports that it returns.

mod backup;
mod expiry;
mod fsck;
mod inventory;
mod progress;
mod reread;
mod scrub;
mod trash;

pub use backup::{BackupReport, RestoreReport, back_up, prepare, restore};
pub use expiry::{Expiry, expire_trash};
pub use fsck::{Fault, FsckFinding, FsckReport, Severity, check, repair_all};
pub use inventory::{
    ImageReport, Inventory, ReferencedBlob, RepositoryUsage, TagEntry, TagVersion, Totals,
};
pub use progress::{Progress, Standing};
pub use scrub::{CorruptBlob, ScrubOptions, ScrubReport, scrub};
pub use trash::{RemovedBlob, Restored, TrashReport, list_trash, undelete, undelete_all};
