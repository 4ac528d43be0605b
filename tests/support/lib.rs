//! What tests share: the program and its daemons, stores looked at, disks that are soon full,
//! HTTP, tools that `scripts/install` puts in place, and the tables of documents.
//!
//! A crate of its own, so that unit tests, suites and benchmarks use it alike. It knows nothing of
//! the library: only the program.

pub mod daemon;
pub mod http;
pub mod program;
pub mod small_disk;
pub mod store;
pub mod table;
pub mod tool;
