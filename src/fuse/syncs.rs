//! Syncs: requests that wait until everything is durable, many of them for one flush.
//!
//! Who comes while a flush is under way leaves the answer to whoever flushes, and its thread
//! serves others; that one flushes once more for all who came.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fuser::Errno;
use parking_lot::Mutex;

/// How long who flushes lets others come that want the same, if there were some before: less
/// than a flush takes, and much less than many of them take from each other.
const COMPANY: Duration = Duration::from_micros(200);

/// An answer that waits for the flush.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// Those who wait.
#[derive(Default)]
pub(super) struct Syncs(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    answers: Vec<Answer>,
    /// Whether somebody flushes, for all of them.
    flushing: bool,
    /// How many the flush before was for.
    company: usize,
}

impl std::fmt::Debug for Syncs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syncs").finish_non_exhaustive()
    }
}

impl Syncs {
    /// Has it answered after a flush that begins now or later. If this says so, nobody flushes,
    /// and the caller must see to [`Self::flush`].
    #[must_use]
    pub(super) fn join(&self, answer: Answer) -> bool {
        let mut waiting = self.0.lock();
        waiting.answers.push(answer);
        !std::mem::replace(&mut waiting.flushing, true)
    }

    /// Flushes for all who wait, until nobody does.
    pub(super) fn flush(&self, flush: impl Fn() -> Result<(), Errno>) {
        loop {
            if self.0.lock().company > 1 {
                std::thread::sleep(COMPANY);
            }
            let answers = std::mem::take(&mut self.0.lock().answers);
            let company = answers.len();
            let flushed = catch_unwind(AssertUnwindSafe(&flush)).unwrap_or(Err(Errno::EIO));
            for answer in answers {
                answer(flushed);
            }
            let mut waiting = self.0.lock();
            waiting.company = company;
            if waiting.answers.is_empty() {
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
    fn a_panic_in_a_flush_is_an_error_and_the_next_one_flushes() {
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
