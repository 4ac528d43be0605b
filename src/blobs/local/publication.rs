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

use super::exchange::is_unlinkable;
use super::lease::is_alone;
use super::{COPY, IMMUTABLE, Local, Staged, WRITABLE, about, remove_file};
use crate::blobs::hasher::Following;
use crate::blobs::{BlobsError, Content, Published, Survives, Vouched};
use crate::digest::Digest;
use crate::dir::FilePath;

/// How long a publication waits for files that were lent: they are closed by then, but we may
/// not have been told yet.
const RETURNED: Duration = Duration::from_millis(500);
/// How long to wait for the kernel to be done with closing one before looking again.
const CLOSING: Duration = Duration::from_micros(200);

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

impl Local {
    /// Publishes the draft of this number.
    pub(super) fn publish_file(
        &self,
        id: u64,
        digest: &Digest,
        vouched: Vouched,
    ) -> Result<Published, BlobsError> {
        let staged = self.staged(id).ok_or(BlobsError::MissingDraft(id))?;
        // From here on nobody writes: what was hashed is what is published.
        let quiet = staged.writers.write();
        if !is_returned(&staged.following) {
            drop(quiet);
            return self.publish_copy(&staged, digest, vouched.known);
        }
        let (actual, len) = (staged.hash(digest.algorithm())?, staged.len());
        if actual != *digest {
            return Err(BlobsError::Mismatch {
                expected: *digest,
                actual,
                size: len,
            });
        }
        let was_published = staged.published.load(Ordering::SeqCst);
        if was_published && self.blob_path(digest).is_name_of(staged.file_ref()) {
            staged.make_durable()?;
            let survives = Survives::ByNumber;
            return Ok(Published { len, survives });
        }
        let kept = vouched.kept && staged.is_kept()?;
        if !kept {
            staged.make_durable()?;
        }
        self.make_shard(digest)?;
        let path = self.blob_path(digest);
        let mut named = name_too(&staged.path, &path).map_err(about(&path))?;
        if !named && !vouched.known {
            // A crash has left it, and who knows what of its bytes.
            remove_file(&path)?;
            named = name_too(&staged.path, &path).map_err(about(&path))?;
        }
        staged.published.store(true, Ordering::SeqCst);
        if named && let Err(error) = set_mode(staged.file_ref(), IMMUTABLE) {
            log::warn!("{path} can be written by us until it is scrubbed: {error}");
        }
        drop(quiet);
        // A copy has a name that says no number, and what was there may not be durable by its.
        let survives = if !named || staged.path.path() != self.staging_path(staged.id).path() {
            self.sync_shard(digest)?;
            Survives::ByDigest
        } else if kept {
            Survives::Kept
        } else {
            Survives::ByNumber
        };
        Ok(Published { len, survives })
    }

    /// Gives a blob its number back.
    pub(super) fn take_back_file(&self, id: u64, digest: &Digest) -> Result<(), BlobsError> {
        let staged = self.staged(id).ok_or(BlobsError::MissingDraft(id))?;
        let _quiet = staged.writers.write();
        let path = self.blob_path(digest);
        if staged.path.metadata().is_ok() {
            remove_file(&path)?;
        } else {
            let back = path.rename(&staged.path, RenameFlags::empty());
            back.map_err(about(&path))?;
        }
        set_mode(staged.file_ref(), WRITABLE).map_err(about(&staged.path))?;
        staged.published.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Publishes a copy of what somebody may still be writing without our being told.
    fn publish_copy(
        &self,
        staged: &Arc<Staged>,
        digest: &Digest,
        known: bool,
    ) -> Result<Published, BlobsError> {
        let path = staged.path.with_extension(COPY);
        let file = copy_whole(&staged.path, &path)?;
        // Under the draft's own number, which nobody needs any more once this is published.
        let copy = self.stage(staged.id, file, path.clone(), false)?;
        // Nobody keeps the bytes of a copy.
        let vouched = Vouched { kept: false, known };
        let published = self.publish_file(copy.id(), digest, vouched);
        remove_file(&path)?;
        self.open.lock().insert(staged.id, Arc::downgrade(staged));
        published
    }
}
