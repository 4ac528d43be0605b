//! Blobs in memory: the strict second implementation, for tests of what stands above.
//!
//! It forgets what was not made durable when it [crashes](Memory::crash), and fails when told
//! to. It is not for production.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::{
    Blobs, BlobsError, Content, Draft, PendingDraft, Published, Retired, Shareable, Space,
    Survives, Vouched, Way, read_held,
};
use crate::digest::Digest;

mod written;

use written::{Written, WrittenBytes};

/// Blobs that live as long as the process.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    fault: Arc<Fault>,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<Digest, Arc<Vec<u8>>>,
    retired: BTreeMap<Digest, (Arc<Vec<u8>>, SystemTime)>,
    drafts: BTreeMap<u64, Arc<Written>>,
    /// Published, but a crash makes them drafts again.
    unsettled: BTreeMap<Digest, Arc<Written>>,
}

/// Fails the n-th write from now, and all after it.
#[derive(Debug, Default)]
struct Fault(Mutex<Option<u64>>);

impl Fault {
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

impl Memory {
    /// Ends what was made to fail.
    pub fn heal(&self) {
        *self.fault.0.lock() = None;
    }

    /// Loses drafts that were not synced and undoes publications that are not settled; heals
    /// what was made to fail.
    pub fn crash(&self) {
        self.heal();
        let mut state = self.state.lock();
        state.drafts.retain(|_, draft| draft.crash());
        for (digest, draft) in std::mem::take(&mut state.unsettled) {
            state.blobs.remove(&digest);
            if draft.crash() {
                state.drafts.insert(draft.id, draft);
            }
        }
    }

    /// Returns the numbers of all drafts, in order.
    pub fn drafts(&self) -> Vec<u64> {
        self.state.lock().drafts.keys().copied().collect()
    }

    /// Makes the `n`-th write from now (counted from 1) fail, and all after it.
    pub fn fail_after(&self, n: u64) {
        *self.fault.0.lock() = Some(n);
    }
}

impl Blobs for Memory {
    fn open(&self, digest: &Digest) -> Result<Arc<dyn Content>, BlobsError> {
        let state = self.state.lock();
        let bytes = state
            .blobs
            .get(digest)
            .ok_or(BlobsError::Missing(*digest))?;
        Ok(Arc::new(Kept(Arc::clone(bytes))))
    }

    fn is_at_hand(&self, _digest: &Digest) -> bool {
        true
    }

    fn draft(&self, id: u64) -> Result<Arc<dyn Draft>, BlobsError> {
        self.fault.write()?;
        let mut state = self.state.lock();
        if state.drafts.contains_key(&id) {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(BlobsError::System {
                path: format!("staging/{id}"),
                error,
            });
        }
        let draft = Written {
            id,
            fault: Arc::clone(&self.fault),
            content: Mutex::default(),
        };
        let draft = Arc::new(draft);
        state.drafts.insert(id, Arc::clone(&draft));
        Ok(draft)
    }

    fn resume(&self, id: u64) -> Result<Arc<dyn Draft>, BlobsError> {
        let state = self.state.lock();
        let draft = state.drafts.get(&id).ok_or(BlobsError::MissingDraft(id))?;
        let draft: Arc<Written> = Arc::clone(draft);
        Ok(draft)
    }

    fn discard(&self, id: u64) -> Result<(), BlobsError> {
        self.fault.write()?;
        self.state.lock().drafts.remove(&id);
        Ok(())
    }

    fn publish(
        &self,
        draft: &dyn Draft,
        digest: &Digest,
        vouched: Vouched,
    ) -> Result<Published, BlobsError> {
        let mut state = self.state.lock();
        let known = state.drafts.get(&draft.id()).cloned();
        let written = known.ok_or(BlobsError::MissingDraft(draft.id()))?;
        let mut content = written.content.lock();
        let actual = Digest::of(digest.algorithm(), &content.bytes);
        let len = content.bytes.len() as u64;
        if actual != *digest {
            return Err(BlobsError::Mismatch {
                expected: *digest,
                actual,
                size: len,
            });
        }
        self.fault.write()?;
        content.published = true;
        let survives = if vouched.known && state.blobs.contains_key(digest) {
            Survives::ByDigest
        } else if vouched.kept && content.kept.as_ref() == Some(&content.bytes) {
            Survives::Kept
        } else {
            content.durable = Some(content.bytes.clone());
            Survives::ByNumber
        };
        if survives != Survives::ByDigest {
            let bytes = Arc::new(content.bytes.clone());
            state.blobs.insert(*digest, bytes);
            drop(content);
            state.unsettled.insert(*digest, written);
        }
        Ok(Published { len, survives })
    }

    fn take_back(&self, id: u64, digest: &Digest) -> Result<(), BlobsError> {
        let mut state = self.state.lock();
        let draft = state.unsettled.remove(digest);
        let draft = draft.ok_or(BlobsError::MissingDraft(id))?;
        state.blobs.remove(digest);
        draft.content.lock().published = false;
        state.drafts.insert(id, draft);
        Ok(())
    }

