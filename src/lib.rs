//! regfs: a filesystem that is a container registry's storage.

pub mod blobs;
pub mod digest;
pub mod index;
pub mod layout;
pub mod manifest;
pub mod name;
