//! Local files: `blobs/<alg>/<2 hex>/<hex>`, `staging/<number>` and `trash/<alg>-<hex>` below
//! one directory.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};

use super::hasher::HasherThread;
use super::{
    Area, BLOB_MODE, Blobs, BlobsError, COPY, Draft, DraftState, Filesystem, ImportSource,
    PendingDraft, StoredBlob, StoredBytes, TransferMode, about, beneath, remove_file,
};
use crate::digest::Digest;
use crate::dir::{Dir, FilePath};

mod area;
mod directories;
mod draft;
mod import;
mod lease;
mod publication;
mod recovery;
mod stored;

use directories::StoreDirectories;
use draft::LocalDraft;
use stored::{open_content, open_stored, read_full};

/// The mode of directories: only the owner reaches the files of the store.
const DIRECTORY: Mode = Mode::RWXU;
/// The mode of files that are written.
const WRITABLE: Mode = Mode::RUSR.union(Mode::WUSR);
/// The mode of blobs, which never change.
const IMMUTABLE: Mode = Mode::from_raw_mode(BLOB_MODE);

/// Blobs in files below one directory.
#[derive(Debug)]
pub struct LocalBlobs {
    directories: Arc<StoreDirectories>,
    hasher: HasherThread,
    /// Open drafts, so that all who have one open share its hash and its state.
    open: Mutex<HashMap<u64, Weak<LocalDraft>>>,
    /// Held while an existing draft is opened.
    resuming: Mutex<()>,
}

impl LocalBlobs {
    /// Opens the blobs below `directory`. Makes the directories that are missing, and removes
    /// temporary files that an earlier process left.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    pub fn open(directory: &Dir) -> Result<Self, BlobsError> {
        let local = Self::with(StoreDirectories::open(directory, true)?)?;
        local.directories.clear_copies()?;
        local.directories.clear_parts()?;
        Ok(local)
    }

    /// Opens the blobs below `directory` and writes nothing there. All directories must exist.
    ///
    /// # Errors
    /// [`BlobsError::System`].
    pub(super) fn open_unwritten(directory: &Dir) -> Result<Self, BlobsError> {
        Self::with(StoreDirectories::open(directory, false)?)
    }

    fn with(directories: StoreDirectories) -> Result<Self, BlobsError> {
        let hasher = HasherThread::start();
        Ok(Self {
            hasher: hasher.map_err(beneath(&directories.staging, ""))?,
            directories: Arc::new(directories),
            open: Mutex::default(),
            resuming: Mutex::default(),
        })
    }

    /// Opens the staged bytes of a number for reading; `None` if there are none.
    pub(super) fn open_staged(&self, id: u64) -> Result<Option<Arc<dyn StoredBytes>>, BlobsError> {
        open_content(self.directories.staging_path(id))
    }

    /// Opens a draft, which is `new` if nobody ever wrote to it.
    fn stage(
        &self,
        id: u64,
        file: File,
        path: FilePath,
        new: bool,
    ) -> Result<Arc<dyn Draft>, BlobsError> {
        let directories = Arc::clone(&self.directories);
        let draft = LocalDraft::new(directories, id, file, path, new, self.hasher.sender())?;
        let draft = Arc::new(draft);
        let mut open = self.open.lock();
        open.retain(|_, draft| draft.strong_count() > 0);
        open.insert(id, Arc::downgrade(&draft));
        Ok(draft)
    }

    fn resume(&self, id: u64) -> Result<Arc<dyn Draft>, BlobsError> {
        // Two callers that open one at the same time share it.
        let _alone = self.resuming.lock();
        if let Some(draft) = self.open.lock().get(&id).and_then(Weak::upgrade) {
            return Ok(draft);
        }
        let path = self.directories.staging_path(id);
        match path.open(OFlags::RDWR, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BlobsError::MissingDraft(id))
            }
            opened => self.stage(id, opened.map_err(about(&path))?, path, false),
        }
    }
}

impl Blobs for LocalBlobs {
    fn open(&self, area: Area, digest: &Digest) -> Result<Arc<dyn StoredBytes>, BlobsError> {
        open_stored(self.directories.path(area, digest), digest)
    }

