//! Drafts in memory: what was written, and how much of it a crash leaves.

use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Fault;
use crate::blobs::{BlobsError, Content, Draft, read_held};
use crate::digest::{Algorithm, Digest};

/// A draft.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) id: u64,
    pub(super) fault: Arc<Fault>,
    pub(super) content: Mutex<WrittenBytes>,
}

/// What was written, and what of it a crash leaves.
#[derive(Debug, Default)]
pub(super) struct WrittenBytes {
    pub(super) bytes: Vec<u8>,
    pub(super) durable: Option<Vec<u8>>,
    pub(super) kept: Option<Vec<u8>>,
    pub(super) published: bool,
    pub(super) synced: bool,
}

impl Written {
    /// Goes back to what was synced; whether anything was.
    pub(super) fn crash(&self) -> bool {
        let mut content = self.content.lock();
        content.bytes = content.durable.clone().unwrap_or_default();
        content.kept = None;
        content.published = false;
        content.synced = false;
        content.durable.is_some()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), BlobsError> {
        self.fault.write()?;
        let mut content = self.content.lock();
        if content.published {
            return Err(BlobsError::Published);
        }
        change(&mut content.bytes);
        content.kept = None;
        content.synced = false;
        Ok(())
    }
}

impl Content for Written {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobsError> {
        Ok(read_held(&self.content.lock().bytes, offset, buffer))
    }

    fn len(&self) -> u64 {
        self.content.lock().bytes.len() as u64
    }

    fn file(&self) -> Option<&File> {
        None
    }
}

impl Draft for Written {
    fn id(&self) -> u64 {
        self.id
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), BlobsError> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.change(|content| {
            let end = offset.saturating_add(bytes.len());
            content.resize(content.len().max(end), 0);
            content.splice(offset..end, bytes.iter().copied());
        })
    }

    fn truncate(&self, len: u64) -> Result<(), BlobsError> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.change(|content| content.resize(len, 0))
    }

    fn sync(&self) -> Result<(), BlobsError> {
        self.fault.write()?;
        let mut content = self.content.lock();
        content.durable = Some(content.bytes.clone());
        content.synced = true;
        Ok(())
    }

    fn keep(&self, max: u64, keep: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, BlobsError> {
        let mut content = self.content.lock();
        if content.bytes.len() as u64 > max {
            return Ok(false);
        }
        let now = Some(content.bytes.clone());
        if content.kept == now || content.synced {
            return Ok(true);
        }
        content.kept = now.filter(|bytes| keep(bytes));
        Ok(content.kept.is_some())
    }

    fn digest(&self, algorithm: Algorithm) -> Result<Digest, BlobsError> {
        Ok(Digest::of(algorithm, &self.content.lock().bytes))
    }
}
