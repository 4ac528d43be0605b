//! Local files: `blobs/<alg>/<2 hex>/<hex>` and `staging/<number>` below one directory.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2, statvfs};

use super::hasher::{Follower, Following};
use super::{Blobs, BlobsError, Content, Draft, Published, Retired, Space, Vouched, Way};
use crate::digest::{Algorithm, Digest};

mod exchange;
mod lease;
mod publication;
mod staged;
mod trash;

use staged::{Staged, Stamp};

/// What the name of a draft's copy ends with.
const COPY: &str = "copy";

/// Blobs in files below one directory.
#[derive(Debug)]
pub struct Local {
    directory: PathBuf,
    follower: Follower,
    /// Drafts that are open, so that all who hold one share one hash and one fate.
    open: Mutex<HashMap<u64, Weak<Staged>>>,
    /// Held while a draft is opened that was not open.
    resuming: Mutex<()>,
    /// Shards whose directory is known to be there.
    shards: Mutex<HashSet<PathBuf>>,
    /// The directory, open all the time: who asks through it hears of every failed write.
    filesystem: File,
    /// Whether some writes failed, and nobody knows which.
    torn: Mutex<bool>,
    /// Numbers of drafts of which a flush has failed.
    torn_drafts: Arc<Mutex<HashSet<u64>>>,
}

/// Says of an error which file it is about.
fn about(path: &Path) -> impl FnOnce(io::Error) -> BlobsError {
    let path = path.display().to_string();
    move |error| BlobsError::System { path, error }
}

/// Makes the bytes of a file durable, or the names in a directory.
fn sync_path(path: &Path) -> Result<(), BlobsError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(about(path))
}

/// Makes a directory, durably, in one that exists. One that exists is fine.
fn make_directory(path: &Path) -> Result<(), BlobsError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(about(path))?,
    }
    path.parent().map_or(Ok(()), sync_path)
}

/// Removes a file, which need not exist; whether it did.
fn remove_file(path: &Path) -> Result<bool, BlobsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true).map_err(about(path)),
    }
}

impl Local {
    /// The blobs below `directory`, which must exist; what is in it is made if missing.
    pub fn open(directory: &Path) -> Result<Self, BlobsError> {
        for name in ["blobs", "staging", "trash"] {
            make_directory(&directory.join(name))?;
        }
        for algorithm in Algorithm::ALL {
            make_directory(&directory.join("blobs").join(algorithm.name()))?;
        }
        let local = Self {
            directory: directory.to_owned(),
            follower: Follower::start().map_err(about(directory))?,
            open: Mutex::default(),
            resuming: Mutex::default(),
            shards: Mutex::default(),
            filesystem: File::open(directory).map_err(about(directory))?,
            torn: Mutex::default(),
            torn_drafts: Arc::default(),
        };
        local.clear_copies()?;
        local.clear_half_retired()?;
        Ok(local)
    }

    fn algorithm_path(&self, algorithm: Algorithm) -> PathBuf {
        self.directory.join("blobs").join(algorithm.name())
    }

    fn shard_path(&self, digest: &Digest) -> PathBuf {
        self.algorithm_path(digest.algorithm())
            .join(format!("{:02x}", digest.shard()))
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.shard_path(digest).join(digest.hex())
    }

    fn staging_path(&self, id: u64) -> PathBuf {
        self.directory.join("staging").join(id.to_string())
    }

