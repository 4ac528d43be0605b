//! The content of a pending file: in memory while it is small, otherwise in a staged file, which is
//! closed while the file only awaits its rename.
//!
//! The pending files of a mount share a budget of memory; beyond it the content of even a small
//! file is staged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::TreeError;
use crate::registry::{Bytes, Parked, Registry, StagedUpload, read_held};

/// The length up to which the content of a file may be in memory, in bytes.
const BUFFERED_MAX: usize = 64 << 10;
/// The total length of all contents in memory, in bytes, at most.
const BUFFERED_TOTAL_MAX: usize = 64 << 20;

/// Totals over the pending files of a mount.
#[derive(Debug, Default)]
pub(super) struct Budget {
    buffered: AtomicUsize,
    parked: AtomicU64,
}

impl Budget {
    /// Returns the length of all staged files that are closed, in bytes.
    pub(super) fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }
}

/// The content of a pending file.
#[derive(Debug)]
pub(super) enum PendingContent {
    /// In memory: links, manifests, upload metadata and other small files, all of which a crash may
    /// lose before they are facts.
    Buffered(BufferedBytes),
    /// In an open staged file.
    Staged(StagedUpload),
    /// In a closed staged file.
    Closed(ClosedStaging),
}

/// Bytes in memory, counted by the budget.
#[derive(Debug)]
pub(super) struct BufferedBytes {
    bytes: Vec<u8>,
    counted: usize,
    budget: Arc<Budget>,
}

impl BufferedBytes {
    /// Makes room for `len` bytes. Returns `false` if they may not be in memory.
    fn reserve(&mut self, len: u64) -> bool {
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= BUFFERED_MAX) else {
            return false;
        };
        let more = len.saturating_sub(self.counted);
        let all = self.budget.buffered.fetch_add(more, Ordering::Relaxed) + more;
        if more > 0 && all > BUFFERED_TOTAL_MAX {
            self.budget.buffered.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.counted += more;
        true
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes at an offset; the caller has reserved room.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes.splice(start..end, bytes.iter().copied());
    }
}

impl Drop for BufferedBytes {
    fn drop(&mut self) {
        self.budget
            .buffered
            .fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// A closed staged file, counted by the budget.
#[derive(Debug)]
pub(super) struct ClosedStaging {
    parked: Option<Parked>,
    len: u64,
    budget: Arc<Budget>,
}

impl Drop for ClosedStaging {
    fn drop(&mut self) {
        self.budget.parked.fetch_sub(self.len, Ordering::Relaxed);
    }
}

impl PendingContent {
    /// Returns content in memory.
    pub(super) fn new(bytes: Vec<u8>, budget: &Arc<Budget>) -> Self {
        let counted = bytes.len();
        budget.buffered.fetch_add(counted, Ordering::Relaxed);
        Self::Buffered(BufferedBytes {
            bytes,
            counted,
            budget: Arc::clone(budget),
        })
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Buffered(buffered) => buffered.bytes.len() as u64,
            Self::Staged(staging) => staging.len(),
            Self::Closed(closed) => closed.len,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes, for publication.
    ///
    /// # Errors
    /// [`TreeError::NotOpen`] if the staged file is closed.
    pub(super) fn bytes(&self) -> Result<Bytes<'_>, TreeError> {
        match self {
            Self::Buffered(buffered) => Ok(Bytes::Held(&buffered.bytes)),
            Self::Staged(staging) => Ok(Bytes::Staged(staging)),
            Self::Closed(_) => Err(TreeError::NotOpen("reading")),
        }
    }

    /// Moves the content to a staged file if `len` bytes may not be in memory.
    pub(super) fn make_room(&mut self, registry: &Registry, len: u64) -> Result<(), TreeError> {
        if let Self::Buffered(buffered) = self
            && !buffered.reserve(len)
        {
            let staging = registry.stage()?;
            staging.write_at(0, &buffered.bytes)?;
            *self = Self::Staged(staging);
        }
        Ok(())
    }

    /// Closes the staged file until [`PendingContent::reopen`].
    pub(super) fn park(&mut self, budget: &Arc<Budget>) {
        let Self::Staged(staging) = self else { return };
        let Some(parked) = staging.park() else { return };
        let len = parked.len();
        budget.parked.fetch_add(len, Ordering::Relaxed);
        *self = Self::Closed(ClosedStaging {
            parked: Some(parked),
            len,
            budget: Arc::clone(budget),
        });
    }

    /// Opens the staged file again if it is closed.
    pub(super) fn reopen(&mut self) -> Result<(), TreeError> {
        if let Self::Closed(closed) = self
            && let Some(parked) = &mut closed.parked
        {
            *self = Self::Staged(parked.resume()?);
        }
        Ok(())
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, TreeError> {
        match self {
            Self::Buffered(buffered) => Ok(read_held(&buffered.bytes, offset, buffer)),
            Self::Staged(staging) => Ok(staging.read_at(offset, buffer)?),
            Self::Closed(_) => Err(TreeError::NotOpen("reading")),
        }
    }

    /// Writes at an offset; the caller has made room.
    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TreeError> {
        match self {
            Self::Buffered(buffered) => {
                buffered.write_at(offset, bytes);
                Ok(())
            }
            Self::Staged(staging) => Ok(staging.write_at(offset, bytes)?),
            Self::Closed(_) => Err(TreeError::NotOpen("writing")),
        }
    }

    /// Cuts off, or appends zeros, for which the caller has made room.
    pub(super) fn truncate(&mut self, len: u64) -> Result<(), TreeError> {
        match self {
            Self::Buffered(buffered) => {
                buffered
                    .bytes
                    .resize(usize::try_from(len).unwrap_or(BUFFERED_MAX), 0);
                Ok(())
            }
            Self::Staged(staging) => Ok(staging.truncate(len)?),
            Self::Closed(_) => Err(TreeError::NotOpen("writing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_in_memory_while_the_budget_lasts() {
        let (registry, _) = Registry::in_memory();
        let budget = Arc::default();
        let written = |len: usize| {
            let mut content = PendingContent::new(Vec::new(), &budget);
            content.make_room(&registry, len as u64).unwrap();
            content.write_at(0, &vec![7; len]).unwrap();
            content
        };
        assert!(matches!(
            written(BUFFERED_MAX + 1),
            PendingContent::Staged(_)
        ));
        let mut files: Vec<PendingContent> = (0..BUFFERED_TOTAL_MAX / BUFFERED_MAX)
            .map(|_| written(BUFFERED_MAX))
            .collect();
        assert!(
            files
                .iter()
                .all(|one| matches!(one, PendingContent::Buffered(_)))
        );
        assert!(matches!(written(1), PendingContent::Staged(_)));
        files.pop();
        assert!(matches!(written(1), PendingContent::Buffered(_)));
        drop(files);
        assert_eq!(budget.buffered.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn closed_files_are_counted_and_opened_again() {
        let (registry, _) = Registry::in_memory();
        let budget = Arc::default();
        let mut content = PendingContent::new(Vec::new(), &budget);
        content.make_room(&registry, 1 << 20).unwrap();
        content.write_at(0, &vec![7; 1 << 20]).unwrap();
        content.park(&budget);
        assert_eq!((budget.parked(), content.len()), (1 << 20, 1 << 20));
        content.reopen().unwrap();
        assert_eq!((budget.parked(), content.len()), (0, 1 << 20));
        let mut buffer = [0; 9];
        assert_eq!(content.read_at(5, &mut buffer).unwrap(), 9);
        assert_eq!(buffer, [7; 9]);
    }
}
