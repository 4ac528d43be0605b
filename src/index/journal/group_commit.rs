//! Group commit: one caller flushes for all callers that arrived before its flush started. Callers
//! that arrive during a flush wait for the next round, which one of them runs.
//!
//! It does not know what a flush is.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Rounds of flushes, one at a time.
///
/// The condition variables are those of the standard library, which wake all waiters at once. Those
/// of `parking_lot` hand the lock from one waiter to the next, so that each would start a flush of
/// its own.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    round: Mutex<FlushRound>,
    /// Waiters for the end of an even round, and of an odd round.
    ends: [Condvar; 2],
}

#[derive(Debug, Default)]
struct FlushRound {
    number: u64,
    /// The last batch that the running round makes durable; `None` between rounds.
    covers: Option<u64>,
}

impl GroupCommit {
    /// Returns once `durable` has reached `target`, by a round of another caller or of this one. A
    /// round calls `begin`, which returns the last batch that it covers, and then `flush`. If
    /// `flush` fails, only the caller that ran the round gets the error.
    pub(super) fn flush_through<E>(
        &self,
        target: u64,
        durable: impl Fn() -> u64,
        begin: impl FnOnce() -> u64,
        flush: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut round = self.lock();
        while let Some(covers) = round.covers
            && durable() < target
        {
            let number = round.number + u64::from(target > covers);
            round = self
                .end(number)
                .wait(round)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if durable() >= target {
            return Ok(());
        }
        round.covers = Some(begin());
        drop(round);
        let _ending = RoundGuard(self);
        flush()
    }

    /// The condition variable for the end of a round.
    fn end(&self, number: u64) -> &Condvar {
        let [even, odd] = &self.ends;
        if number.is_multiple_of(2) { even } else { odd }
    }

    fn lock(&self) -> MutexGuard<'_, FlushRound> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a round, even if it panics.
struct RoundGuard<'a>(&'a GroupCommit);

impl Drop for RoundGuard<'_> {
    fn drop(&mut self) {
        let mut round = self.0.lock();
        let done = round.number;
        round.number += 1;
        round.covers = None;
        drop(round);
        self.0.end(done + 1).notify_one();
        self.0.end(done).notify_all();
    }
}