    fn recover(
        &self,
        pending: &[PendingDraft<'_>],
        complete: bool,
        _is_fact: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), BlobsError> {
        let mut state = self.state.lock();
        let mut listed = HashSet::new();
        for one in pending {
            self.fault.write()?;
            if let Some(digest) = one.blob {
                let draft = state.drafts.remove(&one.id);
                let staged = draft.map(|draft| draft.content.lock().bytes.clone());
                if let Some(bytes) = one.logged.map(<[u8]>::to_vec).or(staged) {
                    state.blobs.insert(digest, Arc::new(bytes));
                }
                continue;
            }
            listed.insert(one.id);
            if let (None, Some(draft)) = (one.logged, state.drafts.get(&one.id)) {
                draft.content.lock().published = false;
                continue;
            }
            let content = WrittenBytes {
                bytes: one.logged.unwrap_or_default().to_vec(),
                ..WrittenBytes::default()
            };
            let draft = Written {
                id: one.id,
                fault: Arc::clone(&self.fault),
                content: Mutex::new(content),
            };
            state.drafts.insert(one.id, Arc::new(draft));
        }
        if complete {
            self.fault.write()?;
            state.drafts.retain(|id, _| listed.contains(id));
        }
        Ok(())
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.fault.write()?;
        let mut state = self.state.lock();
        state.blobs.remove(digest);
        state.unsettled.remove(digest);
        Ok(())
    }

    fn retire(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.fault.write()?;
        let mut state = self.state.lock();
        state.unsettled.remove(digest);
        if let Some(bytes) = state.blobs.remove(digest) {
            state.retired.insert(*digest, (bytes, SystemTime::now()));
        }
        Ok(())
    }

    fn retire_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<(), BlobsError> {
        self.fault.write()?;
        let retired = (Arc::new(bytes.to_vec()), SystemTime::now());
        self.state.lock().retired.insert(*digest, retired);
        Ok(())
    }

    fn open_retired(&self, digest: &Digest) -> Result<Arc<dyn Content>, BlobsError> {
        let state = self.state.lock();
        let retired = state.retired.get(digest);
        let (bytes, _) = retired.ok_or(BlobsError::Missing(*digest))?;
        Ok(Arc::new(Kept(Arc::clone(bytes))))
    }

    fn restore(&self, digest: &Digest) -> Result<(), BlobsError> {
        self.fault.write()?;
        let mut state = self.state.lock();
        let retired = state.retired.remove(digest);
        let (bytes, _) = retired.ok_or(BlobsError::Missing(*digest))?;
        state.blobs.insert(*digest, bytes);
        Ok(())
    }

    fn forget(&self, digest: &Digest, since: Option<SystemTime>) -> Result<(), BlobsError> {
        self.fault.write()?;
        let mut state = self.state.lock();
        let at = state.retired.get(digest).map(|(_, at)| *at);
        if since.is_none() || since == at {
            state.retired.remove(digest);
        }
        Ok(())
    }

    fn retired(&self) -> Result<Vec<Retired>, BlobsError> {
        let state = self.state.lock();
        let rows = state
            .retired
            .iter()
            .map(|(digest, (bytes, since))| Retired {
                digest: *digest,
                len: bytes.len() as u64,
                since: *since,
            });
        Ok(rows.collect())
    }

    fn owner(&self) -> Result<u32, BlobsError> {
        Ok(rustix::process::geteuid().as_raw())
    }

    fn shareable(&self, _file: &File) -> Result<Shareable, BlobsError> {
        Ok(Shareable {
            by_reference: false,
            by_link: false,
        })
    }

    fn take(&self, file: &File, digest: &Digest, way: Way) -> Result<Way, BlobsError> {
        self.fault.write()?;
        let (mut bytes, mut reader) = (Vec::new(), file);
        let read = reader
            .rewind()
            .and_then(|()| reader.read_to_end(&mut bytes));
        read.map_err(|error| BlobsError::System {
            path: digest.to_string(),
            error,
        })?;
        self.state.lock().blobs.insert(*digest, Arc::new(bytes));
        Ok(if way == Way::Move { way } else { Way::Copy })
    }

    fn settle(&self) -> Result<(), BlobsError> {
        self.fault.write()?;
        let mut state = self.state.lock();
        state.unsettled.clear();
        for draft in state.drafts.values() {
            let mut content = draft.content.lock();
            content.durable = Some(content.bytes.clone());
        }
        Ok(())
    }

    fn list(&self, last: Option<&Digest>, limit: usize) -> Result<Vec<(Digest, u64)>, BlobsError> {
        let state = self.state.lock();
        let behind = state
            .blobs
            .iter()
            .filter(|(digest, _)| last.is_none_or(|last| *digest > last));
        Ok(behind
            .take(limit)
            .map(|(digest, bytes)| (*digest, bytes.len() as u64))
            .collect())
    }

    fn space(&self) -> Result<Space, BlobsError> {
        Ok(Space {
            total: 1 << 30,
            free: 1 << 29,
            available: 1 << 29,
        })
    }
}

/// A published blob.
struct Kept(Arc<Vec<u8>>);

impl Content for Kept {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_contract() {
        super::super::contract::all(&|| (Arc::new(Memory::default()), None));
    }
}
