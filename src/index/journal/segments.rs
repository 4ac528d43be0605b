//! The segments of an open journal: which one is appended to, which are full, and which are free.

use std::collections::VecDeque;
use std::io;

use super::group;
use super::segment::{self, START, Segment, SegmentHeader, SegmentPlan};
use super::superblock::SegmentEntry;
use crate::dir::Dir;

/// The segments of an open journal.
#[derive(Debug)]
pub(super) struct Segments {
    dir: Dir,
    /// The id of the journal, and the current epoch.
    id: u64,
    epoch: u64,
    /// Size of a segment in bytes.
    size: usize,
    /// The last durable batch, or 0.
    end: u64,
    /// The segment that is appended to, if any.
    current: Option<Segment>,
    /// Full segments, the oldest first.
    full: VecDeque<Segment>,
    /// Empty segments.
    free: Vec<Segment>,
    /// The number of the next new file.
    next: u32,
}

/// Why batches were not appended.
#[derive(Debug)]
pub(super) enum AppendError {
    /// There is no segment for them; nothing was written.
    NoRoom(io::Error),
    /// A write or flush failed; it is unknown what the disk has stored.
    Failed(io::Error),
}

impl Segments {
    /// Opens the segments of `size` bytes in a directory. Nothing in them is needed any more. Files
    /// of another size are ignored.
    pub(super) fn open(dir: &Dir, id: u64, epoch: u64, size: usize) -> io::Result<Self> {
        let mut segments = Self {
            dir: dir.clone(),
            id,
            epoch,
            size,
            end: 0,
            current: None,
            full: VecDeque::new(),
            free: Vec::new(),
            next: 0,
        };
        segment::remove_unfinished(dir)?;
        for (name, number) in segment::files(dir)? {
            let Some(number) = number else { continue };
            segments.next = segments.next.max(number.saturating_add(1));
            let header = SegmentHeader { id, number };
            match Segment::open(dir, &name, header, size)? {
                Some(segment) => segments.free.push(segment),
                None => log::warn!(
                    "{} is not used: it has the wrong length",
                    dir.shown(name).display()
                ),
            }
        }
        if segments.free.is_empty() {
            let made = segment::create(&segments.reserve())?;
            segments.free.push(made);
        }
        Ok(segments)
    }

    /// The superblock's entries for all segments when the base store has all batches up to
    /// `applied`.
    pub(super) fn entries(&self, applied: u64) -> Vec<SegmentEntry> {
        let all = self.full.iter().chain(&self.current).chain(&self.free);
        all.map(|segment| segment.entry(applied)).collect()
    }

    /// The batch that a later opening must find in the segments of this epoch. It is 0 if there is
    /// none, or if there is only one segment, which is overwritten once the base store has
    /// everything in it.
    pub(super) fn required(&self) -> u64 {
        let single = self.full.is_empty() && self.free.is_empty();
        if single { 0 } else { self.end }
    }

    /// Appends batches, of which the first is number `first`, and makes them durable. Returns how
    /// many are durable, and the error that stopped the rest. `made` is called with each segment
    /// that had to be created, before it is used.
    pub(super) fn append(
        &mut self,
        batches: &[Vec<u8>],
        first: u64,
        made: &dyn Fn(&Segment),
    ) -> (usize, Result<(), AppendError>) {
        let mut rest = batches;
        let mut done = 0;
        while !rest.is_empty() {
            let mut len = 0;
            let fitting = rest.iter().take_while(|batch| {
                len += batch.len();
                group::group_len(len) <= self.size - START
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            let first = first + done as u64;
            let group = group::encode_group(now, first, self.epoch, self.id);
            if let Err(why) = self.append_group(&group, first, first + now.len() as u64 - 1, made) {
                return (done, Err(why));
            }
            done += now.len();
            rest = later;
        }
        (done, Ok(()))
    }

    fn append_group(
        &mut self,
        group: &[u8],
        first: u64,
        last: u64,
        made: &dyn Fn(&Segment),
    ) -> Result<(), AppendError> {
        let fits = |segment: &Segment| segment.fits(group.len(), self.size);
        if !self.current.as_ref().is_some_and(fits) {
            let free = self.take_free(made).map_err(AppendError::NoRoom)?;
            self.full.extend(self.current.replace(free));
        }
        let Some(segment) = &mut self.current else {
            return Ok(());
        };
        let appended = segment.append(group, first, last);
        appended.map_err(AppendError::Failed)?;
        self.end = last;
        Ok(())
    }

    fn take_free(&mut self, made: &dyn Fn(&Segment)) -> io::Result<Segment> {
        if let Some(segment) = self.free.pop() {
            return Ok(segment);
        }
        let segment = segment::create(&self.reserve())?;
        made(&segment);
        Ok(segment)
    }

    /// Plans a segment with an unused number.
    fn reserve(&mut self) -> SegmentPlan {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        SegmentPlan {
            dir: self.dir.clone(),
            size: self.size,
            header: SegmentHeader {
                id: self.id,
                number,
            },
        }
    }

    /// Frees the segments whose batches are in the base store, which has all up to `applied`.
    pub(super) fn release(&mut self, applied: u64) {
        while self
            .full
            .front()
            .is_some_and(|segment| segment.is_applied(applied))
        {
            if let Some(mut segment) = self.full.pop_front() {
                segment.reset();
                self.free.push(segment);
            }
        }
        // The current segment starts anew if there is no other.
        if self.full.is_empty()
            && self.free.is_empty()
            && let Some(segment) = &mut self.current
            && segment.is_applied(applied)
        {
            segment.reset();
        }
    }

    /// Plans a spare segment, if there is none.
    pub(super) fn plan_spare(&mut self) -> Option<SegmentPlan> {
        self.free.is_empty().then(|| self.reserve())
    }

    /// Adds a segment that was created.
    pub(super) fn add_free(&mut self, segment: Segment) {
        self.free.push(segment);
    }
}

#[cfg(test)]
impl Segments {
    /// Writes some sectors of a group, as a power cut leaves them.
    pub(super) fn tear_for_test(
        &mut self,
        batches: &[Vec<u8>],
        first: u64,
        made: &dyn Fn(&Segment),
        written: &dyn Fn(usize) -> bool,
    ) {
        let group = group::encode_group(batches, first, self.epoch, self.id);
        let fits = |segment: &Segment| segment.fits(group.len(), self.size);
        if !self.current.as_ref().is_some_and(fits) {
            let free = self.take_free(made).unwrap();
            self.full.extend(self.current.replace(free));
        }
        self.current.as_ref().unwrap().tear(&group, written);
    }

    /// Makes the next append fail.
    pub(super) fn break_for_test(&mut self, path: &std::path::Path) {
        let file = std::fs::File::open(path).unwrap();
        self.current = Some(Segment::new(file, 0));
    }
}
