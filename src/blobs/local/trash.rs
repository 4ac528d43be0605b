//! The trash: blobs that were removed, kept as `trash/<alg>-<hex>`.
//!
//! Since when one is there its file's change time says, which the move sets: nothing has to be
//! written into a file that may have other names, and no crash leaves an old time behind.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Local, about, remove_file, sync_path};
use crate::blobs::{BlobsError, Retired};
use crate::digest::Digest;

/// What the name of a file begins with that is not whole yet.
const PART: &str = "part-";

/// Since when a file is in the trash.
fn since(metadata: &Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or_default();
    let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or_default();
    UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

impl Local {
    fn trash(&self) -> PathBuf {
        self.directory.join("trash")
    }

    /// Where a blob is kept that was removed.
    pub(super) fn retired_path(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}", digest.algorithm(), digest.hex());
        self.trash().join(name)
    }

    /// Moves a blob, which need not be there, into the trash.
    pub(super) fn retire_file(&self, digest: &Digest) -> Result<(), BlobsError> {
        let (path, retired) = (self.blob_path(digest), self.retired_path(digest));
        match fs::rename(&path, &retired) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(about(&path))?,
        }
        sync_path(&self.trash())?;
        sync_path(&self.shard_path(digest))
    }

    /// Writes bytes into the trash.
    pub(super) fn retire_held(&self, digest: &Digest, bytes: &[u8]) -> Result<(), BlobsError> {
        let name = format!("{PART}{}-{}", digest.algorithm(), digest.hex());
        let part = self.trash().join(name);
        let written = fs::write(&part, bytes).map_err(about(&part));
        if let Err(error) = written.and_then(|()| sync_path(&part)) {
            remove_file(&part)?;
            return Err(error);
        }
        fs::rename(&part, self.retired_path(digest)).map_err(about(&part))?;
        sync_path(&self.trash())
    }

    /// Removes what a crash left half written in the trash.
    pub(super) fn clear_half_retired(&self) -> Result<(), BlobsError> {
        let path = self.trash();
        for row in fs::read_dir(&path).map_err(about(&path))? {
            let row = row.map_err(about(&path))?;
            if row.file_name().to_string_lossy().starts_with(PART) {
                remove_file(&row.path())?;
            }
        }
        Ok(())
    }

    /// Moves a blob back.
    pub(super) fn restore_file(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.make_shard(digest)?;
        let path = self.retired_path(digest);
        fs::rename(&path, self.blob_path(digest)).map_err(about(&path))?;
        self.sync_shard(digest)?;
        sync_path(&self.trash())
    }

    /// Removes a blob from the trash for good, unless it is there since another time.
    pub(super) fn forget_file(
        &self,
        digest: &Digest,
        at: Option<SystemTime>,
    ) -> Result<(), BlobsError> {
        let path = self.retired_path(digest);
        if let Some(at) = at {
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                found => found.map_err(about(&path))?,
            };
            if since(&found) != at {
                return Ok(());
            }
        }
        remove_file(&path).map(drop)
    }

    /// Everything in the trash, in the order of digests.
    pub(super) fn retired_files(&self) -> Result<Vec<Retired>, BlobsError> {
        let path = self.trash();
        let mut found = Vec::new();
        for row in fs::read_dir(&path).map_err(about(&path))? {
            let row = row.map_err(about(&path))?;
            let name = row.file_name().to_string_lossy().replacen('-', ":", 1);
            let Ok(digest) = name.parse() else { continue };
            let metadata = match row.metadata() {
                // Taken back or gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found.map_err(about(&path))?,
            };
            found.push(Retired {
                digest,
                len: metadata.len(),
                since: since(&metadata),
            });
        }
        found.sort_unstable_by_key(|one| one.digest);
        Ok(found)
    }
}
