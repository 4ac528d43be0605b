//! Uploads, their hash states, and the logged bytes of staging files.

use super::Transaction;
use crate::digest::Algorithm;
use crate::index::error::IndexError;
use crate::index::id::RepositoryId;
use crate::index::key::Key;
use crate::index::record::{LoggedBytes, Upload, decode_hash_state};
use crate::name::UploadId;
/// The rows of uploads.
#[derive(Debug)]
pub struct UploadRows<'t, 'a>(&'t mut Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Returns the rows of uploads.
    pub fn uploads(&mut self) -> UploadRows<'_, 'a> {
        UploadRows(self)
    }
}

impl UploadRows<'_, '_> {
    /// Returns an upload.
    pub fn get(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
    ) -> Result<Option<Upload>, IndexError> {
        self.0.record(
            Key::table(b'U').repository(repository).upload(id),
            Upload::decode,
        )
    }

    /// Sets an upload.
    pub fn put(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        upload: &Upload,
    ) -> Result<(), IndexError> {
        self.0.put(
            Key::table(b'U').repository(repository).upload(id),
            upload.encode(),
        );
        Ok(())
    }

    /// Removes an upload.
    pub fn remove(&mut self, repository: RepositoryId, id: &UploadId) -> Result<(), IndexError> {
        self.0
            .delete(Key::table(b'U').repository(repository).upload(id));
        Ok(())
    }

    /// Returns `true` if a repository has no uploads. If so, the commit fails unless that still
    /// holds.
    pub fn require_none(&mut self, repository: RepositoryId) -> Result<bool, IndexError> {
        self.0
            .require_empty(Key::table(b'U').repository(repository).prefix_range())
    }

    /// Returns the time of writing (seconds since 1970) and the content of a hash state.
    pub fn hash_state(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Result<Option<(u32, Vec<u8>)>, IndexError> {
        let key = Key::hash_state(repository, id, algorithm, offset);
        self.0.record(key, decode_hash_state)
    }

    /// Sets a hash state: time of writing (seconds since 1970) and content.
    pub fn put_hash_state(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
        (updated, state): (u32, &[u8]),
    ) -> Result<(), IndexError> {
        let value = [&updated.to_be_bytes()[..], state].concat();
        self.0
            .put(Key::hash_state(repository, id, algorithm, offset), value);
        Ok(())
    }

    /// Removes a hash state.
    pub fn remove_hash_state(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Result<(), IndexError> {
        self.0
            .delete(Key::hash_state(repository, id, algorithm, offset));
        Ok(())
    }

    /// Logs the content of the staging file `number`, so that it survives a crash whatever becomes
    /// of the file. `generation` must differ each time.
    pub fn put_logged_bytes(&mut self, number: u64, generation: u64, bytes: &[u8]) {
        self.0.put(
            Key::logged_bytes(number),
            [&generation.to_be_bytes(), bytes].concat(),
        );
    }

    /// Returns the logged bytes of a staging file.
    pub fn logged_bytes(&mut self, number: u64) -> Result<Option<LoggedBytes>, IndexError> {
        self.0.record(Key::logged_bytes(number), |value| {
            LoggedBytes::decode(number, value)
        })
    }

    /// Removes the logged bytes of a staging file, if there are any.
    pub fn remove_logged_bytes(&mut self, number: u64) -> Result<(), IndexError> {
        if self.0.uploads().logged_bytes(number)?.is_some() {
            self.0.delete(Key::logged_bytes(number));
        }
        Ok(())
    }

    /// Returns `true` if an upload has no hash states (of one algorithm, or at all). If so, the
    /// commit fails unless that still holds.
    pub fn require_no_hash_states(
        &mut self,
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Option<Algorithm>,
    ) -> Result<bool, IndexError> {
        let key = Key::table(b'H').repository(repository).upload(id);
        self.0.require_empty(match algorithm {
            None => key.prefix_range(),
            Some(algorithm) => key.algorithm(algorithm).prefix_range(),
        })
    }
}

impl Key {
    fn logged_bytes(number: u64) -> Self {
        Self::table(b'Z').bytes(&number.to_be_bytes())
    }

    fn hash_state(
        repository: RepositoryId,
        id: &UploadId,
        algorithm: Algorithm,
        offset: u64,
    ) -> Self {
        let upload = Self::table(b'H').repository(repository).upload(id);
        upload.algorithm(algorithm).bytes(&offset.to_be_bytes())
    }
}
