//! Segments: preallocated, reusable files to which groups are appended.
//!
//! A segment is filled with zeros once and never grows, so that a flush writes data only. It starts
//! with a header, which is written first and never again. When everything in the segment is in the
//! base store, it is overwritten from behind the header.
//!
//! ```text
//! header   "RGS1" crc4 id8 number4, then zeros up to the first group
//! ```
//!
//! `crc4` is the CRC-32C of what follows it, `id8` the journal's id (`superblock.rs`), `number4`
//! the number in the file name. Segments of format 1 have no header; they get one when they are
//! used again.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::group::{self, ALIGNMENT};
use super::superblock::SegmentEntry;
use crate::dir::Dir;
use crate::index::durable_rename::durable_rename;

/// Size of a segment in bytes.
pub(super) const SEGMENT_BYTES: usize = 8 << 20;
/// Offset of the first group.
pub(super) const START: usize = ALIGNMENT;
const MAGIC: &[u8; 4] = b"RGS1";
/// Size of a header in bytes.
const HEADER: usize = 20;
/// Extensions of segments, and of segments under construction.
const SEGMENT: &str = "segment";
const UNFINISHED: &str = "new";
/// Zeros that are written at once to a new segment, in bytes.
const ZEROS: usize = 1 << 20;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The id of the journal.
    pub(super) id: u64,
    /// The number in the file name.
    pub(super) number: u32,
}

impl SegmentHeader {
    /// Reads the header of a segment; `None` if it has none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let (id, number) = bytes.get(8..)?.split_first_chunk()?;
        let header = Self {
            id: u64::from_be_bytes(*id),
            number: u32::from_be_bytes(number.try_into().ok()?),
        };
        (header.encode() == *bytes).then_some(header)
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let rest = [&self.id.to_be_bytes()[..], &self.number.to_be_bytes()].concat();
        let sum = crc32c::crc32c(&rest).to_be_bytes();
        [&MAGIC[..], &sum, &rest].concat()
    }
}

/// The file of a segment, and its used part.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    /// The number in the file name.
    pub(super) number: u32,
    position: usize,
    /// The numbers of the first batch, or 0, and of the last.
    begin: u64,
    last: u64,
}

impl Segment {
    fn new(file: File, number: u32) -> Self {
        let (position, begin, last) = (START, 0, 0);
        Self {
            file,
            number,
            position,
            begin,
            last,
        }
    }

    /// Makes the segment empty: the base store has its batches.
    fn reset(&mut self) {
        (self.position, self.begin, self.last) = (START, 0, 0);
    }
}

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

/// The segment files of a directory, each with the number in its name.
pub(super) fn files(dir: &Dir) -> io::Result<Vec<(PathBuf, Option<u32>)>> {
    let number = |name: &Path| name.file_stem()?.to_str()?.parse().ok();
    let names = files_with_extension(dir, SEGMENT)?.into_iter();
    // Another spelling of the number is another file.
    let own = |number: &u32, path: &Path| name(*number) == path;
    Ok(names
        .map(|path| {
            let number = number(&path).filter(|number| own(number, &path));
            (path, number)
        })
        .collect())
}

