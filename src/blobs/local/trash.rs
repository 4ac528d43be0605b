//! The trash: blobs that were removed, kept as `trash/<alg>-<hex>`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Local, about, sync_path};
use crate::blobs::{BlobsError, Retired};
use crate::digest::Digest;

/// Sets a file's time to now.
fn touch(path: &Path) -> Result<(), BlobsError> {
    let file = File::open(path).map_err(about(path))?;
    file.set_modified(SystemTime::now()).map_err(about(path))
}

impl Local {
    /// Where a blob is kept that was removed.
    pub(super) fn retired_path(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}", digest.algorithm(), digest.hex());
        self.directory.join("trash").join(name)
    }

    /// Moves a blob, which need not be there, into the trash.
    pub(super) fn retire_file(&self, digest: &Digest) -> Result<(), BlobsError> {
        let (path, retired) = (self.blob_path(digest), self.retired_path(digest));
        match fs::rename(&path, &retired) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(about(&path))?,
        }
        touch(&retired)?;
        sync_path(&self.directory.join("trash"))?;
        sync_path(&self.shard_path(digest))
    }

    /// Moves a blob back.
    pub(super) fn restore_file(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.make_shard(digest)?;
        let path = self.retired_path(digest);
        fs::rename(&path, self.blob_path(digest)).map_err(about(&path))?;
        self.sync_shard(digest)?;
        sync_path(&self.directory.join("trash"))
    }

    /// Everything in the trash, in the order of digests.
    pub(super) fn retired_files(&self) -> Result<Vec<Retired>, BlobsError> {
        let path = self.directory.join("trash");
        let mut found = Vec::new();
        for row in fs::read_dir(&path).map_err(about(&path))? {
            let row = row.map_err(about(&path))?;
            let name = row.file_name().to_string_lossy().replacen('-', ":", 1);
            let Ok(digest) = name.parse() else { continue };
            let metadata = row.metadata().map_err(about(&path))?;
            found.push(Retired {
                digest,
                len: metadata.len(),
                since: metadata.modified().map_err(about(&path))?,
            });
        }
        found.sort_unstable_by_key(|one| one.digest);
        Ok(found)
    }
}
