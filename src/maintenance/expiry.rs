//! Expiry: removes blobs from the trash when their time is over, and the oldest ones before the
//! disk is full.
//!
//! It only empties the trash: `trash.rs` or a push restores blobs.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::blobs::Area;
use crate::registry::{Error, Registry, reserve};

/// How often free space is checked. The kernel writes passed-through files itself, without asking
/// the daemon for room.
const TICK: Duration = Duration::from_secs(1);
/// Longest time between two passes over the trash.
const PAUSE_MAX: Duration = Duration::from_hours(1);
/// Most bytes to keep free while something is in the trash: what a disk writes in a second or two.
const FREE_MAX: u64 = 2 << 30;
/// At most one part in this many of the filesystem must stay free.
const FREE_PART: u64 = 20;

/// Returns the bytes to keep free on a filesystem of `total` bytes.
fn wanted(total: u64) -> u64 {
    FREE_MAX
        .min(total / FREE_PART)
        .max(reserve(total).saturating_mul(2))
}

/// Removes blobs that were in the trash for as long as the policy says. Returns the longest time
/// until the next blob expires.
///
/// # Errors
/// The failure to read the trash, or to remove a blob.
pub fn expire_trash(registry: &Registry, now: SystemTime) -> Result<Duration, Error> {
    let limit = registry.policy().trash;
    let mut pause = limit.min(PAUSE_MAX).max(TICK);
    for one in registry.blobs().list(Area::Trash, None, usize::MAX)? {
        // A clock that was set back must not empty the trash.
        let age = now.duration_since(one.since).unwrap_or_default();
        match limit.checked_sub(age) {
            None | Some(Duration::ZERO) => registry.room().remove_from_trash(&one)?,
            Some(left) => pause = pause.min(left.max(TICK)),
        }
    }
    Ok(pause)
}

/// A thread that empties the trash of a registry until this is dropped.
#[derive(Debug)]
pub struct Expiry {
    /// Dropping it ends the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Expiry {
    /// Starts the thread.
    ///
    /// # Errors
    /// The failure to start a thread.
    pub fn start(registry: Arc<Registry>) -> std::io::Result<Self> {
        let (end, ended) = channel();
        let run = move || {
            let mut next = Instant::now();
            loop {
                if let Err(error) = maintain_trash(&registry, &mut next) {
                    log::warn!("the trash cannot be emptied for now: {error}");
                }
                if ended.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("expiry".into());
        Ok(Self {
            end: Some(end),
            thread: Some(thread.spawn(run)?),
        })
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has left the trash in a consistent state.
            let _ended = thread.join();
        }
    }
}

/// Expires the trash if `next` has come, and frees space. Updates `next` to the time of the next
/// pass.
fn maintain_trash(registry: &Registry, next: &mut Instant) -> Result<(), Error> {
    if Instant::now() >= *next {
        *next = Instant::now() + TICK.max(PAUSE_MAX / 60);
        let pause = expire_trash(registry, SystemTime::now())?;
        *next = Instant::now() + pause;
    }
    registry
        .room()
        .free_up(wanted(registry.blobs().filesystem().space()?.total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Algorithm, Digest};
    use crate::maintenance::trash::undelete;
    use crate::maintenance::{RemovedBlob, Restored, list_trash};
    use crate::registry::{Bytes, INLINE_BYTES_MAX, Policy};

    fn trash(registry: &Registry) -> Vec<RemovedBlob> {
        list_trash(registry).unwrap().blobs
    }

    fn layer(number: u8) -> (Vec<u8>, Digest) {
        let bytes = vec![number; INLINE_BYTES_MAX * 8];
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        (bytes, digest)
    }

    fn removed(registry: &Registry, (bytes, digest): &(Vec<u8>, Digest)) {
        registry.publish(Bytes::Held(bytes), digest).unwrap();
        registry.remove_blob(digest).unwrap();
    }

    #[test]
    fn removed_blobs_of_any_size_can_be_restored_until_they_expire() {
        let (registry, _bytes) = Registry::in_memory();
        let small = (vec![7], Digest::of(Algorithm::Sha256, &[7]));
        for blob in [small, layer(1)] {
            removed(&registry, &blob);
            assert!(registry.read_blob(&blob.1).is_err());
            assert_eq!(undelete(&registry, &blob.1).unwrap(), Restored::Stored);
            assert!(!registry.read_blob(&blob.1).unwrap().is_empty());
            registry.remove_blob(&blob.1).unwrap();
        }
        let day = Duration::from_hours(24);
        let later = |days: u32| SystemTime::now() + day * days;
        assert!(expire_trash(&registry, later(6)).unwrap() <= PAUSE_MAX);
        assert_eq!(trash(&registry).len(), 2);
        expire_trash(&registry, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(trash(&registry).len(), 2);
        expire_trash(&registry, later(8)).unwrap();
        assert!(trash(&registry).is_empty());
    }

    #[test]
    fn without_a_trash_nothing_stays() {
        let registry = Registry::in_memory_with(Policy {
            trash: Duration::ZERO,
            ..Policy::default()
        });
        removed(&registry, &layer(1));
        removed(&registry, &(vec![7], Digest::of(Algorithm::Sha256, &[7])));
        assert!(trash(&registry).is_empty());
    }

    #[test]
    fn blobs_that_a_snapshot_names_stay_until_it_is_closed() {
        let (registry, _bytes) = Registry::in_memory();
        let (before, after) = (layer(1), layer(2));
        registry.publish(Bytes::Held(&after.0), &after.1).unwrap();
        removed(&registry, &before);
        let snapshot = registry.snapshot().unwrap();
        registry.remove_blob(&after.1).unwrap();
        let later = SystemTime::now() + Duration::from_hours(24 * 8);
        expire_trash(&registry, later).unwrap();
        let left = trash(&registry);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].digest, after.1);
        drop(snapshot);
        expire_trash(&registry, later).unwrap();
        assert!(trash(&registry).is_empty());
    }
}
