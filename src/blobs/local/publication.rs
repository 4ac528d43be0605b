//! Publication: verify, make the file durable unless its bytes are kept elsewhere, give it a
//! second name, to replace nothing that is known. Only then may a fact name the bytes. Nobody
//! waits until the new name is durable: the fact says the old one too, which goes when the fact
//! is durable and not before, so that after a crash the bytes are where the facts say.

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
use crate::blobs::hasher::Following;
use crate::blobs::{Area, BlobsError, Published, StoredBytes, Survives, Vouched};
use crate::digest::Digest;
use crate::dir::FilePath;

/// How long a publication waits for files that were lent: they are closed by then, but we may
/// not have been told yet.
const RETURNED: Duration = Duration::from_millis(500);
/// How long to wait for the kernel to be done with closing one before looking again.
const CLOSING: Duration = Duration::from_micros(200);

/// Errors that say that a file cannot have a second name: it has too many, or the filesystem or a
/// policy does not know hard links.
const UNLINKABLE: [Errno; 4] = [Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS];

/// Returns `true` if an error says that a file cannot have a second name.
fn is_unlinkable(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| UNLINKABLE.contains(&error))
}

/// Gives a file a second name, or a new one where there are no second ones; whether nothing had
/// that.
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

/// Copies a file, whole or not at all: what there was no room for takes none. The copy replaces
/// what an earlier process left by its name.
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

/// Sets the mode of a file that is ours alone, or of a blob: whoever shares it may need its own.
pub(super) fn set_mode(file: &File, mode: Mode) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(mode.as_raw_mode()))
}

/// Waits until nobody else can write a file that was lent; whether it was so in time. A mapping
/// stays when its file was closed, and what is just being closed still counts.
fn is_returned(following: &Following) -> bool {
    let until = Instant::now() + RETURNED;
    if !following.wait_for_return(RETURNED) {
        return false;
    }
    while following.was_lent() && !is_alone(following.file()) {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(CLOSING);
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
        if !is_returned(&self.following) {
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
            log::warn!("{path} can be written by us until it is scrubbed: {error}");
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

    /// Gives a blob its number back.
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

    /// Publishes a copy, since somebody may still write the file without telling this draft.
    fn publish_copy(&self, digest: &Digest, known: bool) -> Result<Published, BlobsError> {
        let path = self.path.with_extension(COPY);
        let file = copy_whole(&self.path, &path)?;
        let directories = Arc::clone(&self.directories);
        let follower = self.follower.clone();
        let copy = Self::new(directories, self.id, file, path.clone(), false, follower)?;
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