/// The names of the files with an extension.
fn files_with_extension(dir: &Dir, kind: &str) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for row in dir.entries()? {
        let name = PathBuf::from(row?.name);
        if name.extension().is_some_and(|extension| extension == kind) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The file name of a segment.
pub(super) fn name(number: u32) -> PathBuf {
    format!("{number:06}.{SEGMENT}").into()
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
        for plan in files_with_extension(dir, UNFINISHED)? {
            dir.remove_file(plan)?;
        }
        for (name, number) in files(dir)? {
            let Some(number) = number else { continue };
            segments.next = segments.next.max(number.saturating_add(1));
            let file = dir.open_file(&name, OFlags::RDWR, Mode::empty())?;
            if file.metadata()?.len() != size as u64 {
                log::warn!(
                    "{} is not used: it has the wrong length",
                    dir.shown(name).display()
                );
                continue;
            }
            let mut bytes = [0; HEADER];
            file.read_exact_at(&mut bytes, 0)?;
            let header = SegmentHeader { id, number };
            if SegmentHeader::read(&bytes) != Some(header) {
                file.write_all_at(&header.encode(), 0)?;
                file.sync_data()?;
            }
            segments.free.push(Segment::new(file, number));
        }
        if segments.free.is_empty() {
            let made = create(&segments.reserve())?;
            segments.free.push(made);
        }
        Ok(segments)
    }

    /// The superblock's entries for all segments when the base store has all batches up to
    /// `applied`.
    pub(super) fn entries(&self, applied: u64) -> Vec<SegmentEntry> {
        let all = self.full.iter().chain(&self.current).chain(&self.free);
        let entries = all.map(|segment| SegmentEntry {
            number: segment.number,
            begin: if segment.last > applied {
                segment.begin
            } else {
                0
            },
        });
        entries.collect()
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
        let size = self.size;
        let fits = |segment: &Segment| segment.position + group.len() <= size;
        if !self.current.as_ref().is_some_and(fits) {
            let free = self.take_free(made).map_err(AppendError::NoRoom)?;
            self.full.extend(self.current.replace(free));
        }
        let Some(segment) = &mut self.current else {
            return Ok(());
        };
        let write = || {
            segment.file.write_all_at(group, segment.position as u64)?;
            segment.file.sync_data()
        };
        write().map_err(AppendError::Failed)?;
        if segment.begin == 0 {
            segment.begin = first;
        }
        segment.position += group.len();
        segment.last = last;
        self.end = last;
        Ok(())
    }

    fn take_free(&mut self, made: &dyn Fn(&Segment)) -> io::Result<Segment> {
        if let Some(segment) = self.free.pop() {
            return Ok(segment);
        }
        let segment = create(&self.reserve())?;
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
            .is_some_and(|segment| segment.last <= applied)
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
            && segment.last <= applied
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

/// A segment to be created.
#[derive(Debug)]
pub(super) struct SegmentPlan {
    dir: Dir,
    size: usize,
    header: SegmentHeader,
}

/// Creates a segment, completely or not at all.
pub(super) fn create(plan: &SegmentPlan) -> io::Result<Segment> {
    let name = name(plan.header.number);
    let new = name.with_extension(UNFINISHED);
    fill(plan, &new, &name).inspect_err(|_| {
        // Frees its space for others.
        let _gone = plan.dir.remove_file(&new);
    })
}

fn fill(plan: &SegmentPlan, new: &Path, name: &Path) -> io::Result<Segment> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
    let file = plan.dir.open_file(new, flags, Mode::RUSR | Mode::WUSR)?;
    let zeros = vec![0; ZEROS];
    for start in (0..plan.size).step_by(ZEROS) {
        let part = zeros.get(..plan.size - start).unwrap_or(&zeros);
        file.write_all_at(part, start as u64)?;
    }
    file.write_all_at(&plan.header.encode(), 0)?;
    file.sync_all()?;
    durable_rename(&plan.dir, new, name)?;
    Ok(Segment::new(file, plan.header.number))
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
        let size = self.size;
        let fits = |segment: &Segment| segment.position + group.len() <= size;
        if !self.current.as_ref().is_some_and(fits) {
            let free = self.take_free(made).unwrap();
            self.full.extend(self.current.replace(free));
        }
        let segment = self.current.as_ref().unwrap();
        for (number, sector) in group.chunks(512).enumerate() {
            if written(number) {
                let at = segment.position + number * 512;
                segment.file.write_all_at(sector, at as u64).unwrap();
            }
        }
    }

    /// Makes the next append fail.
    pub(super) fn break_for_test(&mut self, path: &Path) {
        let file = File::open(path).unwrap();
        self.current = Some(Segment::new(file, 0));
    }
}
