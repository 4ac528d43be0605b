//! The arguments of `regfs import` and `regfs export`.

use std::path::PathBuf;

use clap::Args;

use super::OutputArgs;
use crate::commands::TransferMode;

/// Where distribution puts `v2` below its rootdirectory.
pub(super) const ROOT: &str = "docker/registry";

/// How blobs that are files are transferred; at most one of these.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(in crate::cli) struct TransferArgs {
    /// Hard-link blobs: whoever can write a file by its other name can change the blob
    #[arg(long)]
    pub(super) hardlink: bool,
    /// Copy blobs by reference, on filesystems that support it (xfs, btrfs)
    #[arg(long)]
    pub(super) reflink: bool,
    /// Copy the bytes of blobs
    #[arg(long)]
    pub(super) copy: bool,
}

impl TransferArgs {
    /// Returns the method that was given, if any.
    pub(in crate::cli) fn method(&self) -> Option<TransferMode> {
        [
            (self.hardlink, TransferMode::Link),
            (self.reflink, TransferMode::Reflink),
            (self.copy, TransferMode::Copy),
        ]
        .into_iter()
        .find_map(|(given, method)| given.then_some(method))
    }
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(in crate::cli) struct ImportArgs {
    /// The rootdirectory of the registry
    pub(in crate::cli) plain: PathBuf,
    /// The store directory; created if it does not exist
    pub(in crate::cli) store: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) transfer: TransferArgs,
    /// Move blobs into the store: afterwards no registry can use the tree
    #[arg(long = "move", conflicts_with_all = ["hardlink", "reflink", "copy"])]
    pub(in crate::cli) moving: bool,
    /// Verify the digest of every blob; by default only of those up to 16 KiB
    #[arg(long)]
    pub(in crate::cli) verify: bool,
    /// Follow symbolic links that replace directories of the tree
    ///
    /// Without it a tree with such links is refused. Other symbolic links are never followed.
    #[arg(long)]
    pub(in crate::cli) follow_links: bool,
    /// Only report what would be imported, and what is wrong with the tree
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Path of the directory that holds v2, relative to the rootdirectory; may be empty
    #[arg(long, value_name = "PATH", default_value = ROOT)]
    pub(in crate::cli) root: String,
    /// Number of threads [default: twice the number of processors, at most 64]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) jobs: Option<usize>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// The store directory, mounted or not
    pub(in crate::cli) store: PathBuf,
    /// A new or empty directory, which becomes the rootdirectory of a registry
    pub(in crate::cli) directory: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) transfer: TransferArgs,
    /// Path of the directory that will hold v2, relative to DIRECTORY; may be empty
    #[arg(long, value_name = "PATH", default_value = ROOT)]
    pub(in crate::cli) root: String,
    /// Number of threads [default: twice the number of processors, at most 64]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) jobs: Option<usize>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
