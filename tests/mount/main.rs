//! The mount as the kernel shows it, with the real program: one file for each concern.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod attributes;
mod bounds;
mod coherent;
mod copies;
mod damage;
mod dialects;
mod drops;
mod ending;
mod fuzz;
mod gate;
mod hidden;
mod lifecycle;
mod listings;
mod man;
mod manifests;
mod mounted;
mod moved;
mod numbers;
mod opened;
mod options;
mod ownership;
mod passthrough;
mod plain;
mod posix;
mod private;
mod read_only;
mod relocation;
mod requests;
mod slow;
mod stale;
mod storm;
mod times;
mod uploads;
mod user;
mod walk;
mod writers;

use support::{daemon, store, table, tool};
