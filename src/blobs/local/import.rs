//! Import: bytes from elsewhere become a blob. Nothing here verifies them.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{RenameFlags, fsync};

use super::directories::StoreDirectories;
use super::{COPY, IMMUTABLE, about, remove_file};
use crate::blobs::{Area, BlobsError, ImportSource, TransferMode, transfer};
use crate::digest::Digest;
use crate::dir::FilePath;

/// Writes the bytes to a new file, and returns how.
fn write(path: &FilePath, source: ImportSource<'_>) -> io::Result<TransferMode> {
    match source {
        ImportSource::File(file, way) => transfer(file, path.dir(), path.path(), way, IMMUTABLE),
        ImportSource::Bytes(bytes) => {
            path.create(IMMUTABLE)?.write_all(bytes)?;
            Ok(TransferMode::Copy)
        }
    }
}

/// Makes the content of a file durable.
fn flush(path: &FilePath) -> io::Result<()> {
    let file: File = path.read()?;
    Ok(fsync(&file)?)
}

impl StoreDirectories {
    /// Stores bytes as a blob. They get its name when they are whole.
    pub(super) fn import_blob(
        &self,
        area: Area,
        digest: &Digest,
        source: ImportSource<'_>,
    ) -> Result<TransferMode, BlobsError> {
        let path = self.path(area, digest);
        let staged = FilePath::new(&self.staging, format!("{}.{COPY}", digest.hex()));
        remove_file(&staged)?;
        let write_whole = || {
            let way = write(&staged, source)?;
            if area == Area::Trash {
                flush(&staged)?;
            }
            Ok(way)
        };
        let way = write_whole().map_err(|error| {
            // A file for which there was no room takes none.
            let _gone = staged.remove();
            about(&staged)(error)
        })?;
        if area == Area::Live {
            self.make_shard(digest)?;
            // No fact names this file; a crash has left it. If it is the same file as the staged
            // one, rename(2) would leave both names.
            remove_file(&path)?;
        }
        let renamed = staged.rename(&path, RenameFlags::empty());
        renamed.map_err(about(&path))?;
        if area == Area::Trash {
            self.sync_trash()?;
        }
        Ok(way)
    }
}
