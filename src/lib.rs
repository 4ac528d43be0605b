//! regfs: a filesystem that is a container registry's storage.

pub mod digest;
pub mod layout;
pub mod name;
