//! Areas: the files of blobs that are live or in the trash, listed, removed and moved.
//!
//! The change time of a file in the trash says since when it is there: the move sets it. Nothing
//! has to be written into a file that may have other names, and no crash leaves an old time.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{RenameFlags, Stat};

use super::directories::{StoreDirectories, length};
use crate::blobs::{Area, BlobsError, StoredBlob, about, beneath, remove_file};
use crate::digest::{Algorithm, Digest};
use crate::dir::FilePath;

/// The prefix of files that earlier versions wrote in the trash and had not finished.
const PART: &str = "part-";

/// Returns the change time of a file.
fn changed(stat: &Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_ctime).unwrap_or_default();
    let nanoseconds = u32::try_from(stat.st_ctime_nsec).unwrap_or_default();
    UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

/// Returns the row of a blob's file.
fn row(digest: Digest, stat: &Stat) -> StoredBlob {
    StoredBlob {
        digest,
        len: length(stat),
        since: changed(stat),
    }
}

/// Returns `true` if a digest comes after `last`.
fn is_after(digest: &Digest, last: Option<&Digest>) -> bool {
    last.is_none_or(|last| digest > last)
}

impl StoreDirectories {
    /// Lists live blobs, shard by shard.
    pub(super) fn list_live(
        &self,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, BlobsError> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            for shard in 0..=u8::MAX {
                let here = (algorithm, shard);
                if last.is_some_and(|last| here < (last.algorithm(), last.shard())) {
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

    /// Lists the blobs of one shard after `last`, in order.
    fn list_shard(
        &self,
        name: &Path,
        algorithm: Algorithm,
        last: Option<&Digest>,
    ) -> Result<Vec<StoredBlob>, BlobsError> {
        let shard = match self.blobs.open_dir(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(beneath(&self.blobs, name))?,
        };
        let mut found = Vec::new();
        for entry in shard.entries().map_err(beneath(&shard, ""))? {
            let name = entry.map_err(beneath(&shard, ""))?.name;
            let hex = name.to_str();
            let digest = hex.and_then(|hex| Digest::from_hex(algorithm, hex));
            if let Some(digest) = digest.filter(|digest| is_after(digest, last)) {
                let stat = shard.metadata(&name).map_err(beneath(&shard, &name))?;
                found.push(row(digest, &stat));
            }
        }
        found.sort_unstable_by_key(|row| row.digest);
        Ok(found)
    }

    /// Lists the trash, which is read as a whole for every page.
    pub(super) fn list_trash(
        &self,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, BlobsError> {
        let mut found = Vec::new();
        for entry in self.trash.entries().map_err(beneath(&self.trash, ""))? {
            let entry = entry.map_err(beneath(&self.trash, ""))?;
            let name = entry.name.to_string_lossy().replacen('-', ":", 1);
            let Some(digest) = name.parse().ok().filter(|digest| is_after(digest, last)) else {
                continue;
            };
            match self.trash.metadata(&entry.name) {
                // Restored or removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                stat => {
                    let stat = stat.map_err(beneath(&self.trash, &entry.name))?;
                    found.push(row(digest, &stat));
                }
            }
        }
        found.sort_unstable_by_key(|row| row.digest);
        found.truncate(limit);
        Ok(found)
    }

    /// Removes a blob, unless it is in the area since another time.
    pub(super) fn remove_blob(
        &self,
        area: Area,
        digest: &Digest,
        since: Option<SystemTime>,
    ) -> Result<(), BlobsError> {
        let path = self.path(area, digest);
        if let Some(since) = since {
            let stat = match path.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                stat => stat.map_err(about(&path))?,
            };
            if changed(&stat) != since {
                return Ok(());
            }
        }
        if remove_file(&path)? && area == Area::Live {
            self.sync_shard_names(digest)?;
        }
        Ok(())
    }

    /// Moves a blob, which need not exist, into the trash.
    pub(super) fn move_to_trash(&self, digest: &Digest) -> Result<(), BlobsError> {
        let path = self.path(Area::Live, digest);
        match path.rename(&self.path(Area::Trash, digest), RenameFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(about(&path))?,
        }
        self.sync_trash()?;
        self.sync_shard_names(digest)
    }

    /// Moves a blob out of the trash.
    pub(super) fn move_to_live(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.make_shard(digest)?;
        let path = self.path(Area::Trash, digest);
        match path.rename(&self.path(Area::Live, digest), RenameFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BlobsError::Missing(*digest));
            }
            renamed => renamed.map_err(about(&path))?,
        }
        self.sync_shard(digest)?;
        self.sync_trash()
    }

    /// Removes what earlier versions did not finish writing in the trash.
    pub(super) fn clear_parts(&self) -> Result<(), BlobsError> {
        for entry in self.trash.entries().map_err(beneath(&self.trash, ""))? {
            let name = entry.map_err(beneath(&self.trash, ""))?.name;
            if name.to_string_lossy().starts_with(PART) {
                remove_file(&FilePath::new(&self.trash, name))?;
            }
        }
        Ok(())
    }
}
