//! Adoption by the real program: plain trees taken in, mended, checked, and given back.
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
mod plain;
mod round_trip;
mod scrub;
mod site;

#[path = "../examined/store.rs"]
mod store;

#[path = "../served/daemon.rs"]
mod daemon;
