//! Content: what was written of a file that is no fact yet. In memory while it is small, among
//! the staged bytes once it is not, and there without an open file while it only waits.
//!
//! All such files together have a budget of memory. Where it ends even a small one is staged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::TreeError;
use crate::registry::{Bytes, Parked, Registry, StagedUpload, read_held};

/// Bytes of a file that are in memory at most.
const HELD_MAX: usize = 64 << 10;
/// Bytes of all such files that are in memory at most.
const HELD_ALL_MAX: usize = 64 << 20;

/// What files that are no facts yet take in all.
#[derive(Debug, Default)]
pub(super) struct Budget {
    held: AtomicUsize,
    parked: AtomicU64,
}

impl Budget {
    /// Staged bytes that nobody has open.
    pub(super) fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }
}

/// What was written so far.
#[derive(Debug)]
pub(super) enum Content {
    /// Links, manifests, notes, and what else is small: a crash drops it anyway.
    Small(Held),
    /// What is not: among the staged bytes.
    Large(StagedUpload),
    /// The same of a file that nobody has open.
    Parked(Idle),
}

/// Bytes in memory, which the budget knows of.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Vec<u8>,
    counted: usize,
    budget: Arc<Budget>,
}

impl Held {
    /// Has room for so many bytes; whether they may be in memory.
    fn reserve(&mut self, len: u64) -> bool {
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= HELD_MAX) else {
            return false;
        };
        let more = len.saturating_sub(self.counted);
        let all = self.budget.held.fetch_add(more, Ordering::Relaxed) + more;
        if more > 0 && all > HELD_ALL_MAX {
            self.budget.held.fetch_sub(more, Ordering::Relaxed);
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

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// Staged bytes without an open file, which the budget knows of.
#[derive(Debug)]
pub(super) struct Idle {
    parked: Option<Parked>,
    len: u64,
    budget: Arc<Budget>,
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.budget.parked.fetch_sub(self.len, Ordering::Relaxed);
    }
}

impl Content {
    /// These bytes, in memory.
    pub(super) fn new(bytes: Vec<u8>, budget: &Arc<Budget>) -> Self {
        let counted = bytes.len();
        budget.held.fetch_add(counted, Ordering::Relaxed);
        Self::Small(Held {
            bytes,
            counted,
            budget: Arc::clone(budget),
        })
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Small(held) => held.bytes.len() as u64,
            Self::Large(staging) => staging.len(),
            Self::Parked(idle) => idle.len,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, to be published. What is parked must have been opened before.
    pub(super) fn bytes(&self) -> Result<Bytes<'_>, TreeError> {
        match self {
            Self::Small(held) => Ok(Bytes::Held(&held.bytes)),
            Self::Large(staging) => Ok(Bytes::Staged(staging)),
            Self::Parked(_) => Err(TreeError::NotOpen("reading")),
        }
    }

    /// Moves to the staged bytes what is to have more bytes than may be in memory.
    pub(super) fn make_room(&mut self, registry: &Registry, len: u64) -> Result<(), TreeError> {
        if let Self::Small(held) = self
            && !held.reserve(len)
        {
            let staging = registry.stage()?;
            staging.write_at(0, &held.bytes)?;
            *self = Self::Large(staging);
        }
        Ok(())
    }

    /// Closes the file of staged bytes, for as long as nobody needs them.
    pub(super) fn park(&mut self, budget: &Arc<Budget>) {
        let Self::Large(staging) = self else { return };
        let Some(parked) = staging.park() else { return };
        let len = parked.len();
        budget.parked.fetch_add(len, Ordering::Relaxed);
        *self = Self::Parked(Idle {
            parked: Some(parked),
            len,
            budget: Arc::clone(budget),
        });
    }

    /// Opens it again.
    pub(super) fn wake(&mut self) -> Result<(), TreeError> {
        if let Self::Parked(idle) = self
            && let Some(parked) = &mut idle.parked
        {
            *self = Self::Large(parked.resume()?);
        }
        Ok(())
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, TreeError> {
        match self {
            Self::Small(held) => Ok(read_held(&held.bytes, offset, buffer)),
            Self::Large(staging) => Ok(staging.read_at(offset, buffer)?),
            Self::Parked(_) => Err(TreeError::NotOpen("reading")),
        }
    }

    /// Writes at an offset, for which there is room.
    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TreeError> {
        match self {
            Self::Small(held) => {
                held.write_at(offset, bytes);
                Ok(())
            }
            Self::Large(staging) => Ok(staging.write_at(offset, bytes)?),
            Self::Parked(_) => Err(TreeError::NotOpen("writing")),
        }
    }

    /// Cuts off, or fills up with zeros where there is room.
    pub(super) fn truncate(&mut self, len: u64) -> Result<(), TreeError> {
        match self {
            Self::Small(held) => {
                held.bytes
                    .resize(usize::try_from(len).unwrap_or(HELD_MAX), 0);
                Ok(())
            }
            Self::Large(staging) => Ok(staging.truncate(len)?),
            Self::Parked(_) => Err(TreeError::NotOpen("writing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_in_memory_until_all_have_too_much_of_it() {
        let (registry, _) = Registry::in_memory();
        let budget = Arc::default();
        let written = |len: usize| {
            let mut content = Content::new(Vec::new(), &budget);
            content.make_room(&registry, len as u64).unwrap();
            content.write_at(0, &vec![7; len]).unwrap();
            content
        };
        assert!(matches!(written(HELD_MAX + 1), Content::Large(_)));
        let mut files: Vec<Content> = (0..HELD_ALL_MAX / HELD_MAX)
            .map(|_| written(HELD_MAX))
            .collect();
        assert!(files.iter().all(|one| matches!(one, Content::Small(_))));
        assert!(matches!(written(1), Content::Large(_)));
        files.pop();
        assert!(matches!(written(1), Content::Small(_)));
        drop(files);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_parked_is_counted_and_opened_again() {
        let (registry, _) = Registry::in_memory();
        let budget = Arc::default();
        let mut content = Content::new(Vec::new(), &budget);
        content.make_room(&registry, 1 << 20).unwrap();
        content.write_at(0, &vec![7; 1 << 20]).unwrap();
        content.park(&budget);
        assert_eq!((budget.parked(), content.len()), (1 << 20, 1 << 20));
        content.wake().unwrap();
        assert_eq!((budget.parked(), content.len()), (0, 1 << 20));
        let mut buffer = [0; 9];
        assert_eq!(content.read_at(5, &mut buffer).unwrap(), 9);
        assert_eq!(buffer, [7; 9]);
    }
}
