//! Options of an export.

use std::path::Path;

use crate::dir::Dir;
use crate::maintenance::Progress;
use crate::registry::{Registry, TransferMode};

/// What to export, where, and how.
#[derive(Debug)]
pub struct ExportOptions<'a> {
    /// The registry whose facts are exported.
    pub registry: &'a Registry,
    /// The directory of the store.
    pub store: &'a Dir,
    /// The target directory: it is created, or must be empty.
    pub target: &'a Path,
    /// The path below the target that will hold `v2`.
    pub root: &'a str,
    /// How the files of blobs are transferred. `None` gives the tree files of its own: copied by
    /// reference where the filesystem can, otherwise copied.
    pub transfer_mode: Option<TransferMode>,
    /// The number of threads.
    pub jobs: usize,
    /// Updated as the export proceeds; stops the export if it is stopped.
    pub progress: &'a Progress,
}
