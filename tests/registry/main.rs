//! The registry and the tree without a kernel: a fault at every I/O, and random operations compared
//! with a plain directory.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

mod faults;
mod ingestion;
mod io;
mod model;

use support::table;
