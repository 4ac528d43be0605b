//! Publication: verify, make the file durable unless its bytes are kept elsewhere, give it a
//! second name, to replace nothing that is known. Only then may a fact name the bytes. Nobody
//! waits until the new name is durable: the fact says the old one too, which goes when the fact
//! is durable and not before, so that after a crash the bytes are where the facts say.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with};
use rustix::io::Errno;

use super::exchange::UNLINKABLE;
use super::lease::is_alone;
use super::{COPY, Local, Staged, about, remove_file, sync_path};
use crate::blobs::hasher::Following;
use crate::blobs::{BlobsError, Content, Published, Survives, Vouched};
use crate::digest::{Algorithm, Digest};

/// How long a publication waits for files that were lent: they are closed by then, but we may
/// not have been told yet.
const RETURNED: Duration = Duration::from_millis(500);
/// How long to wait for the kernel to be done with closing one before looking again.
const CLOSING: Duration = Duration::from_micros(200);

/// Gives a file a second name, or a new one where there are no second ones; whether nothing had
/// that.
fn name_too(from: &Path, to: &Path) -> io::Result<bool> {
    let named = match linkat(CWD, from, CWD, to, AtFlags::empty()) {
        Err(error) if UNLINKABLE.contains(&error) => {
            renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
        }
        linked => linked,
    };
    match named {
        Err(Errno::EXIST) => Ok(false),
        named => Ok(named.map(|()| true)?),
    }
}

/// Copies a file, whole or not at all: what there was no room for takes none.
fn copy_whole(from: &Path, to: &Path) -> Result<(), BlobsError> {
    let copied = fs::copy(from, to).map(drop).map_err(about(to));
    copied.inspect_err(|_| {
        let _gone = fs::remove_file(to);
    })
}

/// Whether a name is this file's.
fn is_same(file: &File, path: &Path) -> bool {
    let number = |one: fs::Metadata| (one.dev(), one.ino());
    let (own, there) = (file.metadata(), fs::metadata(path));
    own.is_ok_and(|own| there.is_ok_and(|there| number(own) == number(there)))
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
        if was_published && is_same(staged.file_ref(), &self.blob_path(digest)) {
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
        drop(quiet);
        // A copy has a name that says no number, and what was there may not be durable by its.
        let survives = if !named || staged.path != self.staging_path(staged.id) {
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
        if staged.path.exists() {
            remove_file(&path)?;
        } else {
            fs::rename(&path, &staged.path).map_err(about(&path))?;
        }
        staged.published.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Gives a draft a file of its own, which has another name: that of the blob, if none is to
    /// be there, goes; a copy needs room.
    pub(super) fn reclaim_file(
        &self,
        id: u64,
        is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError> {
        let path = self.staging_path(id);
        let mut file = File::open(&path).map_err(about(&path))?;
        let names = |file: &File| file.metadata().map(|file| file.nlink());
        if names(&file).map_err(about(&path))? == 1 {
            return Ok(());
        }
        let digest = Digest::of_parts(Algorithm::Sha256, |buffer| file.read(buffer));
        let digest = digest.map_err(about(&path))?;
        let blob = self.blob_path(&digest);
        if is_same(&file, &blob) && !is_fact(&digest) {
            remove_file(&blob)?;
            self.sync_shard(&digest)?;
        }
        if names(&file).map_err(about(&path))? == 1 {
            return Ok(());
        }
        let copy = path.with_extension(COPY);
        copy_whole(&path, &copy)?;
        sync_path(&copy)?;
        fs::rename(&copy, &path).map_err(about(&path))
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
        copy_whole(&staged.path, &path)?;
        let file = File::options().read(true).write(true).open(&path);
        // Under the draft's own number, which nobody needs any more once this is published.
        let copy = self.stage(staged.id, file.map_err(about(&path))?, path.clone(), false)?;
        // Nobody keeps the bytes of a copy.
        let vouched = Vouched { kept: false, known };
        let published = self.publish_file(copy.id(), digest, vouched);
        remove_file(&path)?;
        self.open.lock().insert(staged.id, Arc::downgrade(staged));
        published
    }

    /// Removes copies that an earlier process did not come to publish.
    pub(super) fn clear_copies(&self) -> Result<(), BlobsError> {
        let path = self.directory.join("staging");
        for row in fs::read_dir(&path).map_err(about(&path))? {
            let path = row.map_err(about(&path))?.path();
            if path.extension().is_some_and(|extension| extension == COPY) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }
}
