//! Values: what a registry's storage holds at each path, as it comes from another storage or is
//! given to one. Where a path leads is for the layout to say.

use super::Ownership;
use crate::digest::Digest;
use crate::layout::Node;

/// A fact: a path, and what is there.
pub type Fact = (Node, Value);

/// What is at a path. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A directory that was made; perhaps nothing is in it.
    Directory,
    /// Owner and mode of a directory, which what is below it shows.
    Ownership(Ownership),
    /// The digest that a link or a tag's current link names.
    Link {
        /// The digest.
        target: Digest,
        /// When it was written.
        pushed: u32,
    },
    /// A blob whose bytes are there.
    Blob {
        /// Its length in bytes.
        size: u64,
        /// Since when it is there.
        created: u32,
    },
    /// A small file of an upload (`startedat`, a hash state), as its registry wrote it.
    File {
        /// Its content.
        bytes: Vec<u8>,
        /// When it was written; 0 if that is not known.
        written: u32,
    },
    /// The bytes of an upload, which are read elsewhere: they may be many.
    UploadData,
}
