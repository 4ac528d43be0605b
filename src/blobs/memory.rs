//! Blobs in memory: the strict second implementation, for tests of the registry and above.
//!
//! On a [crash](MemoryBlobs::crash) it loses everything that is not durable, and it can be made
//! to fail. It is not for production.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::{
    Area, Blobs, BlobsError, Draft, DraftState, Filesystem, ImportSource, PendingDraft, StoredBlob,
    StoredBytes, TransferMode, read_held,
};
use crate::digest::Digest;

mod draft;

use draft::MemoryDraft;

/// Blobs that live as long as the process.
#[derive(Debug)]
pub struct MemoryBlobs {
    state: Arc<MemoryBlobsState>,
    filesystem: Filesystem,
}

/// The state that drafts share with the blobs.
#[derive(Debug, Default)]
struct MemoryBlobsState {
    contents: Mutex<MemoryContents>,
    fault: InjectedFault,
}

#[derive(Debug, Default)]
struct MemoryContents {
    live: BTreeMap<Digest, MemoryBlob>,
    trash: BTreeMap<Digest, MemoryBlob>,
    drafts: BTreeMap<u64, Arc<MemoryDraft>>,
    /// Published drafts: a crash removes the blob and restores the draft.
    pending: BTreeMap<Digest, Arc<MemoryDraft>>,
}

impl MemoryContents {
    fn area(&mut self, area: Area) -> &mut BTreeMap<Digest, MemoryBlob> {
        match area {
            Area::Live => &mut self.live,
            Area::Trash => &mut self.trash,
        }
    }
}

/// A blob, and since when it is in its area.
#[derive(Clone, Debug)]
struct MemoryBlob {
    bytes: Arc<[u8]>,
    since: SystemTime,
}

impl MemoryBlob {
    fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.into(),
            since: SystemTime::now(),
        }
    }
}

/// A countdown of writes: the last one fails, and all after it.
#[derive(Debug, Default)]
struct InjectedFault(Mutex<Option<u64>>);

impl InjectedFault {
    fn write(&self) -> Result<(), BlobsError> {
        let mut countdown = self.0.lock();
        if let Some(left) = countdown.as_mut() {
            *left = left.saturating_sub(1);
            if *left == 0 {
                let error = io::Error::from(io::ErrorKind::StorageFull);
                return Err(BlobsError::System {
                    path: "injected".into(),
                    error,
                });
            }
        }
        Ok(())
    }
}

/// Bytes in memory, open for reading.
pub(super) struct MemoryBytes(pub(super) Arc<[u8]>);

impl StoredBytes for MemoryBytes {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BlobsError> {
        Ok(read_held(&self.0, offset, buffer))
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn file(&self) -> Option<&File> {
        None
    }
}

impl Default for MemoryBlobs {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            filesystem: Filesystem::in_memory(),
        }
    }
}

impl MemoryBlobs {
    /// Ends the injected failure.
    pub fn heal(&self) {
        *self.state.fault.0.lock() = None;
    }

    /// Loses what was not synced of drafts, and undoes pending publications. Ends the injected
    /// failure.
    pub fn crash(&self) {
        self.heal();
        let mut contents = self.state.contents.lock();
        contents.drafts.retain(|_, draft| draft.crash());
        for (digest, draft) in std::mem::take(&mut contents.pending) {
            contents.live.remove(&digest);
            if draft.crash() {
                contents.drafts.insert(draft.id(), draft);
            }
        }
    }

    /// Returns the numbers of all drafts, in order.
    pub fn drafts(&self) -> Vec<u64> {
        self.state.contents.lock().drafts.keys().copied().collect()
    }

    /// Makes the `n`-th write from now (counted from 1) fail, and all after it.
    pub fn fail_after(&self, n: u64) {
        *self.state.fault.0.lock() = Some(n);
    }

    /// Makes a draft that holds these bytes, none of them durable.
    fn new_draft(&self, id: u64, bytes: &[u8]) -> Arc<MemoryDraft> {
        Arc::new(MemoryDraft::new(id, &self.state, bytes))
    }
}

impl Blobs for MemoryBlobs {
    fn open(&self, area: Area, digest: &Digest) -> Result<Arc<dyn StoredBytes>, BlobsError> {
        let mut contents = self.state.contents.lock();
        let blob = contents.area(area).get(digest);
        let blob = blob.ok_or(BlobsError::Missing(*digest))?;
        Ok(Arc::new(MemoryBytes(Arc::clone(&blob.bytes))))
    }

    fn is_cached(&self, _digest: &Digest) -> bool {
        true
    }

