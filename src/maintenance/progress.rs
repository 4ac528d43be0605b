//! Progress: how much of a long work is done, for those who watch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::registry::Error;

/// How often who watches is told.
const TOLD: Duration = Duration::from_millis(200);

/// How far a work has come. Each part of it is a share of the whole, which its own parts divide
/// among themselves.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    state: Mutex<State>,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    done: f64,
    items: u64,
    what: &'static str,
}

/// How far it is at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The part that is done, from 0 to 1.
    pub done: f64,
    /// Items that were passed.
    pub items: u64,
    /// What is being done.
    pub what: String,
    /// Seconds since it began.
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
    /// Begins with what is called so.
    pub fn begin(&self, what: &'static str) {
        self.state.lock().what = what;
    }

    /// A share is done, in which there were so many items.
    pub fn add(&self, share: f64, items: u64) {
        let mut state = self.state.lock();
        state.done += share;
        state.items += items;
    }

    /// Adds one item.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the work is to end early.
    pub fn count(&self) -> Result<(), Error> {
        self.add(0.0, 1);
        if self.is_stopped() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// Nobody waits for it any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end early.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Does a work, and tells meanwhile how far it is.
    pub fn watched<T>(
        &self,
        mut tell: impl FnMut(&Standing) + Send,
        work: impl FnOnce() -> T,
    ) -> T {
        std::thread::scope(|scope| {
            let (ended, ending) = channel::<()>();
            scope.spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = ending.recv_timeout(TOLD) {
                    tell(&self.standing());
                }
            });
            let done = work();
            drop(ended);
            done
        })
    }

    /// How far it is now.
    pub fn standing(&self) -> Standing {
        let state = self.state.lock();
        Standing {
            done: state.done.clamp(0.0, 1.0),
            items: state.items,
            what: state.what.to_owned(),
            seconds: self.began.elapsed().as_secs_f64(),
        }
    }
}

impl Standing {
    /// Items a second so far.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            let items = u32::try_from(self.items).unwrap_or(u32::MAX);
            f64::from(items) / self.seconds
        } else {
            0.0
        }
    }

    /// Seconds that are left, if it goes on as so far; nothing while that cannot be told.
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
        assert_eq!(progress.standing().seconds_left(), None);
        for _ in 0..4 {
            progress.add(0.25, 10);
        }
        let standing = progress.standing();
        assert_eq!((standing.items, &*standing.what), (40, "blobs"));
        assert!(standing.done > 0.99 && standing.seconds_left().unwrap() < 0.1);
    }
}
