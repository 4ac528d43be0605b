//! Turns: of many who want a flush one flushes, for all who had come before it began; who comes
//! meanwhile waits for the next turn, of which one of them takes care.
//!
//! It does not know what a flush is.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Whose turn it is.
///
/// The condition variables are the standard library's, which wake all who wait at once; those of
/// `parking_lot` hand them the lock one after the other, and each would be on time for a flush
/// of its own only.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    round: Mutex<FlushRound>,
    /// Those who wait for the turn of an even number, and of an odd one.
    ends: [Condvar; 2],
}

#[derive(Debug, Default)]
struct FlushRound {
    number: u64,
    /// The last batch that the turn under way makes durable; nothing between turns.
    covers: Option<u64>,
}

impl GroupCommit {
    /// Returns when `durable` has reached a batch: because somebody's turn did it, or this one's
    /// own. A turn begins by saying up to which batch it goes, and fails for its owner alone.
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

    /// What is waited on for the end of a turn.
    fn end(&self, number: u64) -> &Condvar {
        let [even, odd] = &self.ends;
        if number.is_multiple_of(2) { even } else { odd }
    }

    fn lock(&self) -> MutexGuard<'_, FlushRound> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a turn, also one that panics.
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