    /// Makes the directory of a shard, if it is not there; not durably.
    fn make_shard(&self, digest: &Digest) -> Result<(), BlobsError> {
        let path = self.shard_path(digest);
        let mut shards = self.shards.lock();
        if !shards.contains(&path) {
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(about(&path))?,
            }
            shards.insert(path);
        }
        Ok(())
    }

    /// Makes the names in a shard durable.
    fn sync_shard(&self, digest: &Digest) -> Result<(), BlobsError> {
        sync_path(&self.shard_path(digest))?;
        sync_path(&self.algorithm_path(digest.algorithm()))
    }

    /// Opens staged bytes, which are `new` if nobody ever wrote any.
    fn stage(
        &self,
        id: u64,
        file: File,
        path: PathBuf,
        new: bool,
    ) -> Result<Arc<dyn Draft>, BlobsError> {
        let stamp = Stamp::of(&file).map_err(about(&path))?;
        let staged = Arc::new(Staged {
            id,
            path,
            following: Arc::new(Following::new(file, stamp.len)),
            len: AtomicU64::new(stamp.len),
            writers: RwLock::new(()),
            synced: Mutex::new(new.then_some(stamp)),
            kept: Mutex::default(),
            torn: Arc::clone(&self.torn_drafts),
            published: AtomicBool::new(false),
            follower: self.follower.sender(),
        });
        let mut open = self.open.lock();
        open.retain(|_, staged| staged.strong_count() > 0);
        open.insert(id, Arc::downgrade(&staged));
        Ok(staged)
    }

    /// The open draft of this number.
    fn staged(&self, id: u64) -> Option<Arc<Staged>> {
        self.open.lock().get(&id).and_then(Weak::upgrade)
    }
}

impl Blobs for Local {
    fn open(&self, digest: &Digest) -> Result<Arc<dyn Content>, BlobsError> {
        open_stored(self.blob_path(digest), digest)
    }

