//! The directories of a store, and where each file is in them. What is written there is in the
//! other files of this module.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::Stat;

use super::DIRECTORY;
use crate::blobs::{Area, BlobsError, Filesystem, beneath};
use crate::digest::{Algorithm, Digest};
use crate::dir::{Dir, FilePath};

/// The directories of a store.
#[derive(Debug)]
pub(super) struct StoreDirectories {
    pub(super) blobs: Dir,
    pub(super) staging: Dir,
    pub(super) trash: Dir,
    pub(super) filesystem: Filesystem,
    /// Shards whose directory is known to exist.
    shards: Mutex<HashSet<PathBuf>>,
    /// Numbers of drafts of which a flush has failed.
    pub(super) failed_drafts: Mutex<HashSet<u64>>,
}

/// Makes the names in a directory durable.
pub(super) fn sync_names(dir: &Dir, path: impl AsRef<Path>) -> Result<(), BlobsError> {
    let opened = dir.open_dir(&path);
    opened
        .and_then(|opened| opened.sync())
        .map_err(beneath(dir, path))
}

/// Opens a directory, and makes it first, durably, if it does not exist.
fn make_directory(dir: &Dir, name: &str) -> Result<Dir, BlobsError> {
    let exists = dir.metadata(name).is_ok();
    let opened = dir.ensure_dir(name, DIRECTORY);
    let opened = opened.map_err(beneath(dir, name))?;
    if !exists {
        sync_names(dir, "")?;
    }
    Ok(opened)
}

/// Returns the directory below `blobs` that holds a blob.
fn shard_name(digest: &Digest) -> PathBuf {
    let algorithm = Path::new(digest.algorithm().name());
    algorithm.join(format!("{:02x}", digest.shard()))
}

/// Returns the length of a file in bytes.
pub(super) fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

impl StoreDirectories {
    /// Opens the directories below `directory`, which are made if they are missing. Afterwards
    /// nothing is written unless the store is `writable`.
    pub(super) fn open(directory: &Dir, writable: bool) -> Result<Self, BlobsError> {
        let blobs = make_directory(directory, "blobs")?;
        for algorithm in Algorithm::ALL {
            make_directory(&blobs, algorithm.name())?;
        }
        let staging = make_directory(directory, "staging")?;
        let scratch = writable.then(|| staging.clone());
        Ok(Self {
            blobs,
            staging,
            trash: make_directory(directory, "trash")?,
            filesystem: Filesystem::new(directory, scratch)?,
            shards: Mutex::default(),
            failed_drafts: Mutex::default(),
        })
    }

    /// Returns the path of a blob in an area.
    pub(super) fn path(&self, area: Area, digest: &Digest) -> FilePath {
        match area {
            Area::Live => FilePath::new(&self.blobs, shard_name(digest).join(digest.hex())),
            Area::Trash => {
                let name = format!("{}-{}", digest.algorithm(), digest.hex());
                FilePath::new(&self.trash, name)
            }
        }
    }

    /// Returns the path of the staged bytes of a number.
    pub(super) fn staging_path(&self, id: u64) -> FilePath {
        FilePath::new(&self.staging, id.to_string())
    }

    /// Makes the directory of a shard, if it does not exist; not durably.
    pub(super) fn make_shard(&self, digest: &Digest) -> Result<(), BlobsError> {
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

    /// Makes the names in a shard durable, and the shard itself.
    pub(super) fn sync_shard(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.sync_shard_names(digest)?;
        sync_names(&self.blobs, digest.algorithm().name())
    }

    /// Makes the names in a shard durable that exists for long.
    pub(super) fn sync_shard_names(&self, digest: &Digest) -> Result<(), BlobsError> {
        sync_names(&self.blobs, shard_name(digest))
    }

    /// Makes the names in the trash durable.
    pub(super) fn sync_trash(&self) -> Result<(), BlobsError> {
        sync_names(&self.trash, "")
    }
}
