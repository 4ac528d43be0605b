//! Publication: verify, make the file durable unless its bytes are kept elsewhere, rename it to
//! replace nothing that is known. Only then may a fact name the bytes. That the rename is durable
//! nobody waits for: until it is, a crash may give the file its old name back, which the fact
//! says too.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{COPY, Local, Staged, about, remove_file};
use crate::blobs::{BlobsError, Content, Published, Vouched};
use crate::digest::Digest;

/// How long a publication waits for files that were lent: they are closed by then, but we may
/// not have been told yet.
const RETURNED: Duration = Duration::from_millis(500);

/// Gives a file a name that nothing has; whether nothing had.
fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::EXIST) => Ok(false),
        renamed => Ok(renamed.map(|()| true)?),
    }
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
        if !staged.following.wait_for_return(RETURNED) {
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
        if staged.published.load(Ordering::SeqCst) {
            if !self.blob_path(digest).exists() {
                return Err(BlobsError::MissingDraft(id));
            }
            staged.make_durable()?;
            let (settled, kept) = (false, false);
            return Ok(Published { len, settled, kept });
        }
        let kept = vouched.kept && staged.is_kept()?;
        if !kept {
            staged.make_durable()?;
        }
        self.make_shard(digest)?;
        let path = self.blob_path(digest);
        let mut moved = rename_new(&staged.path, &path).map_err(about(&path))?;
        if !moved && vouched.known {
            remove_file(&staged.path)?;
        } else if !moved {
            // A crash has left it, and who knows what of its bytes.
            fs::rename(&staged.path, &path).map_err(about(&path))?;
            moved = true;
        }
        staged.published.store(true, Ordering::SeqCst);
        drop(quiet);
        // A copy has a name that says no number, and what was there may not be durable by its.
        let settled = !moved || staged.path != self.staging_path(staged.id);
        if settled {
            self.sync_shard(digest)?;
        }
        Ok(Published { len, settled, kept })
    }

    /// Gives a blob its number back.
    pub(super) fn take_back_file(&self, id: u64, digest: &Digest) -> Result<(), BlobsError> {
        let staged = self.staged(id).ok_or(BlobsError::MissingDraft(id))?;
        let _quiet = staged.writers.write();
        let path = self.blob_path(digest);
        rename_new(&path, &staged.path).map_err(about(&path))?;
        staged.published.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Gives staged bytes their name once more.
    pub(super) fn finish_file(&self, id: u64, digest: &Digest) -> Result<(), BlobsError> {
        self.make_shard(digest)?;
        let (staged, path) = (self.staging_path(id), self.blob_path(digest));
        // What is there by the number is what was published, in place of whatever had its name.
        match fs::rename(&staged, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {
                Err(BlobsError::Missing(*digest))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(about(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Gives bytes back to the file that should have them. What it seems to have may be in
    /// memory only, after a write that failed.
    pub(super) fn give_back_bytes(
        &self,
        id: u64,
        blob: Option<&Digest>,
        bytes: &[u8],
    ) -> Result<(), BlobsError> {
        let staged = self.staging_path(id);
        let path = match blob {
            Some(digest) => {
                self.make_shard(digest)?;
                self.blob_path(digest)
            }
            None => staged.clone(),
        };
        let copy = staged.with_extension(COPY);
        fs::write(&copy, bytes).map_err(about(&copy))?;
        fs::rename(&copy, &path).map_err(about(&path))
    }

    /// Publishes a copy of what somebody may still be writing without our being told.
    fn publish_copy(
        &self,
        staged: &Arc<Staged>,
        digest: &Digest,
        known: bool,
    ) -> Result<Published, BlobsError> {
        let path = staged.path.with_extension(COPY);
        fs::copy(&staged.path, &path).map_err(about(&path))?;
        let file = File::options().read(true).write(true).open(&path);
        // Under the draft's own number, which nobody needs any more once this is published.
        let copy = self.stage(staged.id, file.map_err(about(&path))?, path.clone(), false)?;
        // Nobody keeps the bytes of a copy.
        let vouched = Vouched { kept: false, known };
        let published = self.publish_file(copy.id(), digest, vouched);
        if published.is_ok() {
            remove_file(&staged.path)?;
        } else {
            remove_file(&path)?;
            self.open.lock().insert(staged.id, Arc::downgrade(staged));
        }
        published
    }
}
