//! Adoption: importing a registry's plain tree into a store, and exporting a store as one.
//!
//! [`import()`] reads a tree that any version of distribution has written. It repairs what can be
//! repaired, quarantines what cannot, and stores the rest as facts. [`export()`] writes the tree
//! that a registry would have on a plain disk, byte for byte. The layout decides where a fact is
//! in the tree, and the registry what a fact means; adoption decides neither.

mod access;
mod directory_path;
mod error;
mod export;
mod export_report;
mod finding;
mod import;
mod import_report;
mod private_directory;
mod quarantine;
mod read;
mod transfer_counts;
mod unmanaged;
mod walk;

pub use error::{AdoptionError, TransferChoice};
pub use export::{ExportOptions, export};
pub use export_report::ExportReport;
pub use finding::{Finding, FindingKind, Remedy};
pub use import::{ImportOptions, find, import};
pub use import_report::ImportReport;
pub use transfer_counts::TransferCount;
pub use unmanaged::copy_files;
