//! Reading and writing open files.

use super::open::OpenFileAccess;
use std::os::unix::fs::FileExt;

use super::handle::{Handle, HandleTarget, unwritten_blob};
use super::pending_content::PendingContent;
use super::pending_file::PendingFile;
use super::{Place, Tree, TreeError, node, plain_metadata};
use crate::layout::Node;
use crate::registry::read_held;

impl Tree {
    /// Refuses to make an existing blob longer: its digest determines its bytes, and the kernel
    /// would show the new length to its readers at once.
    pub(super) fn require_not_longer(
        &self,
        place: Option<&Place>,
        len: u64,
    ) -> Result<(), TreeError> {
        if let Some(Place::Node(Node::BlobData(digest))) = place
            && self
                .registry
                .queries()
                .blob(digest)
                .is_ok_and(|(size, _)| len > size)
        {
            return Err(TreeError::NotPermitted(
                "a blob cannot be longer than the bytes of its digest",
            ));
        }
        Ok(())
    }

    /// Makes a layer writable again whose bytes an earlier close has already stored as a blob.
    pub(super) fn restage(&self, pending: &PendingFile) -> Result<(), TreeError> {
        let mut state = pending.lock();
        if let (Some((stored, _)), PendingContent::Staged(_), true) = (
            state.stored,
            &state.content,
            state.version == state.committed,
        ) {
            let staging = self.registry.stage()?;
            staging.copy_from(&self.registry.read_blob(&stored)?)?;
            state.content = PendingContent::Staged(staging);
        }
        Ok(())
    }
}

impl OpenFileAccess<'_> {
    /// Reads into `buffer` from `offset` (in bytes) on. Returns the number of bytes read: less
    /// than the buffer holds only at the end of the file, and 0 behind it.
    ///
    /// # Errors
    /// The error of the index, of the blob store or of the host.
    pub fn read(self, handle: &Handle, offset: u64, buffer: &mut [u8]) -> Result<usize, TreeError> {
        Ok(match &handle.open {
            HandleTarget::Control(file, number, _) => {
                read_held(&self.0.control_text(*file, *number), offset, buffer)
            }
            HandleTarget::Rendered(node, opened, _) => {
                let now = node::content(&mut self.0.registry.queries(), node);
                let bytes = now.as_ref().map_or(opened, |(content, _)| content);
                read_held(bytes, offset, buffer)
            }
            HandleTarget::Pending(pending, place) => {
                match unwritten_blob(pending, place.as_ref()) {
                    Some(digest) => self.0.registry.read_blob(digest)?.read_at(offset, buffer)?,
                    None => pending.read_at(offset, buffer)?,
                }
            }
            HandleTarget::Blob(reading, _) => reading.read_at(offset, buffer)?,
            HandleTarget::Upload(staging, _) => staging.read_at(offset, buffer)?,
            HandleTarget::Plain(file) => {
                let read = file.read_at(buffer, offset);
                read.map_err(plain_metadata::about_open)?
            }
        })
    }

    /// Writes all of `bytes` at `offset` (in bytes).
    ///
    /// # Errors
    /// [`TreeError::NotOpen`] if the handle was opened for reading; [`TreeError::TooLarge`] for
    /// more than a manifest's 4 MiB where no layer can be meant; [`TreeError::NotPermitted`] if a
    /// blob would become longer; [`TreeError::Registry`] if the store has no room; otherwise the
    /// error of the blob store or of the host.
    pub fn write(self, handle: &Handle, offset: u64, bytes: &[u8]) -> Result<(), TreeError> {
        handle.require_write()?;
        match &handle.open {
            HandleTarget::Pending(pending, place) => {
                let end = offset.saturating_add(bytes.len() as u64);
                self.0.require_not_longer(place.as_ref(), end)?;
                self.0.restage(pending)?;
                self.0
                    .registry
                    .room()
                    .require_for_write(offset, bytes.len() as u64)?;
                pending.write_at(&self.0.registry, offset, bytes)
            }
            HandleTarget::Upload(staging, _) => {
                self.0
                    .registry
                    .room()
                    .require_for_write(offset, bytes.len() as u64)?;
                Ok(staging.write_at(offset, bytes)?)
            }
            HandleTarget::Plain(file) => {
                let written = file.write_all_at(bytes, offset);
                written.map_err(plain_metadata::about_open)
            }
            HandleTarget::Control(..) | HandleTarget::Rendered(..) | HandleTarget::Blob(..) => {
                Err(TreeError::NotOpen("writing"))
            }
        }
    }
}
