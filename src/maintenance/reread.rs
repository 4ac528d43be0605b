//! Reread: reads a blob from the disk again, and compares its bytes with its digest.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::fs::{Advice, fadvise};

use crate::blobs::{Area, BLOB_MODE, BlobsError, StoredBytes};
use crate::digest::Digest;
use crate::registry::{Error, Registry};

/// The state of a blob's bytes on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDisk {
    /// They have the digest; their length in bytes.
    Right(u64),
    /// They do not have the digest, or the disk cannot read them; their length in bytes.
    Wrong(u64),
    /// The blob is not stored, or its file is missing.
    Missing,
}

/// Reads a blob from the disk. `on_read` gets the length of each part that was read, in bytes.
///
/// # Errors
/// The failure to read the index, or to open the file. A file that cannot be read is
/// [`OnDisk::Wrong`].
pub(super) fn reread(
    registry: &Registry,
    digest: &Digest,
    mut on_read: impl FnMut(u64),
) -> Result<OnDisk, Error> {
    let mut view = registry.index().view();
    let Some(blob) = view.blobs().stored(digest)? else {
        return Ok(OnDisk::Missing);
    };
    if blob.inline {
        let bytes = view.blobs().inline(digest)?.unwrap_or_default();
        let len = bytes.len() as u64;
        on_read(len);
        let right = Digest::of(digest.algorithm(), &bytes) == *digest;
        return Ok(OnDisk::of(right, len));
    }
    let content = match registry.blobs().open(Area::Live, digest) {
        Err(BlobsError::Missing(_)) => return Ok(OnDisk::Missing),
        content => content?,
    };
    // The bytes come from the disk and not from the page cache, and do not fill it.
    drop_cache(content.as_ref());
    let mut len = 0;
    let actual = hash_parts(content.as_ref(), digest, |part| {
        len += part;
        on_read(part);
    });
    let actual = match actual {
        Err(BlobsError::System { .. }) => return Ok(OnDisk::Wrong(content.len())),
        actual => actual?,
    };
    drop_cache(content.as_ref());
    if let Some(file) = content.file() {
        tighten(digest, file);
    }
    Ok(OnDisk::of(actual == *digest, len))
}

impl OnDisk {
    fn of(right: bool, len: u64) -> Self {
        if right {
            Self::Right(len)
        } else {
            Self::Wrong(len)
        }
    }
}

/// Returns the digest that bytes have, by the algorithm of `like`.
pub(super) fn hash(content: &dyn StoredBytes, like: &Digest) -> Result<Digest, BlobsError> {
    hash_parts(content, like, |_| {})
}

/// The same; `on_read` gets the length of each part that was read, in bytes.
fn hash_parts(
    content: &dyn StoredBytes,
    like: &Digest,
    mut on_read: impl FnMut(u64),
) -> Result<Digest, BlobsError> {
    let mut offset = 0;
    Digest::of_parts(like.algorithm(), |buffer| {
        let read = content.read_at(offset, buffer)?;
        offset += read as u64;
        on_read(read as u64);
        Ok(read)
    })
}

fn drop_cache(content: &dyn StoredBytes) {
    if let Some(file) = content.file() {
        let _unsupported = fadvise(file, 0, None, Advice::DontNeed);
    }
}

/// Makes a blob's file read-only for its owner and closed to others: older versions left it
/// writable. A file with several names keeps the mode that the other names need.
fn tighten(digest: &Digest, file: &File) {
    let tightened = file.metadata().and_then(|metadata| {
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.nlink() > 1 || mode == BLOB_MODE {
            return Ok(());
        }
        file.set_permissions(Permissions::from_mode(BLOB_MODE))
    });
    if let Err(error) = tightened {
        log::warn!("{digest} keeps the mode of its file: {error}");
    }
}
