//! Drafts in memory: their bytes, and which of them a crash leaves.

use std::fs::File;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{MemoryBlob, MemoryBlobsState};
use crate::blobs::{BlobsError, Draft, Published, StoredBytes, Survives, Vouched, read_held};
use crate::digest::{Algorithm, Digest};

/// A draft in memory.
#[derive(Debug)]
pub(super) struct MemoryDraft {
    id: u64,
    state: Weak<MemoryBlobsState>,
    content: Mutex<DraftContent>,
}

/// The bytes of a draft, and those that a crash leaves.
#[derive(Debug, Default)]
struct DraftContent {
    bytes: Vec<u8>,
    durable: Option<Vec<u8>>,
    logged: Option<Vec<u8>>,
    published: bool,
    synced: bool,
}

impl MemoryDraft {
    /// A draft that holds these bytes, none of them durable.
    pub(super) fn new(id: u64, state: &Arc<MemoryBlobsState>, bytes: &[u8]) -> Self {
        Self {
            id,
            state: Arc::downgrade(state),
            content: Mutex::new(DraftContent {
                bytes: bytes.to_vec(),
                ..DraftContent::default()
            }),
        }
    }

    /// Returns the blobs to which this belongs, as long as they are open.
    fn state(&self) -> Result<Arc<MemoryBlobsState>, BlobsError> {
        self.state
            .upgrade()
            .ok_or(BlobsError::MissingDraft(self.id))
    }

    /// Goes back to the durable bytes. Returns `false` if there are none.
    pub(super) fn crash(&self) -> bool {
        let mut content = self.content.lock();
        content.bytes = content.durable.clone().unwrap_or_default();
        content.logged = None;
        content.published = false;
        content.synced = false;
        content.durable.is_some()
    }

    /// Makes the bytes durable.
    pub(super) fn make_durable(&self) {
        let mut content = self.content.lock();
        content.durable = Some(content.bytes.clone());
    }

    /// Ends the publication.
    pub(super) fn make_writable(&self) {
        self.content.lock().published = false;
    }

    /// Returns a copy of the bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.content.lock().bytes.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), BlobsError> {
        self.state()?.fault.write()?;
        let mut content = self.content.lock();
        if content.published {
            return Err(BlobsError::Published);
        }
        change(&mut content.bytes);
        content.logged = None;
        content.synced = false;
        Ok(())
    }
}

impl StoredBytes for MemoryDraft {
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

impl Draft for MemoryDraft {
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
        self.state()?.fault.write()?;
        self.make_durable();
        self.content.lock().synced = true;
        Ok(())
    }

    fn log(&self, max: u64, log: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, BlobsError> {
        let mut content = self.content.lock();
        if content.bytes.len() as u64 > max {
            return Ok(false);
        }
        let now = Some(content.bytes.clone());
        if content.logged == now || content.synced {
            return Ok(true);
        }
        content.logged = now.filter(|bytes| log(bytes));
        Ok(content.logged.is_some())
    }

    fn digest(&self, algorithm: Algorithm) -> Result<Digest, BlobsError> {
        Ok(Digest::of(algorithm, &self.content.lock().bytes))
    }

    fn publish(&self, digest: &Digest, vouched: Vouched) -> Result<Published, BlobsError> {
        let state = self.state()?;
        let mut contents = state.contents.lock();
        let this = contents.drafts.get(&self.id).cloned();
        let this = this.ok_or(BlobsError::MissingDraft(self.id))?;
        let mut content = self.content.lock();
        let actual = Digest::of(digest.algorithm(), &content.bytes);
        let len = content.bytes.len() as u64;
        if actual != *digest {
            return Err(BlobsError::Mismatch {
                expected: *digest,
                actual,
                size: len,
            });
        }
        state.fault.write()?;
        content.published = true;
        let survives = if vouched.known && contents.live.contains_key(digest) {
            Survives::ByDigest
        } else if vouched.logged && content.logged.as_ref() == Some(&content.bytes) {
            Survives::Logged
        } else {
            content.durable = Some(content.bytes.clone());
            Survives::ByNumber
        };
        if survives != Survives::ByDigest {
            contents
                .live
                .insert(*digest, MemoryBlob::new(&content.bytes));
            contents.pending.insert(*digest, this);
        }
        Ok(Published { len, survives })
    }

    fn unpublish(&self, digest: &Digest) -> Result<(), BlobsError> {
        let state = self.state()?;
        let mut contents = state.contents.lock();
        let draft = contents.pending.remove(digest);
        let draft = draft.ok_or(BlobsError::MissingDraft(self.id))?;
        contents.live.remove(digest);
        draft.make_writable();
        contents.drafts.insert(self.id, draft);
        Ok(())
    }
}
