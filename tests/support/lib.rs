//! Shared by tests: the program and its daemons, checks of a store, small disks, HTTP, tools that
//! `scripts/install` installs, and the tables of documents.
//!
//! A crate of its own, so that unit tests, suites and benchmarks can use it. It does not know the
//! library, only the program.

pub mod daemon;
pub mod http;
pub mod program;
pub mod small_disk;
pub mod store;
pub mod table;
pub mod tool;
