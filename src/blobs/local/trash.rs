//! The trash: blobs that were removed, kept as `trash/<alg>-<hex>`.
//!
//! Since when one is there its file's change time says, which the move sets: nothing has to be
//! written into a file that may have other names, and no crash leaves an old time behind.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{RenameFlags, Stat, fsync};

use super::{IMMUTABLE, Local, about, beneath, length, remove_file, shard_name, sync_names};
use crate::blobs::{BlobsError, Retired};
use crate::digest::Digest;
use crate::dir::FilePath;

/// What the name of a file begins with that is not whole yet.
const PART: &str = "part-";

/// Since when a file is in the trash.
fn since(stat: &Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_ctime).unwrap_or_default();
    let nanoseconds = u32::try_from(stat.st_ctime_nsec).unwrap_or_default();
    UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

impl Local {
    /// Where a blob is kept that was removed.
    pub(super) fn retired_path(&self, digest: &Digest) -> FilePath {
        let name = format!("{}-{}", digest.algorithm(), digest.hex());
        FilePath::new(&self.trash, name)
    }

    /// Moves a blob, which need not be there, into the trash.
    pub(super) fn retire_file(&self, digest: &Digest) -> Result<(), BlobsError> {
        let (path, retired) = (self.blob_path(digest), self.retired_path(digest));
        match path.rename(&retired, RenameFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(about(&path))?,
        }
        sync_names(&self.trash, "")?;
        sync_names(&self.blobs, shard_name(digest))
    }

    /// Writes bytes into the trash.
    pub(super) fn retire_held(&self, digest: &Digest, bytes: &[u8]) -> Result<(), BlobsError> {
        let name = format!("{PART}{}-{}", digest.algorithm(), digest.hex());
        let part = FilePath::new(&self.trash, name);
        remove_file(&part)?;
        let write = || -> io::Result<()> {
            let mut file = part.create(IMMUTABLE)?;
            file.write_all(bytes)?;
            Ok(fsync(&file)?)
        };
        if let Err(error) = write() {
            remove_file(&part)?;
            return Err(about(&part)(error));
        }
        let named = part.rename(&self.retired_path(digest), RenameFlags::empty());
        named.map_err(about(&part))?;
        sync_names(&self.trash, "")
    }

    /// Removes what a crash left half written in the trash.
    pub(super) fn clear_half_retired(&self) -> Result<(), BlobsError> {
        for row in self.trash.entries().map_err(beneath(&self.trash, ""))? {
            let name = row.map_err(beneath(&self.trash, ""))?.name;
            if name.to_string_lossy().starts_with(PART) {
                remove_file(&FilePath::new(&self.trash, name))?;
            }
        }
        Ok(())
    }

    /// Moves a blob back.
    pub(super) fn restore_file(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.make_shard(digest)?;
        let path = self.retired_path(digest);
        let back = path.rename(&self.blob_path(digest), RenameFlags::empty());
        back.map_err(about(&path))?;
        self.sync_shard(digest)?;
        sync_names(&self.trash, "")
    }

    /// Removes a blob from the trash for good, unless it is there since another time.
    pub(super) fn forget_file(
        &self,
        digest: &Digest,
        at: Option<SystemTime>,
    ) -> Result<(), BlobsError> {
        let path = self.retired_path(digest);
        if let Some(at) = at {
            let found = match path.metadata() {
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
        let mut found = Vec::new();
        for row in self.trash.entries().map_err(beneath(&self.trash, ""))? {
            let row = row.map_err(beneath(&self.trash, ""))?;
            let name = row.name.to_string_lossy().replacen('-', ":", 1);
            let Ok(digest) = name.parse() else { continue };
            let stat = match self.trash.metadata(&row.name) {
                // Taken back or gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found.map_err(beneath(&self.trash, &row.name))?,
            };
            found.push(Retired {
                digest,
                len: length(&stat),
                since: since(&stat),
            });
        }
        found.sort_unstable_by_key(|one| one.digest);
        Ok(found)
    }
}
