//! Blob files: every blob's file with its length, listed page by page in the order of digests.

use std::collections::VecDeque;

use crate::blobs::{Area, Blobs, BlobsError};
use crate::digest::Digest;

/// Files that are listed at once.
const LISTED_AT_ONCE: usize = 10_000;

/// The files of blobs and their lengths in bytes, in the order of digests.
pub(super) struct BlobFiles<'a> {
    blobs: &'a dyn Blobs,
    page: VecDeque<(Digest, u64)>,
    last: Option<Digest>,
    done: bool,
}

impl<'a> BlobFiles<'a> {
    /// Returns all files.
    pub(super) fn of(blobs: &'a dyn Blobs) -> Self {
        Self {
            blobs,
            page: VecDeque::new(),
            last: None,
            done: false,
        }
    }

    /// Returns the next file without removing it.
    ///
    /// # Errors
    /// The failure to list the blobs.
    pub(super) fn peek(&mut self) -> Result<Option<(Digest, u64)>, BlobsError> {
        if self.page.is_empty() && !self.done {
            let page = self
                .blobs
                .list(Area::Live, self.last.as_ref(), LISTED_AT_ONCE)?;
            self.done = page.len() < LISTED_AT_ONCE;
            self.last = page.last().map(|row| row.digest);
            self.page = page.into_iter().map(|row| (row.digest, row.len)).collect();
        }
        Ok(self.page.front().copied())
    }

    /// Removes the next file.
    pub(super) fn advance(&mut self) {
        self.page.pop_front();
    }
}
