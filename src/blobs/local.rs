//! Local files: `blobs/<alg>/<2 hex>/<hex>` and `staging/<number>` below one directory.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use rustix::fs::{Mode, OFlags, Stat, fstat, fstatvfs};

use super::hasher::{Follower, Following};
use super::{
    BLOB_MODE, Blobs, BlobsError, Content, Draft, PendingDraft, Published, Retired, Shareable,
    Space, Vouched, Way,
};
use crate::digest::{Algorithm, Digest};
use crate::dir::{Dir, FilePath};

mod exchange;
mod lease;
mod publication;
mod recovery;
mod staged;
mod stored;
mod trash;

use staged::{Staged, Stamp};
use stored::{open_content, open_stored, read_full};

/// What the name of a draft's copy ends with.
const COPY: &str = "copy";

/// Of directories, and of files that are written: nobody else reaches what is being stored.
const DIRECTORY: Mode = Mode::RWXU;
const WRITABLE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Of blobs, which never change.
const IMMUTABLE: Mode = Mode::from_raw_mode(BLOB_MODE);

/// Blobs in files below one directory.
#[derive(Debug)]
pub struct Local {
    blobs: Dir,
    staging: Dir,
    trash: Dir,
    follower: Follower,
    /// Drafts that are open, so that all who hold one share one hash and one fate.
    open: Mutex<HashMap<u64, Weak<Staged>>>,
    /// Held while a draft is opened that was not open.
    resuming: Mutex<()>,
    /// Shards whose directory is known to be there.
    shards: Mutex<HashSet<PathBuf>>,
    /// The directory, opened for this alone: who asks through it hears of every failed write.
    filesystem: Dir,
    /// Whether some writes failed, and nobody knows which.
    torn: Mutex<bool>,
    /// Numbers of drafts of which a flush has failed.
    torn_drafts: Arc<Mutex<HashSet<u64>>>,
}

/// Says of an error which file it is about.
fn about(path: &FilePath) -> impl FnOnce(io::Error) -> BlobsError {
    move |error| BlobsError::System {
        path: path.to_string(),
        error,
    }
}

