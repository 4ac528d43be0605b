//! Access: whether a file is opened for reading or for writing.

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Writing, and possibly reading.
    Write,
}