    fn is_at_hand(&self, digest: &Digest) -> bool {
        let (path, flags) = (self.blob_path(digest), OFlags::PATH | OFlags::CLOEXEC);
        openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).is_ok()
    }

    fn draft(&self, id: u64) -> Result<Arc<dyn Draft>, BlobsError> {
        let path = self.staging_path(id);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        let file = file.map_err(about(&path))?;
        self.stage(id, file, path, true)
    }

    fn resume(&self, id: u64) -> Result<Arc<dyn Draft>, BlobsError> {
        // Two who resume one at once share it.
        let _alone = self.resuming.lock();
        if let Some(staged) = self.staged(id) {
            return Ok(staged);
        }
        let path = self.staging_path(id);
        match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BlobsError::MissingDraft(id))
            }
            opened => self.stage(id, opened.map_err(about(&path))?, path, false),
        }
    }

    fn drafts(&self) -> Result<Vec<u64>, BlobsError> {
        let path = self.directory.join("staging");
        let mut ids = Vec::new();
        for row in fs::read_dir(&path).map_err(about(&path))? {
            let name = row.map_err(about(&path))?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn discard(&self, id: u64) -> Result<(), BlobsError> {
        remove_file(&self.staging_path(id)).map(drop)
    }

    fn publish(
        &self,
        draft: &dyn Draft,
        digest: &Digest,
        vouched: Vouched,
    ) -> Result<Published, BlobsError> {
        self.publish_file(draft.id(), digest, vouched)
    }

    fn take_back(&self, id: u64, digest: &Digest) -> Result<(), BlobsError> {
        self.take_back_file(id, digest)
    }

    fn reclaim(&self, id: u64, is_fact: &dyn Fn(&Digest) -> bool) -> Result<(), BlobsError> {
        self.reclaim_file(id, is_fact)
    }

    fn finish(&self, id: u64, digest: &Digest) -> Result<(), BlobsError> {
        self.finish_file(id, digest)
    }

    fn give_back(&self, id: u64, blob: Option<&Digest>, bytes: &[u8]) -> Result<(), BlobsError> {
        self.give_back_bytes(id, blob, bytes)
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobsError> {
        if remove_file(&self.blob_path(digest))? {
            sync_path(&self.shard_path(digest))?;
        }
        Ok(())
    }

    fn retire(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.retire_file(digest)
    }

    fn restore(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.restore_file(digest)
    }

    fn retired(&self) -> Result<Vec<Retired>, BlobsError> {
        self.retired_files()
    }

    fn open_retired(&self, digest: &Digest) -> Result<Arc<dyn Content>, BlobsError> {
        open_stored(self.retired_path(digest), digest)
    }

    fn retire_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<(), BlobsError> {
        self.retire_held(digest, bytes)
    }

    fn forget(&self, digest: &Digest, since: Option<SystemTime>) -> Result<(), BlobsError> {
        self.forget_file(digest, since)
    }

    fn take(&self, file: &Path, digest: &Digest, way: Way) -> Result<Way, BlobsError> {
        self.take_file(file, digest, way)
    }

    fn settle(&self) -> Result<(), BlobsError> {
        self.settle_files()
    }

    fn give(&self, digest: &Digest, file: &Path, way: Way) -> Result<Way, BlobsError> {
        self.give_file(digest, file, way)
    }

    fn list(&self, last: Option<&Digest>, limit: usize) -> Result<Vec<(Digest, u64)>, BlobsError> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for shard in 0..=u8::MAX {
                let behind = (algorithm, shard);
                if last.is_some_and(|last| behind < (last.algorithm(), last.shard())) {
                    continue;
                }
                let path = self.algorithm_path(algorithm).join(format!("{shard:02x}"));
                found.extend(list_shard(&path, algorithm, last)?);
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    fn space(&self) -> Result<Space, BlobsError> {
        let space =
            statvfs(&self.directory).map_err(|error| about(&self.directory)(error.into()))?;
        Ok(Space {
            total: space.f_blocks.saturating_mul(space.f_frsize),
            free: space.f_bfree.saturating_mul(space.f_frsize),
            available: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }
}

/// The blobs of one shard behind `last`, in order.
fn list_shard(
    path: &Path,
    algorithm: Algorithm,
    last: Option<&Digest>,
) -> Result<Vec<(Digest, u64)>, BlobsError> {
    let rows = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        rows => rows.map_err(about(path))?,
    };
    let mut found = Vec::new();
    for row in rows {
        let row = row.map_err(about(path))?;
        let name = row.file_name();
        let digest = name
            .to_str()
            .and_then(|name| Digest::from_hex(algorithm, name));
        if let Some(digest) = digest.filter(|digest| last.is_none_or(|last| digest > last)) {
            found.push((digest, row.metadata().map_err(about(path))?.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Opens the file of a blob.
fn open_stored(path: PathBuf, digest: &Digest) -> Result<Arc<dyn Content>, BlobsError> {
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BlobsError::Missing(*digest));
        }
        opened => opened.map_err(about(&path))?,
    };
    let len = file.metadata().map_err(about(&path))?.len();
    Ok(Arc::new(Stored { file, len, path }))
}

/// A published blob.
#[derive(Debug)]
struct Stored {
    file: File,
    len: u64,
    path: PathBuf,
}

impl Content for Stored {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobsError> {
        read_full(&self.file, offset, buffer).map_err(about(&self.path))
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_disk::SmallDisk;

    /// Blobs on a disk of a megabyte, and a draft.
    fn soon_full() -> (SmallDisk, Local, Arc<dyn Draft>) {
        let disk = SmallDisk::new(1 << 20);
        let blobs = Local::open(disk.path()).unwrap();
        let draft = blobs.draft(1).unwrap();
        (disk, blobs, draft)
    }

    #[test]
    fn a_write_that_fails_half_way_leaves_a_blob_of_its_length() {
        let (_disk, blobs, draft) = soon_full();
        let part = vec![7; 600_000];
        draft.write_at(0, &part).unwrap();
        // Not all of these fit.
        draft.write_at(600_000, &part).unwrap_err();
        assert!(draft.len() > 600_000);
        draft.truncate(600_000).unwrap();
        let digest = Digest::of(Algorithm::Sha256, &part);
        let published = blobs.publish(draft.as_ref(), &digest, Vouched::default());
        assert_eq!(blobs.open(&digest).unwrap().len(), published.unwrap().len);
    }

    #[test]
    fn a_write_that_fails_half_way_below_what_was_hashed_makes_the_hash_stale() {
        let (_disk, blobs, draft) = soon_full();
        draft.truncate(4 << 20).unwrap();
        let zeros = Digest::of(Algorithm::Sha256, &vec![0; 4 << 20]);
        assert_eq!(draft.digest(Algorithm::Sha256).unwrap(), zeros);
        draft.write_at(0, &vec![7; 4 << 20]).unwrap_err();
        let published = blobs.publish(draft.as_ref(), &zeros, Vouched::default());
        assert!(matches!(published, Err(BlobsError::Mismatch { .. })));
    }

    #[test]
    fn a_copy_that_could_not_be_made_takes_no_room() {
        let (disk, blobs, draft) = soon_full();
        let bytes = vec![7; 700_000];
        draft.write_at(0, &bytes).unwrap();
        let before = disk.free();
        let lent = draft.lend().unwrap();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let published = blobs.publish(draft.as_ref(), &digest, Vouched::default());
        published.unwrap_err();
        drop(lent);
        assert_eq!(disk.free(), before);
    }

    #[test]
    fn it_keeps_the_contract() {
        super::super::contract::all(&|| {
            let directory = tempfile::tempdir().unwrap().keep();
            (Arc::new(Local::open(&directory).unwrap()), Some(directory))
        });
    }

    #[test]
    fn bytes_stand_where_the_documentation_says() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Local::open(directory.path()).unwrap();
        let draft = blobs.draft(7).unwrap();
        draft.write_at(0, b"x").unwrap();
        assert!(directory.path().join("staging/7").exists());
        let digest = Digest::of(Algorithm::Sha256, b"x");
        blobs
            .publish(draft.as_ref(), &digest, Vouched::default())
            .unwrap();
        let (hex, shard) = (digest.hex(), digest.hex()[..2].to_owned());
        let path = directory.path().join("blobs/sha256").join(shard).join(hex);
        assert_eq!(fs::read(path).unwrap(), b"x");
        blobs.discard(7).unwrap();
        assert!(!directory.path().join("staging/7").exists());
        blobs.retire(&digest).unwrap();
        assert!(
            directory
                .path()
                .join(format!("trash/sha256-{}", digest.hex()))
                .exists()
        );
    }

    #[test]
    fn a_draft_whose_flush_has_failed_is_never_taken_for_durable() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Local::open(directory.path()).unwrap();
        let path = directory.path().join("staging/7");
        // What cannot be flushed.
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(blobs.resume(7).unwrap().sync().is_err());
        fs::remove_file(&path).unwrap();
        // The system says so once only.
        fs::write(&path, "bytes").unwrap();
        let draft = blobs.resume(7).unwrap();
        let error = draft.sync().unwrap_err().to_string();
        assert!(error.contains("earlier flush"), "{error}");
        assert!(draft.keep(99, &mut |_| true).is_err());
        let digest = Digest::of(Algorithm::Sha256, b"bytes");
        let published = blobs.publish(draft.as_ref(), &digest, Vouched::default());
        assert!(published.is_err());
        assert!(matches!(blobs.open(&digest), Err(BlobsError::Missing(_))));
    }

    #[test]
    fn a_draft_is_resumed_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Local::open(directory.path()).unwrap();
        blobs.draft(1).unwrap().write_at(0, b"begun, ").unwrap();
        drop(blobs);
        let blobs = Local::open(directory.path()).unwrap();
        assert_eq!(blobs.drafts().unwrap(), [1]);
        let draft = blobs.resume(1).unwrap();
        assert_eq!(draft.len(), 7);
        draft.write_at(7, b"finished").unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"begun, finished");
        assert_eq!(
            blobs
                .publish(draft.as_ref(), &digest, Vouched::default())
                .unwrap()
                .len,
            15
        );
    }
}
