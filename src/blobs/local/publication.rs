//! Publication: verify the content, make the file durable unless its bytes are logged, and link it
//! to the path of its digest. Only then may a fact name the bytes.
//!
//! Publication does not wait for the link to become durable: until the next checkpoint the index
//! also records the staging number, and the staged name is removed only after the fact is
//! durable. After a crash the bytes are found at one of the two.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, RenameFlags};
use rustix::io::Errno;

use super::draft::LocalDraft;
use super::lease::is_alone;
use super::{COPY, IMMUTABLE, WRITABLE, about, remove_file};
use crate::blobs::hasher::TrackedFile;
use crate::blobs::{Area, BlobsError, Published, StoredBytes, Survives, Vouched};
use crate::digest::Digest;
use crate::dir::FilePath;

/// How long a publication waits for others to give a shared file back: they have closed it by
/// then, but the kernel may not have told the daemon yet.
const RETURN_TIMEOUT: Duration = Duration::from_millis(500);
/// The pause between checks whether the kernel has finished closing a file.
const CLOSING_PAUSE: Duration = Duration::from_micros(200);

/// Errors that say that a file cannot have a second name: it has too many, or the filesystem or a
/// policy does not know hard links.
const UNLINKABLE: [Errno; 4] = [Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS];

/// Returns `true` if an error says that a file cannot have a second name.
fn is_unlinkable(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| UNLINKABLE.contains(&error))
}

/// Gives a file a second name, or renames it where hard links are not possible. Returns `false`
/// if the name exists.
fn name_too(from: &FilePath, to: &FilePath) -> io::Result<bool> {
    let named = match from.hard_link(to) {
        Err(error) if is_unlinkable(&error) => from.rename(to, RenameFlags::NOREPLACE),
        linked => linked,
    };
    match named {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        named => named.map(|()| true),
    }
}

/// Copies a file, as a whole or not at all: a copy for which there is no room takes none. It
/// replaces a file that an earlier process left under its name.
pub(super) fn copy_whole(from: &FilePath, to: &FilePath) -> Result<File, BlobsError> {
    remove_file(to)?;
    let copy = || -> io::Result<File> {
        let (mut source, mut target) = (from.read()?, to.create(WRITABLE)?);
        io::copy(&mut source, &mut target)?;
        Ok(target)
    };
    copy().map_err(about(to)).inspect_err(|_| {
        let _gone = to.remove();
    })
}

/// Sets the mode of a file that only the store uses. A file with names outside the store keeps
/// its mode.
pub(super) fn set_mode(file: &File, mode: Mode) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(mode.as_raw_mode()))
}

/// Waits until only the daemon can write a shared file. Returns `false` after
/// [`RETURN_TIMEOUT`]. A mapping outlives its closed descriptor, and a descriptor that is just
/// being closed still counts.
fn is_returned(tracked: &TrackedFile) -> bool {
    let until = Instant::now() + RETURN_TIMEOUT;
    if !tracked.wait_for_return(RETURN_TIMEOUT) {
        return false;
    }
    while tracked.was_shared() && !is_alone(tracked.file()) {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(CLOSING_PAUSE);
    }
    true
}

impl LocalDraft {
    /// Publishes the content.
    pub(super) fn publish_file(
        &self,
        digest: &Digest,
        vouched: Vouched,
    ) -> Result<Published, BlobsError> {
        // From here on nobody writes: the bytes that are hashed are those that are published.
        let quiet = self.writers.write();
        if !is_returned(&self.tracked) {
            drop(quiet);
            return self.publish_copy(digest, vouched.known);
        }
        let (actual, len) = (self.hash(digest.algorithm())?, self.len());
        if actual != *digest {
            return Err(BlobsError::Mismatch {
                expected: *digest,
                actual,
                size: len,
            });
        }
        let path = self.directories.path(Area::Live, digest);
        if self.published.load(Ordering::SeqCst) && path.is_name_of(self.file_ref()) {
            self.make_durable()?;
            let survives = Survives::ByNumber;
            return Ok(Published { len, survives });
        }
        let logged = vouched.logged && self.is_logged()?;
        if !logged {
            self.make_durable()?;
        }
        let named = self.name_blob(&path, digest, vouched.known)?;
        self.published.store(true, Ordering::SeqCst);
        if named && let Err(error) = set_mode(self.file_ref(), IMMUTABLE) {
            log::warn!("{path} stays writable by its owner until it is scrubbed: {error}");
        }
        drop(quiet);
        // Recovery finds a copy by no number, and the file that was there may not be durable
        // under its own.
        let staged = self.directories.staging_path(self.id);
        let survives = if !named || self.path.path() != staged.path() {
            self.directories.sync_shard(digest)?;
            Survives::ByDigest
        } else if logged {
            Survives::Logged
        } else {
            Survives::ByNumber
        };
        Ok(Published { len, survives })
    }

    /// Gives the file the name of a blob. Returns `false` if a `known` blob has that name.
    fn name_blob(&self, path: &FilePath, digest: &Digest, known: bool) -> Result<bool, BlobsError> {
        self.directories.make_shard(digest)?;
        let named = name_too(&self.path, path).map_err(about(path))?;
        if named || known {
            return Ok(named);
        }
        // A crash has left this file, and nobody knows which bytes it holds.
        remove_file(path)?;
        name_too(&self.path, path).map_err(about(path))
    }

    /// Undoes the publication.
    pub(super) fn unpublish_file(&self, digest: &Digest) -> Result<(), BlobsError> {
        let _quiet = self.writers.write();
        let path = self.directories.path(Area::Live, digest);
        if self.path.metadata().is_ok() {
            remove_file(&path)?;
        } else {
            let back = path.rename(&self.path, RenameFlags::empty());
            back.map_err(about(&path))?;
        }
        set_mode(self.file_ref(), WRITABLE).map_err(about(&self.path))?;
        self.published.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Publishes a copy, because somebody may still write the file behind this draft's back.
    fn publish_copy(&self, digest: &Digest, known: bool) -> Result<Published, BlobsError> {
        let path = self.path.with_extension(COPY);
        let file = copy_whole(&self.path, &path)?;
        let directories = Arc::clone(&self.directories);
        let hasher = self.hasher.clone();
        let copy = Self::new(directories, self.id, file, path.clone(), false, hasher)?;
        // The bytes of a copy are not logged.
        let vouched = Vouched {
            logged: false,
            known,
        };
        let published = copy.publish_file(digest, vouched);
        remove_file(&path)?;
        published
    }
}