    fn list(
        &self,
        area: Area,
        last: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<StoredBlob>, BlobsError> {
        let mut contents = self.state.contents.lock();
        let after = contents
            .area(area)
            .iter()
            .filter(|(digest, _)| last.is_none_or(|last| *digest > last));
        let rows = after.take(limit).map(|(digest, blob)| StoredBlob {
            digest: *digest,
            len: blob.bytes.len() as u64,
            since: blob.since,
        });
        Ok(rows.collect())
    }

    fn remove(
        &self,
        area: Area,
        digest: &Digest,
        since: Option<SystemTime>,
    ) -> Result<(), BlobsError> {
        self.state.fault.write()?;
        let mut contents = self.state.contents.lock();
        let at = contents.area(area).get(digest).map(|blob| blob.since);
        if since.is_none() || since == at {
            contents.area(area).remove(digest);
            if area == Area::Live {
                contents.pending.remove(digest);
            }
        }
        Ok(())
    }

    fn move_to(&self, area: Area, digest: &Digest) -> Result<(), BlobsError> {
        self.state.fault.write()?;
        let mut contents = self.state.contents.lock();
        let from = match area {
            Area::Live => Area::Trash,
            Area::Trash => {
                contents.pending.remove(digest);
                Area::Live
            }
        };
        match (contents.area(from).remove(digest), area) {
            (Some(blob), _) => {
                let moved = MemoryBlob::new(&blob.bytes);
                contents.area(area).insert(*digest, moved);
                Ok(())
            }
            (None, Area::Live) => Err(BlobsError::Missing(*digest)),
            (None, Area::Trash) => Ok(()),
        }
    }

    fn import(
        &self,
        area: Area,
        digest: &Digest,
        source: ImportSource<'_>,
    ) -> Result<TransferMode, BlobsError> {
        self.state.fault.write()?;
        let (blob, way) = match source {
            ImportSource::Bytes(bytes) => (MemoryBlob::new(bytes), TransferMode::Copy),
            ImportSource::File(mut file, way) => {
                let mut bytes = Vec::new();
                let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
                read.map_err(|error| BlobsError::System {
                    path: digest.to_string(),
                    error,
                })?;
                let way = if way == TransferMode::Move {
                    way
                } else {
                    TransferMode::Copy
                };
                (MemoryBlob::new(&bytes), way)
            }
        };
        let mut contents = self.state.contents.lock();
        contents.area(area).insert(*digest, blob);
        Ok(way)
    }

    fn draft(&self, id: u64, state: DraftState) -> Result<Arc<dyn Draft>, BlobsError> {
        if state == DraftState::Existing {
            let contents = self.state.contents.lock();
            let draft = contents.drafts.get(&id);
            let draft: Arc<MemoryDraft> = Arc::clone(draft.ok_or(BlobsError::MissingDraft(id))?);
            return Ok(draft);
        }
        self.state.fault.write()?;
        let mut contents = self.state.contents.lock();
        if contents.drafts.contains_key(&id) {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(BlobsError::System {
                path: format!("staging/{id}"),
                error,
            });
        }
        let draft = self.new_draft(id, &[]);
        contents.drafts.insert(id, Arc::clone(&draft));
        Ok(draft)
    }

    fn discard(&self, id: u64) -> Result<(), BlobsError> {
        self.state.fault.write()?;
        self.state.contents.lock().drafts.remove(&id);
        Ok(())
    }

    fn recover(
        &self,
        pending: &[PendingDraft<'_>],
        complete: bool,
        _is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError> {
        let mut contents = self.state.contents.lock();
        let mut listed = HashSet::new();
        for one in pending {
            self.state.fault.write()?;
            if let Some(digest) = one.blob {
                let staged = contents.drafts.remove(&one.id).map(|draft| draft.bytes());
                if let Some(bytes) = one.logged.map(<[u8]>::to_vec).or(staged) {
                    contents.live.insert(digest, MemoryBlob::new(&bytes));
                }
                continue;
            }
            listed.insert(one.id);
            match (one.logged, contents.drafts.get(&one.id)) {
                (None, Some(draft)) => draft.make_writable(),
                (logged, _) => {
                    let draft = self.new_draft(one.id, logged.unwrap_or_default());
                    contents.drafts.insert(one.id, draft);
                }
            }
        }
        if complete {
            self.state.fault.write()?;
            contents.drafts.retain(|id, _| listed.contains(id));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), BlobsError> {
        self.state.fault.write()?;
        let mut contents = self.state.contents.lock();
        contents.pending.clear();
        contents
            .drafts
            .values()
            .for_each(|draft| draft.make_durable());
        Ok(())
    }

    fn filesystem(&self) -> &Filesystem {
        &self.filesystem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_contract() {
        super::super::contract::all(&|| (Arc::new(MemoryBlobs::default()), None));
    }
}