    fn is_cached(&self, digest: &Digest) -> bool {
        let path = self.directories.path(Area::Live, digest);
        path.dir().is_cached(path.path())
    }

    fn list(
        &self,
        area: Area,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, BlobsError> {
        match area {
            Area::Live => self.directories.list_live(last, limit),
            Area::Trash => self.directories.list_trash(last, limit),
        }
    }

    fn remove(
        &self,
        area: Area,
        digest: &Digest,
        since: Option<SystemTime>,
    ) -> Result<(), BlobsError> {
        self.directories.remove_blob(area, digest, since)
    }

    fn move_to(&self, area: Area, digest: &Digest) -> Result<(), BlobsError> {
        match area {
            Area::Live => self.directories.move_to_live(digest),
            Area::Trash => self.directories.move_to_trash(digest),
        }
    }

    fn import(
        &self,
        area: Area,
        digest: &Digest,
        source: ImportSource<'_>,
    ) -> Result<TransferMode, BlobsError> {
        self.directories.import_blob(area, digest, source)
    }

    fn draft(&self, id: u64, state: DraftState) -> Result<Arc<dyn Draft>, BlobsError> {
        if state == DraftState::Existing {
            return self.resume(id);
        }
        let path = self.directories.staging_path(id);
        let file = path.create(WRITABLE).map_err(about(&path))?;
        self.stage(id, file, path, true)
    }

    fn discard(&self, id: u64) -> Result<(), BlobsError> {
        remove_file(&self.directories.staging_path(id)).map(drop)
    }

    fn recover(
        &self,
        pending: &[PendingDraft<'_>],
        complete: bool,
        is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError> {
        self.directories.recover(pending, complete, is_fact)
    }

    fn sync(&self) -> Result<(), BlobsError> {
        self.directories.filesystem.sync()
    }

    fn filesystem(&self) -> &Filesystem {
        &self.directories.filesystem
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::blobs::Vouched;
    use crate::digest::Algorithm;

    fn opened(directory: &Path) -> LocalBlobs {
        LocalBlobs::open(&Dir::open(directory).unwrap()).unwrap()
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
        let draft = blobs.draft(7, DraftState::New).unwrap();
        draft.write_at(0, b"x").unwrap();
        assert!(directory.path().join("staging/7").exists());
        let digest = Digest::of(Algorithm::Sha256, b"x");
        draft.publish(&digest, Vouched::default()).unwrap();
        let (hex, shard) = (digest.hex(), digest.hex()[..2].to_owned());
        let path = directory.path().join("blobs/sha256").join(shard).join(hex);
        assert_eq!(fs::read(path).unwrap(), b"x");
        blobs.discard(7).unwrap();
        assert!(!directory.path().join("staging/7").exists());
        blobs.move_to(Area::Trash, &digest).unwrap();
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
        // A file that cannot be flushed.
        let null = File::options().read(true).write(true).open("/dev/null");
        let failing = blobs.stage(7, null.unwrap(), blobs.directories.staging_path(7), false);
        assert!(failing.unwrap().sync().is_err());
        // The kernel reports the failure once only.
        fs::write(&path, "bytes").unwrap();
        let draft = blobs.draft(7, DraftState::Existing).unwrap();
        let error = draft.sync().unwrap_err().to_string();
        assert!(error.contains("earlier flush"), "{error}");
        assert!(draft.log(99, &mut |_| true).is_err());
        let digest = Digest::of(Algorithm::Sha256, b"bytes");
        let published = draft.publish(&digest, Vouched::default());
        assert!(published.is_err());
        assert!(matches!(
            blobs.open(Area::Live, &digest),
            Err(BlobsError::Missing(_))
        ));
    }

    #[test]
    fn a_draft_is_resumed_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = opened(directory.path());
        blobs
            .draft(1, DraftState::New)
            .unwrap()
            .write_at(0, b"begun, ")
            .unwrap();
        drop(blobs);
        let blobs = opened(directory.path());
        assert_eq!(blobs.directories.draft_ids().unwrap(), [1]);
        let draft = blobs.draft(1, DraftState::Existing).unwrap();
        assert_eq!(draft.len(), 7);
        draft.write_at(7, b"finished").unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"begun, finished");
        assert_eq!(draft.publish(&digest, Vouched::default()).unwrap().len, 15);
    }
}
