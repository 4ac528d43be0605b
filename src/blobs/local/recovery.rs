//! Recovery: staged files and blobs, as the facts say they must be after a crash.
//!
//! Every step can be repeated: a file is written beside its path and renamed onto it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, RenameFlags};

use super::directories::StoreDirectories;
use super::publication::{copy_whole, set_mode};
use super::{COPY, IMMUTABLE, WRITABLE, about, beneath, remove_file};
use crate::blobs::{Area, BlobsError, PendingDraft};
use crate::digest::{Algorithm, Digest};
use crate::dir::FilePath;

/// Returns how many names a file has.
fn names(file: &File, path: &FilePath) -> Result<u64, BlobsError> {
    let stat = file.metadata().map_err(about(path))?;
    Ok(stat.nlink())
}

impl StoreDirectories {
    /// Implements [`recover`](crate::blobs::Blobs::recover).
    pub(super) fn recover(
        &self,
        pending: &[PendingDraft<'_>],
        complete: bool,
        is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError> {
        let mut drafts = HashSet::new();
        for one in pending {
            if let Some(digest) = &one.blob {
                self.recover_blob(one, digest)?;
            } else {
                self.recover_draft(one, is_fact)?;
                drafts.insert(one.id);
            }
        }
        if complete {
            let unlisted = self.draft_ids()?;
            for id in unlisted.into_iter().filter(|id| !drafts.contains(id)) {
                remove_file(&self.staging_path(id))?;
            }
        }
        Ok(())
    }

    /// Gives a blob the bytes that were published: a staged file of the number holds them,
    /// unlike a file at the blob's path, of which a crash may have left anything.
    fn recover_blob(&self, pending: &PendingDraft<'_>, digest: &Digest) -> Result<(), BlobsError> {
        self.make_shard(digest)?;
        let (staged, path) = (self.staging_path(pending.id), self.path(Area::Live, digest));
        match staged.rename(&path, RenameFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(about(&path))?,
        }
        pending.logged.map_or(Ok(()), |bytes| {
            self.write_logged(pending.id, &path, bytes, IMMUTABLE)
        })
    }

    /// Makes a draft exist with a file of its own.
    fn recover_draft(
        &self,
        pending: &PendingDraft<'_>,
        is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError> {
        let path = self.staging_path(pending.id);
        if let Some(bytes) = pending.logged {
            self.write_logged(pending.id, &path, bytes, WRITABLE)?;
        }
        match path.read() {
            Ok(file) => self.unshare(file, &path, is_fact),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                path.create(WRITABLE).map(drop).map_err(about(&path))
            }
            Err(error) => Err(about(&path)(error)),
        }
    }

    /// Makes a staged file writable. If it is also that of a blob, the blob's name is removed, or
    /// the file is copied if a fact names the blob. Only the copy needs room.
    fn unshare(
        &self,
        mut file: File,
        path: &FilePath,
        is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError> {
        if names(&file, path)? > 1 {
            let digest = Digest::of_parts(Algorithm::Sha256, |buffer| file.read(buffer));
            let digest = digest.map_err(about(path))?;
            let blob = self.path(Area::Live, &digest);
            if blob.is_name_of(&file) && !is_fact(&digest) {
                remove_file(&blob)?;
                self.sync_shard(&digest)?;
            }
        }
        if names(&file, path)? == 1 {
            return set_mode(&file, WRITABLE).map_err(about(path));
        }
        let copy = path.with_extension(COPY);
        let copied = copy_whole(path, &copy)?;
        rustix::fs::fsync(&copied).map_err(|error| about(&copy)(error.into()))?;
        let renamed = copy.rename(path, RenameFlags::empty());
        renamed.map_err(about(path))
    }

    /// Replaces a file by one with these bytes. The file that is there may show the same bytes
    /// from memory only, after a write-back that failed.
    fn write_logged(
        &self,
        id: u64,
        path: &FilePath,
        bytes: &[u8],
        mode: Mode,
    ) -> Result<(), BlobsError> {
        let copy = self.staging_path(id).with_extension(COPY);
        remove_file(&copy)?;
        let written = copy.create(mode).and_then(|mut file| file.write_all(bytes));
        written.map_err(about(&copy))?;
        let renamed = copy.rename(path, RenameFlags::empty());
        renamed.map_err(about(path))
    }

    /// Returns the numbers of all staged files, in order.
    pub(super) fn draft_ids(&self) -> Result<Vec<u64>, BlobsError> {
        let mut ids = Vec::new();
        for row in self.staging.entries().map_err(beneath(&self.staging, ""))? {
            let name = row.map_err(beneath(&self.staging, ""))?.name;
            ids.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes copies that an earlier process did not finish.
    pub(super) fn clear_copies(&self) -> Result<(), BlobsError> {
        for row in self.staging.entries().map_err(beneath(&self.staging, ""))? {
            let name = row.map_err(beneath(&self.staging, ""))?.name;
            let path = FilePath::new(&self.staging, name);
            let extension = path.path().extension();
            if extension.is_some_and(|extension| extension == COPY) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }
}
