//! Adoption with the real program: plain trees imported, repaired, checked and exported.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod backup;
mod faults;
mod formats;
mod inventory;
mod kills;
mod links;
mod names;
mod ownership;
mod plain;
mod race;
mod round_trip;
mod scrub;
mod sharing;
mod site;

use support::{daemon, small_disk, store};
