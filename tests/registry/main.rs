//! The registry and the tree without a kernel: faults at every I/O, random operations against a
//! plain directory, and small disks, which need root.
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
mod small_disks;

use support::{small_disk, table};
