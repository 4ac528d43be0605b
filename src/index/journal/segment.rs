//! Segments: the files that groups are appended to, preallocated and used again.
//!
//! A segment is filled with zeros once and never grows, so that a flush writes data only. It
//! begins with a header, which is written before anything else and never again, and is used
//! again from behind that when everything in it is in the store below.
//!
//! ```text
//! header   "RGS1" crc4 id8 number4, then zeros up to the first group
//! ```
//!
//! `crc4` is the CRC-32C of what follows it, `id8` the journal's (`superblock.rs`), `number4` that of
//! the name. Segments of format 1 have no header; they get one when they are used again.

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

/// Bytes of a segment.
pub(super) const SEGMENT_BYTES: usize = 8 << 20;
/// Where its first group begins.
pub(super) const START: usize = ALIGNMENT;
const MAGIC: &[u8; 4] = b"RGS1";
/// Bytes of a header.
const HEADER: usize = 20;
/// What the names of segments end with, and those of what is not one yet.
const SEGMENT: &str = "segment";
const UNMADE: &str = "new";
/// Zeros that are written at once to a new segment.
const ZEROS: usize = 1 << 20;

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The journal's.
    pub(super) id: u64,
    /// The number in the name.
    pub(super) number: u32,
}

impl SegmentHeader {
    /// The header of a segment; nothing if it has none.
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

/// A segment's file and how far it is used.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    /// The number in its name.
    pub(super) number: u32,
    position: usize,
    /// The numbers of the first batch in it, or 0, and of the last.
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

    /// Nothing of what is in it is needed any more.
    fn reset(&mut self) {
        (self.position, self.begin, self.last) = (START, 0, 0);
    }
}

/// The segments of a journal that is open.
#[derive(Debug)]
pub(super) struct Segments {
    dir: Dir,
    /// The journal's, and the epoch of what is written.
    id: u64,
    epoch: u64,
    /// Bytes of a segment.
    size: usize,
    /// The last batch that was made durable, or 0.
    end: u64,
    /// The one that is written to, if there is one.
    current: Option<Segment>,
    /// Those that are full, the oldest first.
    full: VecDeque<Segment>,
    /// Those that nothing is in.
    free: Vec<Segment>,
    /// The number in the name of the next file.
    next: u32,
}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum AppendError {
    /// There was no segment for it; the disk was not asked to keep anything.
    NoRoom(io::Error),
    /// Nobody knows what the disk has kept of it.
    Failed(io::Error),
}

/// The files of segments in a directory, with the number that each name says.
pub(super) fn files(dir: &Dir) -> io::Result<Vec<(PathBuf, Option<u32>)>> {
    let number = |name: &Path| name.file_stem()?.to_str()?.parse().ok();
    let names = named(dir, SEGMENT)?.into_iter();
    // Another spelling of a number is another file.
    let own = |number: &u32, path: &Path| name(*number) == path;
    Ok(names
        .map(|path| {
            let number = number(&path).filter(|number| own(number, &path));
            (path, number)
        })
        .collect())
}

/// The names of the files of one kind.
fn named(dir: &Dir, kind: &str) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for row in dir.entries()? {
        let name = PathBuf::from(row?.name);
        if name.extension().is_some_and(|extension| extension == kind) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The file of a segment.
pub(super) fn name(number: u32) -> PathBuf {
    format!("{number:06}.{SEGMENT}").into()
}

impl Segments {
    /// Opens a directory of segments of `size` bytes, of which nothing is needed any more. What has not the
    /// length of a segment is left alone.
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
        for unmade in named(dir, UNMADE)? {
            dir.remove_file(unmade)?;
        }
        for (name, number) in files(dir)? {
            let Some(number) = number else { continue };
            segments.next = segments.next.max(number.saturating_add(1));
            let file = dir.open_file(&name, OFlags::RDWR, Mode::empty())?;
            if file.metadata()?.len() != size as u64 {
                log::warn!("{} is not used: its length", dir.shown(name).display());
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
            let made = make(&segments.reserve())?;
            segments.free.push(made);
        }
        Ok(segments)
    }

    /// Every segment, as the ledger has it when batch `applied` is in the store below.
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

    /// The last batch that is durable in segments of this epoch and that they must reach from
    /// now on; 0 if there is none, or no second segment, so that the only one is written over
    /// once all of it is below.
    pub(super) fn reached(&self) -> u64 {
        let single = self.full.is_empty() && self.free.is_empty();
        if single { 0 } else { self.end }
    }

    /// Appends batches, of which the first has this number, and makes them durable. Gives how
    /// many, and why not all. `made` hears of a segment that had to be made, before it is used.
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
        let segment = make(&self.reserve())?;
        made(&segment);
        Ok(segment)
    }

    /// A segment to make, of a number that nobody else takes.
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

    /// Everything up to batch `applied` is in the store below: what held it is free again.
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
        // The one that is written to begins anew where there is no other.
        if self.full.is_empty()
            && self.free.is_empty()
            && let Some(segment) = &mut self.current
            && segment.last <= applied
        {
            segment.reset();
        }
    }

    /// The segment that should be made before it is needed, if there is no spare.
    pub(super) fn wants(&mut self) -> Option<SegmentPlan> {
        self.free.is_empty().then(|| self.reserve())
    }

    /// Takes a segment that was made.
    pub(super) fn take(&mut self, segment: Segment) {
        self.free.push(segment);
    }
}

/// A segment that is to be made.
#[derive(Debug)]
pub(super) struct SegmentPlan {
    dir: Dir,
    size: usize,
    header: SegmentHeader,
}

/// Makes a segment: whole, or not at all.
pub(super) fn make(unmade: &SegmentPlan) -> io::Result<Segment> {
    let name = name(unmade.header.number);
    let new = name.with_extension(UNMADE);
    make_as(unmade, &new, &name).inspect_err(|_| {
        // What it takes others need now.
        let _gone = unmade.dir.remove_file(&new);
    })
}

fn make_as(unmade: &SegmentPlan, new: &Path, name: &Path) -> io::Result<Segment> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
    let file = unmade.dir.open_file(new, flags, Mode::RUSR | Mode::WUSR)?;
    let zeros = vec![0; ZEROS];
    for start in (0..unmade.size).step_by(ZEROS) {
        let part = zeros.get(..unmade.size - start).unwrap_or(&zeros);
        file.write_all_at(part, start as u64)?;
    }
    file.write_all_at(&unmade.header.encode(), 0)?;
    file.sync_all()?;
    durable_rename(&unmade.dir, new, name)?;
    Ok(Segment::new(file, unmade.header.number))
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
