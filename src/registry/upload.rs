//! Uploads: bytes that a registry is still receiving, and its metadata about them.
//!
//! The bytes are in a staged file, which survives a restart of the registry and of the daemon. The
//! start time and the hash states are the registry's own, and are stored as they are.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::directory::{forget_time, put_started_time, repository, started_time, upload};
use super::{Bytes, Error, Registry, StagedUpload, now};
use crate::blobs::{BlobsError, Draft, DraftState};
use crate::digest::Algorithm;
use crate::index::{Transaction, Upload};
use crate::layout::Node;
use crate::name::{RepositoryName, UploadId};

/// Longest start time or hash state in bytes (distribution writes 20 and 108).
pub const METADATA_BYTES_MAX: usize = 1024;
/// The number of uploads whose files, with their hashes so far, are cached open between requests.
const OPEN_MAX: usize = 256;

/// A cache of open uploads. A registry closes and opens the file for every request, and the hash of
/// the bytes so far must outlive that.
#[derive(Default)]
pub(super) struct OpenUploads(Mutex<HashMap<u64, Arc<dyn Draft>>>);

impl OpenUploads {
    fn insert(&self, draft: &Arc<dyn Draft>) {
        let mut drafts = self.0.lock();
        if drafts.len() >= OPEN_MAX {
            drafts.clear();
        }
        drafts.insert(draft.id(), Arc::clone(draft));
    }

    fn has(&self, staging: u64) -> bool {
        self.0.lock().contains_key(&staging)
    }

    /// Removes an upload that has ended.
    pub(super) fn close(&self, staging: u64) {
        self.0.lock().remove(&staging);
    }
}

/// Returns a copy of upload metadata.
///
/// # Errors
/// [`Error::TooLarge`] for more than [`METADATA_BYTES_MAX`] bytes.
fn metadata(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    if bytes.len() > METADATA_BYTES_MAX {
        return Err(Error::TooLarge {
            bytes: bytes.len(),
            max: METADATA_BYTES_MAX,
        });
    }
    Ok(bytes.to_vec())
}

/// The uploads of repositories: their data, their metadata, and their times.
#[derive(Clone, Copy, Debug)]
pub struct Uploads<'a>(pub(super) &'a Registry);

impl Registry {
    /// Returns the uploads of this registry's repositories.
    pub fn uploads(&self) -> Uploads<'_> {
        Uploads(self)
    }
}

