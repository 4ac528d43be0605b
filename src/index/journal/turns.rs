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
pub(super) struct Turns {
    turn: Mutex<Turn>,
    /// Those who wait for the turn of an even number, and of an odd one.
    ends: [Condvar; 2],
}

#[derive(Debug, Default)]
struct Turn {
    number: u64,
    /// The last batch that the turn under way makes durable; nothing between turns.
    covers: Option<u64>,
}

impl Turns {
    /// Returns when `durable` has reached a batch: because somebody's turn did it, or this one's
    /// own. A turn begins by saying up to which batch it goes, and fails for its owner alone.
    pub(super) fn until<E>(
        &self,
        target: u64,
        durable: impl Fn() -> u64,
        begin: impl FnOnce() -> u64,
        flush: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut turn = self.lock();
        while let Some(covers) = turn.covers
            && durable() < target
        {
            let number = turn.number + u64::from(target > covers);
            turn = self
                .end(number)
                .wait(turn)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if durable() >= target {
            return Ok(());
        }
        turn.covers = Some(begin());
        drop(turn);
        let _ending = Ending(self);
        flush()
    }

    /// What is waited on for the end of a turn.
    fn end(&self, number: u64) -> &Condvar {
        let [even, odd] = &self.ends;
        if number.is_multiple_of(2) { even } else { odd }
    }

    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a turn, also one that panics.
struct Ending<'a>(&'a Turns);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut turn = self.0.lock();
        let done = turn.number;
        turn.number += 1;
        turn.covers = None;
        drop(turn);
        self.0.end(done + 1).notify_one();
        self.0.end(done).notify_all();
    }
}
