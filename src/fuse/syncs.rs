//! Syncs: requests that wait until everything before them is durable share flushes.
//!
//! A request that arrives during a flush leaves its reply to the thread that flushes, so that its
//! own thread can serve others. The flushing thread then flushes once more for all that arrived.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fuser::Errno;
use parking_lot::Mutex;

/// How long a flush is delayed so that further syncs can join it, if the flush before had several:
/// less than a flush takes, and much less than many flushes one after the other.
const JOIN_DELAY: Duration = Duration::from_micros(200);

/// Sends the reply to a sync, once the flush has succeeded or failed.
pub(super) type SyncReply = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// The syncs that wait for a flush.
#[derive(Default)]
pub(super) struct Syncs(Mutex<SyncQueue>);

#[derive(Default)]
struct SyncQueue {
    replies: Vec<SyncReply>,
    /// A thread flushes, and will for all in `replies`.
    flushing: bool,
    /// The number of syncs that the last flush was for.
    last_joined: usize,
}

impl std::fmt::Debug for Syncs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syncs").finish_non_exhaustive()
    }
}

impl Syncs {
    /// Adds a sync, which is answered after a flush that begins after this call. Returns `true` if
    /// no thread flushes: then the caller must have [`Self::flush`] called.
    #[must_use]
    pub(super) fn join(&self, reply: SyncReply) -> bool {
        let mut waiting = self.0.lock();
        waiting.replies.push(reply);
        !std::mem::replace(&mut waiting.flushing, true)
    }

    /// Flushes until no sync waits.
    pub(super) fn flush(&self, flush: impl Fn() -> Result<(), Errno>) {
        loop {
            if self.0.lock().last_joined > 1 {
                std::thread::sleep(JOIN_DELAY);
            }
            let replies = std::mem::take(&mut self.0.lock().replies);
            let joined = replies.len();
            let flushed = catch_unwind(AssertUnwindSafe(&flush)).unwrap_or(Err(Errno::EIO));
            for reply in replies {
                reply(flushed);
            }
            let mut waiting = self.0.lock();
            waiting.last_joined = joined;
            if waiting.replies.is_empty() {
                waiting.flushing = false;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_sync_is_answered_by_a_flush_that_began_after_it() {
        let syncs = Arc::new(Syncs::default());
        let (flushes, answered) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let (before, flushes) = (flushes.load(Ordering::SeqCst), &flushes);
                        let (seen, answered) = (Arc::clone(flushes), Arc::clone(&answered));
                        let flush = || {
                            std::thread::yield_now();
                            flushes.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        };
                        let answer = move |result: Result<(), Errno>| {
                            assert!(result.is_ok());
                            assert!(seen.load(Ordering::SeqCst) > before);
                            answered.fetch_add(1, Ordering::SeqCst);
                        };
                        if syncs.join(Box::new(answer)) {
                            syncs.flush(flush);
                        }
                    }
                });
            }
        });
        assert_eq!(answered.load(Ordering::SeqCst), 1600);
        assert!(flushes.load(Ordering::SeqCst) <= 1600);
    }

    #[test]
    fn a_panic_in_a_flush_fails_its_syncs_and_no_later_ones() {
        let syncs = Syncs::default();
        let failed = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&failed);
        let answer = move |result: Result<(), Errno>| {
            count.fetch_add(u32::from(result.is_err()), Ordering::SeqCst);
        };
        assert!(syncs.join(Box::new(answer)));
        syncs.flush(|| panic!("as a test"));
        assert_eq!(failed.load(Ordering::SeqCst), 1);
        let count = Arc::clone(&failed);
        let answer = move |result: Result<(), Errno>| {
            count.fetch_add(u32::from(result.is_ok()), Ordering::SeqCst);
        };
        assert!(syncs.join(Box::new(answer)));
        syncs.flush(|| Ok(()));
        assert_eq!(failed.load(Ordering::SeqCst), 2);
    }
}
