//! Values: what a registry's storage holds at each path, in the form in which facts are imported
//! and exported. The layout says which path each fact has.

use super::Ownership;
use crate::digest::Digest;
use crate::layout::Node;

/// A fact: a path, and the value there.
pub type Fact = (Node, Value);

/// The value at a path. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A directory that was made; it may be empty.
    Directory,
    /// Owner and mode of a directory, which everything below it shows too.
    Ownership(Ownership),
    /// A link of a digest, or a tag's current link.
    Link {
        /// The digest that it names.
        target: Digest,
        /// When it was written.
        pushed: u32,
    },
    /// A blob that is stored.
    Blob {
        /// Its length in bytes.
        size: u64,
        /// When it was stored.
        created: u32,
    },
    /// A small file of an upload (`startedat` or a hash state), as its registry wrote it.
    File {
        /// Its content.
        bytes: Vec<u8>,
        /// When it was written; 0 if that is not known.
        written: u32,
    },
    /// The bytes of an upload. They may be many, and are read separately.
    UploadData,
}
