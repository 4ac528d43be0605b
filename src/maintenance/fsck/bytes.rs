//! Files: the blobs that there are, in order, some at a time.

use std::collections::VecDeque;

use crate::blobs::{Area, Blobs, BlobsError};
use crate::digest::Digest;

/// Files that are listed at once.
const LISTED_AT_ONCE: usize = 10_000;

/// Every blob's file and its length, in the order of digests.
pub(super) struct Files<'a> {
    blobs: &'a dyn Blobs,
    page: VecDeque<(Digest, u64)>,
    last: Option<Digest>,
    done: bool,
}

impl<'a> Files<'a> {
    /// From the first on.
    pub(super) fn of(blobs: &'a dyn Blobs) -> Self {
        Self {
            blobs,
            page: VecDeque::new(),
            last: None,
            done: false,
        }
    }

    /// The next one.
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

    /// Goes on to the one behind it.
    pub(super) fn next(&mut self) {
        self.page.pop_front();
    }
}
