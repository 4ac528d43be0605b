//! Why a file operation fails, in terms of the tree. `fuse` maps each variant to an errno.

use std::io;

use crate::registry;

/// Why a file operation fails.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The name does not exist.
    #[error("no such file or directory")]
    NotFound,
    /// The name exists.
    #[error("the name exists")]
    Exists,
    /// The operation needs a directory.
    #[error("not a directory")]
    NotDirectory,
    /// The operation needs a file.
    #[error("a directory")]
    IsDirectory,
    /// The operation needs an empty directory.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The layout does not have this name in this directory.
    #[error("{name:?} is not valid in {parent}: the layout of a registry has no such name there")]
    InvalidName {
        /// The directory.
        parent: String,
        /// The name.
        name: String,
    },
    /// A directory cannot be moved into itself.
    #[error("a directory cannot be moved into itself")]
    IntoItself,
    /// The operation is permitted to nobody.
    #[error("not permitted: {0}")]
    NotPermitted(&'static str),
    /// The file's mode does not permit the operation to the caller.
    #[error("permission denied")]
    Denied,
    /// The file cannot be renamed to this place; it can be copied.
    #[error("cannot be renamed to this place; copy it instead")]
    CrossDevice,
    /// The mount is read-only.
    #[error("mounted read-only")]
    ReadOnly,
    /// The content is longer than the file may be.
    #[error("more than {max} bytes")]
    TooLarge {
        /// The longest permitted content, in bytes.
        max: usize,
    },
    /// A limit on the number or size of files is reached.
    #[error("{0}")]
    NoRoom(&'static str),
    /// The file was not opened for this.
    #[error("not open for {0}")]
    NotOpen(&'static str),
    /// There is no data, or no hole, at or after the offset.
    #[error("no data or hole at or after this offset")]
    NothingBehind,
    /// Files of this kind do not support the operation.
    #[error("not supported for files of this kind")]
    NotSupported,
    /// The file has no such extended attribute.
    #[error("no such extended attribute")]
    NoAttribute,
    /// No file has extended attributes of this namespace.
    #[error("extended attributes of this namespace are not supported")]
    NoSuchAttributes,
    /// The registry refused the operation or failed.
    #[error(transparent)]
    Registry(registry::Error),
    /// The host refused the operation on a plain file or failed.
    #[error("{path}: {error}")]
    Plain {
        /// The path below the top of the mount.
        path: String,
        /// The error of the host.
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
