//! Syncs: requests that wait until everything is durable, many of them for one flush.
//!
//! Who comes while a flush is under way leaves the answer to whoever flushes, and its thread
//! serves others; that one flushes once more for all who came.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fuser::Errno;
use parking_lot::Mutex;

/// An answer that waits for the flush.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// Those who wait; nothing while nobody flushes.
#[derive(Default)]
pub(super) struct Syncs(Mutex<Option<Vec<Answer>>>);

impl std::fmt::Debug for Syncs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syncs").finish_non_exhaustive()
    }
}

impl Syncs {
    /// Answers after a flush that begins now or later.
    pub(super) fn sync(&self, flush: impl Fn() -> Result<(), Errno>, answer: Answer) {
        let mut answers = vec![answer];
        {
            let mut waiting = self.0.lock();
            if let Some(waiting) = &mut *waiting {
                waiting.append(&mut answers);
                return;
            }
            *waiting = Some(Vec::new());
        }
        while !answers.is_empty() {
            let flushed = catch_unwind(AssertUnwindSafe(&flush)).unwrap_or(Err(Errno::EIO));
            for answer in answers.drain(..) {
                answer(flushed);
            }
            let mut waiting = self.0.lock();
            match waiting.as_mut() {
                Some(more) if !more.is_empty() => answers.append(more),
                Some(_) | None => *waiting = None,
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
    fn whoever_comes_meanwhile_is_answered_by_a_flush_that_began_later() {
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
                        syncs.sync(
                            flush,
                            Box::new(move |result| {
                                assert!(result.is_ok());
                                assert!(seen.load(Ordering::SeqCst) > before);
                                answered.fetch_add(1, Ordering::SeqCst);
                            }),
                        );
                    }
                });
            }
        });
        assert_eq!(answered.load(Ordering::SeqCst), 1600);
        assert!(flushes.load(Ordering::SeqCst) <= 1600);
    }

    #[test]
    fn a_panic_in_a_flush_is_an_error_and_the_next_one_flushes() {
        let syncs = Syncs::default();
        let failed = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&failed);
        let answer = move |result: Result<(), Errno>| {
            count.fetch_add(u32::from(result.is_err()), Ordering::SeqCst);
        };
        syncs.sync(|| panic!("as a test"), Box::new(answer));
        assert_eq!(failed.load(Ordering::SeqCst), 1);
        let count = Arc::clone(&failed);
        let answer = move |result: Result<(), Errno>| {
            count.fetch_add(u32::from(result.is_ok()), Ordering::SeqCst);
        };
        syncs.sync(|| Ok(()), Box::new(answer));
        assert_eq!(failed.load(Ordering::SeqCst), 2);
    }
}
