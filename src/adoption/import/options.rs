//! Options of an import.

use std::path::Path;

use crate::dir::Dir;
use crate::maintenance::Progress;
use crate::registry::{Registry, TransferMode};

/// What to import, and how.
#[derive(Debug)]
pub struct ImportOptions<'a> {
    /// The rootdirectory of the registry.
    pub plain: &'a Path,
    /// The path below it that holds `v2`.
    pub root: &'a str,
    /// The directory of the store, and its registry. `None` for a dry run: nothing is stored or
    /// changed.
    pub into: Option<(&'a Dir, &'a Registry)>,
    /// How the files of blobs are transferred that are too large for the index. `None` chooses the
    /// cheapest mode in which nobody but the store's owner can change them afterwards.
    pub transfer_mode: Option<TransferMode>,
    /// `true` to follow symbolic links in place of directories of the tree.
    pub follow_links: bool,
    /// `true` to verify the digests of blobs that are too large for the index; those of smaller
    /// ones always are.
    pub verify: bool,
    /// The number of threads.
    pub jobs: usize,
    /// Updated as the import proceeds; stops the import if it is stopped.
    pub progress: &'a Progress,
}
