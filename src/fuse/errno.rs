//! Errno: the error number for each error. The only place where that is decided.

#![deny(clippy::wildcard_enum_match_arm)]

use std::io;

use fuser::Errno;

use crate::blobs::BlobsError;
use crate::index::{IndexError, StoreError};
use crate::manifest::ManifestRule;
use crate::registry::Error;
use crate::tree::TreeError;

/// Returns the number for an error of the tree.
pub(super) fn errno(error: &TreeError) -> Errno {
    match error {
        // Registries reply 404 for this number and 500 for all others.
        TreeError::NotFound => Errno::ENOENT,
        TreeError::Exists => Errno::EEXIST,
        TreeError::NotDirectory => Errno::ENOTDIR,
        TreeError::IsDirectory => Errno::EISDIR,
        TreeError::NotEmpty => Errno::ENOTEMPTY,
        TreeError::InvalidName { .. } | TreeError::IntoItself => Errno::EINVAL,
        TreeError::NotPermitted(_) => Errno::EPERM,
        TreeError::Denied => Errno::EACCES,
        TreeError::NothingBehind => Errno::ENXIO,
        TreeError::CrossDevice => Errno::EXDEV,
        TreeError::ReadOnly => Errno::EROFS,
        TreeError::TooLarge { .. } => Errno::EFBIG,
        TreeError::NoRoom(_) => Errno::ENOSPC,
        TreeError::NotOpen(_) => Errno::EBADF,
        TreeError::NoAttribute => Errno::ENODATA,
        TreeError::NotSupported | TreeError::NoSuchAttributes => Errno::EOPNOTSUPP,
        TreeError::Registry(error) => registry(error),
        TreeError::Plain { error, .. } => system(error),
    }
}

fn registry(error: &Error) -> Errno {
    match error {
        Error::Missing | Error::NotInTrash { .. } => Errno::ENOENT,
        Error::Exists => Errno::EEXIST,
        Error::NotEmpty => Errno::ENOTEMPTY,
        Error::Refused { refusal, .. } => rule(refusal.rule),
        Error::Referenced { .. } => Errno::EPERM,
        Error::Full { .. } => Errno::ENOSPC,
        Error::Stopped => Errno::EINTR,
        Error::TooLarge { .. } => Errno::EFBIG,
        Error::Malformed { .. } | Error::NoName { .. } | Error::Misplaced { .. } => Errno::EINVAL,
        Error::NameTooLong { .. } => Errno::ENAMETOOLONG,
        Error::TooManyBelow { .. } => Errno::EXDEV,
        Error::Store { .. } | Error::Damaged { .. } | Error::Corrupt { .. } => Errno::EIO,
        Error::Index(error) => index(error),
        Error::Blobs(error) => blobs(error),
    }
}

/// For a manifest that was refused: it is invalid, too large, or refers to something that does not
/// exist.
fn rule(rule: ManifestRule) -> Errno {
    match rule {
        ManifestRule::ReferenceMissing => Errno::ENOENT,
        ManifestRule::TooLarge => Errno::EFBIG,
        ManifestRule::UnknownAlgorithm => Errno::EOPNOTSUPP,
        ManifestRule::NotJson
        | ManifestRule::NotObject
        | ManifestRule::DuplicateKey
        | ManifestRule::TooDeep
        | ManifestRule::AmbiguousKey
        | ManifestRule::AmbiguousKind
        | ManifestRule::UnknownKind
        | ManifestRule::UnknownMediaType
        | ManifestRule::SchemaVersion
        | ManifestRule::Schema1Refused
        | ManifestRule::MissingField
        | ManifestRule::WrongType
        | ManifestRule::BadMediaType
        | ManifestRule::BadDigest
        | ManifestRule::BadSize
        | ManifestRule::BadUrl
        | ManifestRule::BadPlatform
        | ManifestRule::BadName
        | ManifestRule::BadHistory
        | ManifestRule::BadSignature
        | ManifestRule::DataMismatch
        | ManifestRule::ReferenceSize
        | ManifestRule::DigestMismatch => Errno::EINVAL,
    }
}

fn index(error: &IndexError) -> Errno {
    match error {
        IndexError::Store(StoreError::System(error)) => system(error),
        // After a failed write nothing more is accepted, but everything can be read.
        IndexError::Store(StoreError::Poisoned(_)) => Errno::EROFS,
        IndexError::Store(
            StoreError::Engine { .. }
            | StoreError::Format { .. }
            | StoreError::Journal(_)
            | StoreError::Snapshot
            | StoreError::BatchTooLarge { .. },
        )
        | IndexError::Record { .. }
        | IndexError::Exhausted => Errno::EIO,
        IndexError::Contended { .. } => Errno::EAGAIN,
    }
}

fn blobs(error: &BlobsError) -> Errno {
    match error {
        BlobsError::Missing(_) | BlobsError::MissingDraft(_) => Errno::EIO,
        // Its text, "Bad message", says more than "Input/output error".
        BlobsError::Mismatch { .. } => Errno::EBADMSG,
        BlobsError::Published => Errno::EPERM,
        BlobsError::System { error, .. } => system(error),
    }
}

/// Returns the operating system's own number, if the error has one.
fn system(error: &io::Error) -> Errno {
    match error.raw_os_error() {
        Some(number) => Errno::from_i32(number),
        None if error.kind() == io::ErrorKind::StorageFull => Errno::ENOSPC,
        None => Errno::EIO,
    }
}

/// Logs an error and returns its number. Errors are logged here and nowhere else: faults of the
/// store as errors, faults of a request for debugging.
pub(super) fn logged(error: &TreeError) -> Errno {
    let number = errno(error);
    if number.code() == libc::EIO {
        log::error!("{error}");
    } else {
        log::debug!("{error}");
    }
    number
}
