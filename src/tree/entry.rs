//! Entries: what a lookup and a listing return.

use std::ffi::OsString;

use super::place::Place;
use super::stat::{Attributes, FileKind};

/// The result of a lookup.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The file or directory that the name refers to.
    pub place: Place,
    /// Its attributes, as stat(2) shows them.
    pub attributes: Attributes,
    /// `true` if the name refers to this place until somebody changes it through the mount, so
    /// that the kernel may cache it.
    pub cacheable: bool,
}

/// An entry of a listing with its attributes, as readdirplus needs it.
#[derive(Clone, Debug)]
pub struct ListingEntry {
    /// The name.
    pub name: OsString,
    /// What the name refers to.
    pub found: Resolved,
}

/// An entry of a listing without attributes, as readdir needs it.
#[derive(Clone, Debug)]
pub struct ListingName {
    /// The name.
    pub name: OsString,
    /// The kind of file that it refers to.
    pub kind: FileKind,
    /// The inode number of that file.
    pub number: u64,
}

impl From<ListingEntry> for ListingName {
    fn from(ListingEntry { name, found }: ListingEntry) -> Self {
        let (kind, number) = (found.attributes.kind, found.attributes.number);
        Self { name, kind, number }
    }
}
