//! Lengths of files: truncate(2), ftruncate(2), and open(2) with `O_TRUNC`.

use super::attributes::MetadataAccess;
use super::open::OpenFileAccess;
use std::sync::Arc;

use super::handle::{Handle, HandleTarget, unwritten_blob};
use super::{Access, Place, TreeChange, TreeError, Writer, plain_metadata};

impl MetadataAccess<'_> {
    /// Sets the length of an open file to `len` bytes: cuts off, or appends zeros.
    ///
    /// # Errors
    /// As [`OpenFileAccess::write`](super::OpenFileAccess::write).
    pub fn truncate(self, handle: &Handle, len: u64) -> Result<(), TreeError> {
        handle.require_write()?;
        match &handle.open {
            HandleTarget::Pending(pending, place) => {
                self.0.require_not_longer(place.as_ref(), len)?;
                let same = |digest| {
                    self.0
                        .registry
                        .queries()
                        .blob(digest)
                        .is_ok_and(|(size, _)| len == size)
                };
                if unwritten_blob(pending, place.as_ref()).is_some_and(same) {
                    return Ok(());
                }
                self.0.restage(pending)?;
                pending.truncate(&self.0.registry, len)
            }
            HandleTarget::Upload(staging, _) => Ok(staging.truncate(len)?),
            HandleTarget::Plain(file) => file.set_len(len).map_err(plain_metadata::about_open),
            HandleTarget::Control(..) | HandleTarget::Rendered(..) | HandleTarget::Blob(..) => {
                Err(TreeError::NotOpen("writing"))
            }
        }
    }

    /// truncate(2) of a file that is not open.
    ///
    /// # Errors
    /// As [`OpenFileAccess::open`](super::OpenFileAccess::open),
    /// [`OpenFileAccess::write`](super::OpenFileAccess::write) and
    /// [`OpenFileAccess::flush`](super::OpenFileAccess::flush).
    pub fn truncate_place(
        self,
        place: &Place,
        len: u64,
        writer: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        let handle = self.0.open_files().open(place, Access::Write, writer)?;
        let changes = self
            .0
            .metadata()
            .truncate(&handle, len)
            .and_then(|()| self.0.open_files().flush(&handle));
        self.0.open_files().release(&handle);
        changes
    }
}

impl OpenFileAccess<'_> {
    /// Truncates a file that is open, where the kernel does not say through which handle: it asks
    /// so right after open(2) with `O_TRUNC`. Applies to every handle that the calling thread has
    /// opened for writing and not yet written to; if there is none, to its newest handle. Returns
    /// `false` if the thread has no pending file open for writing.
    ///
    /// # Errors
    /// As [`OpenFileAccess::write`](super::OpenFileAccess::write).
    pub fn truncate_opened(
        self,
        handles: &[Arc<Handle>],
        len: u64,
        caller: Writer,
    ) -> Result<bool, TreeError> {
        let own = |handle: &&Arc<Handle>| match &handle.open {
            HandleTarget::Pending(pending, _) => {
                handle.access() == Access::Write && pending.lock().writer.pid == caller.pid
            }
            HandleTarget::Control(..)
            | HandleTarget::Rendered(..)
            | HandleTarget::Blob(..)
            | HandleTarget::Upload(..)
            | HandleTarget::Plain(..) => false,
        };
        let mut truncated = false;
        for handle in handles.iter().filter(own) {
            if let HandleTarget::Pending(pending, _) = &handle.open
                && pending.is_unwritten()
            {
                pending.truncate(&self.0.registry, len)?;
                truncated = true;
            }
        }
        if let (false, Some(newest)) = (truncated, handles.iter().rfind(own)) {
            self.0.metadata().truncate(newest, len)?;
            truncated = true;
        }
        Ok(truncated)
    }
}