/// The same of a path beneath a directory.
fn beneath(dir: &Dir, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> BlobsError {
    move |error| about(&FilePath::new(dir, path.as_ref()))(error)
}

/// Makes the names in a directory durable.
fn sync_names(dir: &Dir, path: impl AsRef<Path>) -> Result<(), BlobsError> {
    let opened = dir.open_dir(&path);
    opened
        .and_then(|opened| opened.sync())
        .map_err(beneath(dir, path))
}

/// Opens a directory, which is made, durably, if it is not there.
fn make_directory(dir: &Dir, name: &str) -> Result<Dir, BlobsError> {
    let there = dir.metadata(name).is_ok();
    let opened = dir.ensure_dir(name, DIRECTORY);
    let opened = opened.map_err(beneath(dir, name))?;
    if !there {
        sync_names(dir, "")?;
    }
    Ok(opened)
}

/// Removes a file, which need not exist; whether it did.
fn remove_file(path: &FilePath) -> Result<bool, BlobsError> {
    path.remove().map_err(about(path))
}

impl Local {
    /// The blobs below `directory`; what is in it is made if missing.
    pub fn open(directory: &Dir) -> Result<Self, BlobsError> {
        let local = Self::open_unwritten(directory)?;
        local.clear_copies()?;
        local.clear_half_retired()?;
        Ok(local)
    }

    /// The same, where nothing may be written: what is in the directory must be there.
    pub(super) fn open_unwritten(directory: &Dir) -> Result<Self, BlobsError> {
        let blobs = make_directory(directory, "blobs")?;
        for algorithm in Algorithm::ALL {
            make_directory(&blobs, algorithm.name())?;
        }
        Ok(Self {
            blobs,
            staging: make_directory(directory, "staging")?,
            trash: make_directory(directory, "trash")?,
            follower: Follower::start().map_err(beneath(directory, ""))?,
            open: Mutex::default(),
            resuming: Mutex::default(),
            shards: Mutex::default(),
            filesystem: directory.open_dir("").map_err(beneath(directory, ""))?,
            torn: Mutex::default(),
            torn_drafts: Arc::default(),
        })
    }

    /// The staged bytes of a number, as they are; nothing if there are none.
    pub(super) fn open_staged(&self, id: u64) -> Result<Option<Arc<dyn Content>>, BlobsError> {
        open_content(self.staging_path(id))
    }

    fn blob_path(&self, digest: &Digest) -> FilePath {
        FilePath::new(&self.blobs, shard_name(digest).join(digest.hex()))
    }

    fn staging_path(&self, id: u64) -> FilePath {
        FilePath::new(&self.staging, id.to_string())
    }

    /// Makes the directory of a shard, if it is not there; not durably.
    fn make_shard(&self, digest: &Digest) -> Result<(), BlobsError> {
        let name = shard_name(digest);
        let mut shards = self.shards.lock();
        if !shards.contains(&name) {
            match self.blobs.make_dir(&name, DIRECTORY) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(beneath(&self.blobs, &name))?,
            }
            shards.insert(name);
        }
        Ok(())
    }

    /// Makes the names in a shard durable.
    fn sync_shard(&self, digest: &Digest) -> Result<(), BlobsError> {
        sync_names(&self.blobs, shard_name(digest))?;
        sync_names(&self.blobs, digest.algorithm().name())
    }

    /// Opens staged bytes, which are `new` if nobody ever wrote any.
    fn stage(
        &self,
        id: u64,
        file: File,
        path: FilePath,
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

    /// The blobs of one shard behind `last`, in order.
    fn list_shard(
        &self,
        name: &Path,
        algorithm: Algorithm,
        last: Option<&Digest>,
    ) -> Result<Vec<(Digest, u64)>, BlobsError> {
        let shard = match self.blobs.open_dir(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(beneath(&self.blobs, name))?,
        };
        let mut found = Vec::new();
        for row in shard.entries().map_err(beneath(&shard, ""))? {
            let name = row.map_err(beneath(&shard, ""))?.name;
            let hex = name.to_str();
            let digest = hex.and_then(|hex| Digest::from_hex(algorithm, hex));
            if let Some(digest) = digest.filter(|digest| last.is_none_or(|last| digest > last)) {
                let stat = shard.metadata(&name).map_err(beneath(&shard, &name))?;
                found.push((digest, length(&stat)));
            }
        }
        found.sort_unstable();
        Ok(found)
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
        self.blobs.is_cached(self.blob_path(digest).path())
    }

    fn draft(&self, id: u64) -> Result<Arc<dyn Draft>, BlobsError> {
        let path = self.staging_path(id);
        let file = path.create(WRITABLE).map_err(about(&path))?;
        self.stage(id, file, path, true)
    }

    fn resume(&self, id: u64) -> Result<Arc<dyn Draft>, BlobsError> {
        // Two who resume one at once share it.
        let _alone = self.resuming.lock();
        if let Some(staged) = self.staged(id) {
            return Ok(staged);
        }
        let path = self.staging_path(id);
        match path.open(OFlags::RDWR, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BlobsError::MissingDraft(id))
            }
            opened => self.stage(id, opened.map_err(about(&path))?, path, false),
        }
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

    fn recover(
        &self,
        pending: &[PendingDraft<'_>],
        complete: bool,
        is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError> {
        self.recover_files(pending, complete, is_fact)
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobsError> {
        if remove_file(&self.blob_path(digest))? {
            sync_names(&self.blobs, shard_name(digest))?;
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

    fn owner(&self) -> Result<u32, BlobsError> {
        let own = fstat(&self.filesystem);
        Ok(own
            .map_err(|error| beneath(&self.filesystem, "")(error.into()))?
            .st_uid)
    }

    fn shareable(&self, file: &File) -> Result<Shareable, BlobsError> {
        self.shareable_file(file)
    }

    fn take(&self, file: &File, digest: &Digest, way: Way) -> Result<Way, BlobsError> {
        self.take_file(file, digest, way)
    }

    fn settle(&self) -> Result<(), BlobsError> {
        self.settle_files()
    }

    fn list(&self, last: Option<&Digest>, limit: usize) -> Result<Vec<(Digest, u64)>, BlobsError> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for shard in 0..=u8::MAX {
                let behind = (algorithm, shard);
                if last.is_some_and(|last| behind < (last.algorithm(), last.shard())) {
                    continue;
                }
                let name = Path::new(algorithm.name()).join(format!("{shard:02x}"));
                found.extend(self.list_shard(&name, algorithm, last)?);
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    fn space(&self) -> Result<Space, BlobsError> {
        let space = fstatvfs(&self.filesystem);
        let space = space.map_err(|error| beneath(&self.filesystem, "")(error.into()))?;
        Ok(Space {
            total: space.f_blocks.saturating_mul(space.f_frsize),
            free: space.f_bfree.saturating_mul(space.f_frsize),
            available: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }
}

/// The directory below `blobs` in which a blob stands.
fn shard_name(digest: &Digest) -> PathBuf {
    let algorithm = Path::new(digest.algorithm().name());
    algorithm.join(format!("{:02x}", digest.shard()))
}

/// The length of a file in bytes.
fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::small_disk::SmallDisk;

    fn opened(directory: &Path) -> Local {
        Local::open(&Dir::open(directory).unwrap()).unwrap()
    }

    /// Blobs on a disk of a megabyte, and a draft.
    fn soon_full() -> (SmallDisk, Local, Arc<dyn Draft>) {
        let disk = SmallDisk::new(1 << 20);
        let blobs = opened(disk.path());
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
            (Arc::new(opened(&directory)), Some(directory))
        });
    }

    #[test]
    fn bytes_stand_where_the_documentation_says() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = opened(directory.path());
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
        let blobs = opened(directory.path());
        let path = directory.path().join("staging/7");
        // What cannot be flushed.
        let null = File::options().read(true).write(true).open("/dev/null");
        let torn = blobs.stage(7, null.unwrap(), blobs.staging_path(7), false);
        assert!(torn.unwrap().sync().is_err());
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
        let blobs = opened(directory.path());
        blobs.draft(1).unwrap().write_at(0, b"begun, ").unwrap();
        drop(blobs);
        let blobs = opened(directory.path());
        assert_eq!(blobs.draft_ids().unwrap(), [1]);
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
