//! Lengths of open files: truncate(2), ftruncate(2), and open(2) with `O_TRUNC`. What is written
//! is not here.

use std::sync::Arc;

use super::{Access, Handle, Open, untouched};
use crate::tree::{Place, Tree, TreeChange, TreeError, Writer, plain};

impl Tree {
    /// Cuts off, or fills up with zeros.
    pub fn truncate(&self, handle: &Handle, len: u64) -> Result<(), TreeError> {
        handle.writing()?;
        match &handle.open {
            Open::Draft(draft, place) => {
                self.admits(place.as_ref(), len)?;
                let same = |digest| {
                    self.registry
                        .queries()
                        .blob(digest)
                        .is_ok_and(|(size, _)| len == size)
                };
                if untouched(draft, place.as_ref()).is_some_and(same) {
                    return Ok(());
                }
                self.go_on(draft)?;
                draft.truncate(&self.registry, len)
            }
            Open::Upload(staging, _) => Ok(staging.truncate(len)?),
            Open::Plain(file) => file.set_len(len).map_err(plain::about_open),
            Open::Own(..) | Open::Shown(..) | Open::Blob(..) => Err(TreeError::NotOpen("writing")),
        }
    }

    /// A truncation of a file, of which the kernel does not say through which of the open files
    /// it comes: open(2) with `O_TRUNC` asks for it so, right after opening. It is for those
    /// that the same thread has opened and written nothing to yet, else for its newest. Whether
    /// there was one.
    pub fn truncate_opened(
        &self,
        handles: &[Arc<Handle>],
        len: u64,
        asker: Writer,
    ) -> Result<bool, TreeError> {
        let own = |handle: &&Arc<Handle>| match &handle.open {
            Open::Draft(draft, _) => {
                handle.access == Access::Write && draft.hold().writer.pid == asker.pid
            }
            Open::Own(..)
            | Open::Shown(..)
            | Open::Blob(..)
            | Open::Upload(..)
            | Open::Plain(..) => false,
        };
        let mut truncated = false;
        for handle in handles.iter().filter(own) {
            if let Open::Draft(draft, _) = &handle.open
                && draft.is_unwritten()
            {
                draft.truncate(&self.registry, len)?;
                truncated = true;
            }
        }
        if let (false, Some(newest)) = (truncated, handles.iter().rfind(own)) {
            self.truncate(newest, len)?;
            truncated = true;
        }
        Ok(truncated)
    }

    /// truncate(2) of a file that is not open.
    pub fn truncate_place(
        &self,
        place: &Place,
        len: u64,
        writer: Writer,
    ) -> Result<Vec<TreeChange>, TreeError> {
        let handle = self.open(place, Access::Write, writer)?;
        let changes = self
            .truncate(&handle, len)
            .and_then(|()| self.flush(&handle));
        self.release(&handle);
        changes
    }
}
