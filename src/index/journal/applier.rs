//! The applier: moves the overlay into the base store, and flushes commits that nobody syncs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::base_store::changes;
use super::inner::Inner;
use super::overlay::Layer;
use super::segment;
use crate::index::store::StoreError;

/// Longest time that a commit stays volatile if nobody syncs it.
const FLUSHED_WITHIN: Duration = Duration::from_millis(100);
/// Longest time that a commit stays in the overlay only.
const APPLIED_WITHIN: Duration = Duration::from_secs(1);
/// Delay before the applier tries again after a failure.
const RETRY: Duration = Duration::from_secs(1);

impl Inner {
    /// The applier's thread.
    pub(super) fn apply_until_stopped(&self) {
        // A layer that could not be applied stays frozen and is tried again.
        let mut left: Option<(Arc<Layer>, u64)> = None;
        loop {
            let stop = self.wait_for_work();
            let last = self.state.read().last;
            if let Err(error) = self.flush(last) {
                log::debug!("applier: {error}");
                if self.check_poison().is_err() {
                    // The next opening applies what is in the segments.
                    return;
                }
                // Without a segment to write to, applying to the base store makes the commits
                // durable as well.
            }
            match self.apply_pending(left.take(), stop) {
                Ok(()) => *self.apply_error.write() = None,
                Err((error, frozen)) => {
                    if self.apply_error.write().replace(error.clone()).is_none() {
                        log::error!("the journal cannot be applied to the index: {error}");
                    }
                    left = Some(frozen);
                    if !stop {
                        self.pause();
                    }
                }
            }
            self.wakeup.notify_all();
            if stop {
                return;
            }
            if let Err(error) = self.ensure_spare() {
                log::warn!("the journal has no spare segment: {error}");
            }
        }
    }

    /// Waits until something must be applied, and flushes what must be durable before that. Returns
    /// `true` if the applier is to stop.
    fn wait_for_work(&self) -> bool {
        let mut signal = self.signal.lock();
        while !signal.committed && !signal.stop {
            self.wakeup.wait(&mut signal);
        }
        let (since, mut flushed) = (Instant::now(), false);
        while !signal.full && !signal.stop {
            let until = if flushed {
                APPLIED_WITHIN
            } else {
                FLUSHED_WITHIN
            };
            let left = until.saturating_sub(since.elapsed());
            if !left.is_zero() {
                self.wakeup.wait_for(&mut signal, left);
                continue;
            }
            if flushed {
                break;
            }
            flushed = true;
            drop(signal);
            let last = self.state.read().last;
            // A failure poisons the store, which the caller checks.
            let _poisoned = self.flush(last);
            signal = self.signal.lock();
        }
        (signal.committed, signal.full) = (false, false);
        signal.stop
    }

    fn pause(&self) {
        let mut signal = self.signal.lock();
        signal.committed = true;
        if !signal.stop {
            self.wakeup.wait_for(&mut signal, RETRY);
        }
    }

    /// Applies a layer whose last attempt failed, then the overlay. With `end` it also records that
    /// the store was closed cleanly.
    fn apply_pending(
        &self,
        left: Option<(Arc<Layer>, u64)>,
        end: bool,
    ) -> Result<(), (StoreError, (Arc<Layer>, u64))> {
        let again = left.is_some();
        let (layer, last) = left.unwrap_or_else(|| {
            let mut state = self.state.write();
            (state.overlay.freeze(), state.last)
        });
        if layer.is_empty() && !end {
            return Ok(());
        }
        let applied = self.base.recover().and_then(|()| {
            let segments = self.segments.lock();
            let (entries, durable) = (segments.entries(last), segments.required());
            drop(segments);
            self.superblock.commit(changes(&layer), |superblock| {
                (superblock.applied, superblock.durable) = (last, durable);
                (superblock.segments, superblock.closed) = (entries, end && !again);
            })
        });
        if let Err(error) = applied {
            return Err((error, (layer, last)));
        }
        self.state.write().overlay.drop_frozen();
        // It is durable in the base store now, whether or not it was in a segment.
        self.segments.lock().release(last);
        if again {
            self.apply_pending(None, end)
        } else {
            Ok(())
        }
    }

    /// Creates a spare segment, so that no flush waits for it.
    fn ensure_spare(&self) -> std::io::Result<()> {
        let wanted = self.segments.lock().plan_spare();
        if let Some(plan) = wanted {
            let made = segment::create(&plan)?;
            self.record_segment(&made);
            self.segments.lock().add_free(made);
        }
        Ok(())
    }
}
