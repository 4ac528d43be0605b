//! Real registries and real clients: they behave on the mount as on a plain disk.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod adoption;
mod backup;
mod clients;
mod collection;
mod crash;
mod differential;
mod disk;
mod full;
mod image;
mod manifests;
mod many_tags;
mod normal;
mod powercut;
mod purge;
mod registry;
mod root;
mod script;

use support::{daemon, http, store, table, tool};
