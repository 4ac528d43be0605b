//! regfs: a filesystem that is a container registry's storage.

pub mod blobs;
pub mod cli;
pub mod commands;
pub mod digest;
pub mod fuse;
pub mod index;
pub mod layout;
pub mod manifest;
pub mod name;
pub mod registry;
pub mod tree;
