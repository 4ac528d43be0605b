//! Progress: how much of a long job is done, for those who watch it, and the request to stop it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::registry::Error;

/// How often a watcher gets the progress.
const REPORTED_EVERY: Duration = Duration::from_millis(200);

/// The progress of a job. Each part of the job is a share of the whole, from 0 to 1, which the part
/// divides among its own parts.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    state: Mutex<ProgressState>,
    stopped: AtomicBool,
}

/// The progress so far.
#[derive(Debug, Default)]
struct ProgressState {
    done: f64,
    items: u64,
    what: &'static str,
}

/// The progress at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProgressSnapshot {
    /// The share of the job that is done, from 0 to 1.
    pub done: f64,
    /// Items that were processed.
    pub items: u64,
    /// The name of the current part.
    pub what: String,
    /// Seconds since the job began.
    pub seconds: f64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }
}

impl Progress {
    /// Begins a part of the job; `what` is its name, for people.
    pub fn begin(&self, what: &'static str) {
        self.state.lock().what = what;
    }

    /// Adds a share of the job that is done, and the items in it.
    pub fn add(&self, share: f64, items: u64) {
        let mut state = self.state.lock();
        state.done += share;
        state.items += items;
    }

    /// Adds one item.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the job was asked to stop.
    pub fn count(&self) -> Result<(), Error> {
        self.add(0.0, 1);
        if self.is_stopped() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// Asks the job to stop early: nobody waits for its result any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if the job was asked to stop early.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Runs a job, and meanwhile calls `report` with the progress every 200 ms, on a thread of its
    /// own. Returns the result of the job.
    pub fn report_while<T>(
        &self,
        mut report: impl FnMut(&ProgressSnapshot) + Send,
        job: impl FnOnce() -> T,
    ) -> T {
        std::thread::scope(|scope| {
            let (ended, ending) = channel::<()>();
            scope.spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = ending.recv_timeout(REPORTED_EVERY) {
                    report(&self.snapshot());
                }
            });
            let result = job();
            drop(ended);
            result
        })
    }

    /// Returns the progress now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        let state = self.state.lock();
        ProgressSnapshot {
            done: state.done.clamp(0.0, 1.0),
            items: state.items,
            what: state.what.to_owned(),
            seconds: self.began.elapsed().as_secs_f64(),
        }
    }
}

impl ProgressSnapshot {
    /// Returns the items per second so far.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            let items = u32::try_from(self.items).unwrap_or(u32::MAX);
            f64::from(items) / self.seconds
        } else {
            0.0
        }
    }

    /// Returns the seconds left if the job continues at the same speed; `None` before a thousandth
    /// of it is done.
    pub fn seconds_left(&self) -> Option<f64> {
        (self.done > 0.001).then(|| self.seconds / self.done * (1.0 - self.done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_whole() {
        let progress = Progress::default();
        progress.begin("blobs");
        assert_eq!(progress.snapshot().seconds_left(), None);
        for _ in 0..4 {
            progress.add(0.25, 10);
        }
        let snapshot = progress.snapshot();
        assert_eq!((snapshot.items, &*snapshot.what), (40, "blobs"));
        assert!(snapshot.done > 0.99 && snapshot.seconds_left().unwrap() < 0.1);
    }
}
