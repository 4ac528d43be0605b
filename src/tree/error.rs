//! Why a file operation is refused, in the tree's terms.

use std::io;

use crate::registry;

/// Why a file operation is refused.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Nothing of this name.
    #[error("no such file or directory")]
    NotFound,
    /// Something of this name.
    #[error("the name exists")]
    Exists,
    /// A directory is needed.
    #[error("not a directory")]
    NotDirectory,
    /// A file is needed.
    #[error("a directory")]
    IsDirectory,
    /// An empty directory is needed.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The layout has no such name here.
    #[error("{name:?} is no name for {parent}: the layout of a registry does not admit it there")]
    InvalidName {
        /// The directory.
        parent: String,
        /// The name.
        name: String,
    },
    /// A directory cannot be moved into itself.
    #[error("a directory cannot be moved into itself")]
    IntoItself,
    /// Nobody may do that.
    #[error("not permitted: {0}")]
    NotPermitted(&'static str),
    /// The mode does not let the caller.
    #[error("permission denied")]
    Denied,
    /// It cannot be moved there; it can be copied.
    #[error("cannot be moved between these places: copy it")]
    CrossDevice,
    /// The mount is read-only.
    #[error("mounted read-only")]
    ReadOnly,
    /// More bytes than the file may have.
    #[error("more than {max} bytes")]
    TooLarge {
        /// Bytes that it may have.
        max: usize,
    },
    /// No room for more of something that has a bound.
    #[error("{0}")]
    NoRoom(&'static str),
    /// The open file is not open for this.
    #[error("not open for {0}")]
    NotOpen(&'static str),
    /// No data, or no hole, behind that place of the file.
    #[error("nothing of that kind behind this place of the file")]
    NothingBehind,
    /// Not for files of this kind.
    #[error("not for files of this kind")]
    NotSupported,
    /// No such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// No attributes of this kind, on any file.
    #[error("attributes of this kind are not kept")]
    NoSuchAttributes,
    /// The registry refused.
    #[error(transparent)]
    Registry(registry::Error),
    /// The operating system refused, for a plain file.
    #[error("{path}: {error}")]
    Plain {
        /// Its path below the top.
        path: String,
        /// Why.
        error: io::Error,
    },
}

impl From<registry::Error> for TreeError {
    fn from(error: registry::Error) -> Self {
        match error {
            registry::Error::Missing => Self::NotFound,
            registry::Error::Exists => Self::Exists,
            registry::Error::NotEmpty => Self::NotEmpty,
            other => Self::Registry(other),
        }
    }
}