impl Uploads<'_> {
    /// Opens the data of an upload.
    ///
    /// # Errors
    /// [`Error::Missing`] if the upload does not exist or has no data.
    pub fn data(self, name: &RepositoryName, id: &UploadId) -> Result<StagedUpload, Error> {
        let record = self.0.queries().upload(name, id)?;
        if !record.has_data {
            return Err(Error::Missing);
        }
        let draft = match self.0.blobs.draft(record.staging, DraftState::Existing) {
            Err(BlobsError::MissingDraft(_)) => return Err(Error::Missing),
            draft => draft?,
        };
        self.0.open_uploads.insert(&draft);
        Ok(StagedUpload::lasting(draft))
    }

    /// Returns `true` if the data of an upload is open already.
    pub fn is_open(self, name: &RepositoryName, id: &UploadId) -> bool {
        let record = self.0.queries().upload(name, id);
        record.is_ok_and(|record| self.0.open_uploads.has(record.staging))
    }

    /// Opens the data of an upload, which is created empty if there is none.
    ///
    /// # Errors
    /// [`Error::Missing`] if the upload does not exist; [`Error::Full`] if only the reserve of the
    /// disk is left.
    pub fn create_data(self, name: &RepositoryName, id: &UploadId) -> Result<StagedUpload, Error> {
        match self.data(name, id) {
            Err(Error::Missing) => {}
            found => return found,
        }
        self.0.room().require()?;
        let staging = self.0.index.allocate_staging()?;
        let draft = self.0.blobs.draft(staging, DraftState::New)?;
        let created = self.change(name, id, |_, record| {
            // Another request may have created the data meanwhile: its file is the one that counts.
            if !record.has_data {
                (record.has_data, record.staging) = (true, staging);
            }
            Ok(())
        });
        match created {
            Ok(record) if record.staging == staging => {
                self.0.open_uploads.insert(&draft);
                Ok(StagedUpload::lasting(draft))
            }
            other => {
                self.0.blobs.discard(staging)?;
                other.and_then(|_| self.data(name, id))
            }
        }
    }

    /// Moves the data of an upload to another one, and replaces the data of that.
    ///
    /// # Errors
    /// [`Error::Missing`] if one of them does not exist, or the first has no data.
    pub fn move_data(
        self,
        from: (&RepositoryName, &UploadId),
        to: (&RepositoryName, &UploadId),
    ) -> Result<(), Error> {
        let replaced = self.0.index.transact(|tx| {
            let (old, mut source) = upload(tx, from.0, from.1)?;
            let (new, mut target) = upload(tx, to.0, to.1)?;
            if !source.has_data {
                return Err(Error::Missing);
            }
            let replaced = target.has_data.then_some(target.staging);
            if let Some(number) = replaced {
                tx.uploads().remove_logged_bytes(number)?;
            }
            (target.has_data, target.staging, target.updated) = (true, source.staging, now());
            (source.has_data, source.updated) = (false, now());
            tx.uploads().put(old.id, from.1, &source)?;
            tx.uploads().put(new.id, to.1, &target)?;
            Ok::<_, Error>(replaced)
        })?;
        if let Some(number) = replaced {
            self.0.open_uploads.close(number);
            self.0.reclaim_when_durable(number);
        }
        Ok(())
    }

    /// Changes an upload's record. Returns the new record.
    fn change(
        self,
        name: &RepositoryName,
        id: &UploadId,
        change: impl Fn(&mut Transaction<'_>, &mut Upload) -> Result<(), Error>,
    ) -> Result<Upload, Error> {
        self.0.index.transact(|tx| {
            let (repository, mut record) = upload(tx, name, id)?;
            change(tx, &mut record)?;
            record.updated = now();
            tx.uploads().put(repository.id, id, &record)?;
            Ok(record)
        })
    }

    /// Removes the data of an upload: its file once the change of the record is durable.
    ///
    /// # Errors
    /// [`Error::Missing`] if the upload does not exist or has no data.
    pub fn remove_data(self, name: &RepositoryName, id: &UploadId) -> Result<(), Error> {
        let record = self.change(name, id, |tx, record| {
            if !record.has_data {
                return Err(Error::Missing);
            }
            record.has_data = false;
            Ok(tx.uploads().remove_logged_bytes(record.staging)?)
        })?;
        self.0.open_uploads.close(record.staging);
        self.0.sync_always()?;
        Ok(self.0.blobs.discard(record.staging)?)
    }

    /// Sets the content of an upload's `startedat`.
    ///
    /// # Errors
    /// [`Error::Missing`] if the upload does not exist; [`Error::TooLarge`] for more than
    /// [`METADATA_BYTES_MAX`] bytes.
    pub fn set_started_at(
        self,
        name: &RepositoryName,
        id: &UploadId,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let bytes = metadata(bytes)?;
        self.change(name, id, |tx, record| {
            record.started_at = Some(bytes.clone());
            forget_time(tx, &Node::StartedAt(name.clone(), *id))
        })
        .map(drop)
    }

    /// Removes an upload's `startedat`.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub fn remove_started_at(self, name: &RepositoryName, id: &UploadId) -> Result<(), Error> {
        self.change(name, id, |tx, record| {
            record.started_at.take().ok_or(Error::Missing)?;
            forget_time(tx, &Node::StartedAt(name.clone(), *id))
        })
        .map(drop)
    }

    /// Sets a hash state, whose directory must exist. Setting the same again changes nothing.
    ///
    /// # Errors
    /// [`Error::Missing`] if the directory does not exist; [`Error::TooLarge`] for more than
    /// [`METADATA_BYTES_MAX`] bytes.
    pub fn set_hash_state(
        self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let bytes = metadata(bytes)?;
        self.0.index.transact(|tx| {
            let (repository, record) = upload(tx, name, id)?;
            if !record.has_hash_states_directory(algorithm) {
                return Err(Error::Missing);
            }
            let known = tx
                .uploads()
                .hash_state(repository.id, id, algorithm, offset)?;
            if known.is_some_and(|(_, known)| known == bytes) {
                return Ok(());
            }
            let state = (now(), &*bytes);
            Ok(tx
                .uploads()
                .put_hash_state(repository.id, id, algorithm, offset, state)?)
        })
    }

    /// Removes a hash state.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub fn remove_hash_state(
        self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            let (repository, _) = upload(tx, name, id)?;
            tx.uploads()
                .hash_state(repository.id, id, algorithm, offset)?
                .ok_or(Error::Missing)?;
            Ok(tx
                .uploads()
                .remove_hash_state(repository.id, id, algorithm, offset)?)
        })
    }

    /// Sets when an upload's `startedat` was written, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub fn set_started_time(
        self,
        name: &RepositoryName,
        id: &UploadId,
        when: u32,
    ) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            let (_, record) = upload(tx, name, id)?;
            if record.started_at.is_none() {
                return Err(Error::Missing);
            }
            let start = Node::StartedAt(name.clone(), *id);
            let known = started_time(tx, &start)?.unwrap_or(record.updated);
            if known == when {
                return Ok(());
            }
            put_started_time(tx, &start, when)
        })
    }

    /// Sets when an upload's hash state was written, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub fn set_hash_state_time(
        self,
        name: &RepositoryName,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
        when: u32,
    ) -> Result<(), Error> {
        self.0.index.transact(|tx| {
            let repository = repository(tx, name)?.id;
            let state = tx.uploads().hash_state(repository, id, algorithm, offset)?;
            let (updated, state) = state.ok_or(Error::Missing)?;
            if updated == when {
                return Ok(());
            }
            Ok(tx
                .uploads()
                .put_hash_state(repository, id, algorithm, offset, (when, &state))?)
        })
    }

    /// Replaces the data of an upload by a copy of these bytes, which is durable when this returns.
    ///
    /// # Errors
    /// Those of [`Self::create_data`]; the failure to write the file.
    pub fn set_data(
        self,
        name: &RepositoryName,
        id: &UploadId,
        bytes: Bytes<'_>,
    ) -> Result<(), Error> {
        let staging = self.create_data(name, id)?;
        staging.truncate(0)?;
        match bytes {
            Bytes::Held(held) => staging.write_at(0, held)?,
            Bytes::Staged(other) => {
                staging.fill(|offset, buffer| other.read_at(offset, buffer))?;
            }
        }
        self.sync(&staging)
    }
}
