//! Flushes: make committed batches durable, in order.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use super::inner::Inner;
use super::segment::Segment;
use super::segments::AppendError;
use crate::index::store::StoreError;

impl Inner {
    /// Makes everything up to a batch durable, together with later batches committed meanwhile.
    pub(super) fn flush(&self, target: u64) -> Result<(), StoreError> {
        let durable = || self.durable.load(Ordering::Acquire);
        if durable() >= target {
            return Ok(());
        }
        let batches = Cell::new(Vec::new());
        let begin = || {
            let mut state = self.state.write();
            batches.set(std::mem::take(&mut state.pending));
            state.last
        };
        let append = || self.append(batches.take());
        self.group_commit
            .flush_through(target, durable, begin, append)
    }

    /// Records a new segment in the superblock. If the base store cannot be written, the segment is
    /// used nevertheless: its content is safe, but its loss would not be noticed.
    pub(super) fn record_segment(&self, segment: &Segment) {
        if let Err(error) = self.superblock.record_segment(segment.number) {
            log::warn!("a segment of the journal is not recorded yet: {error}");
        }
    }

    /// Appends batches, which directly follow the last durable one, and flushes them.
    fn append(&self, mut batches: Vec<Vec<u8>>) -> Result<(), StoreError> {
        self.check_poison()?;
        let durable = self.durable.load(Ordering::Acquire);
        let made = |segment: &Segment| self.record_segment(segment);
        let (done, appended) = self.segments.lock().append(&batches, durable + 1, &made);
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.durable.store(durable + done as u64, Ordering::Release);
        match appended {
            Ok(()) => Ok(()),
            Err(AppendError::Failed(error)) => {
                Err(self.poison(format!("the journal was not written: {error}")))
            }
            Err(AppendError::NoRoom(error)) => {
                // They stay pending until the applier frees a segment, or space.
                let mut left = batches.split_off(done);
                let mut state = self.state.write();
                left.append(&mut state.pending);
                state.pending = left;
                Err(error.into())
            }
        }
    }
}
