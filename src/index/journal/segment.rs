//! Segments: the files that groups are appended to, preallocated and used again.
//!
//! A segment is filled with zeros once and never grows, so that a flush writes data only. It is
//! used again from its beginning when everything in it is in the store below.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::record::{self, ALIGNMENT, Group};
use crate::dir::Dir;
use crate::index::placing::place;
use crate::index::store::Change;

/// Bytes of a segment.
pub(super) const SEGMENT_BYTES: usize = 8 << 20;
/// What the names of segments end with, and those of what is not one yet.
const SEGMENT: &str = "segment";
const UNMADE: &str = "new";
/// Zeros that are written at once to a new segment.
const ZEROS: usize = 1 << 20;

/// A segment's file and how far it is used.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    position: usize,
    /// The number of the last batch in it.
    last: u64,
}

impl Segment {
    fn new(file: File) -> Self {
        let (position, last) = (0, 0);
        Self {
            file,
            position,
            last,
        }
    }
}

/// The segments of a journal that is open.
#[derive(Debug)]
pub(super) struct Segments {
    dir: Dir,
    epoch: u64,
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
pub(super) enum Unwritten {
    /// There was no segment for it; the disk was not asked to keep anything.
    NoRoom(io::Error),
    /// Nobody knows what the disk has kept of it.
    Failed(io::Error),
}

/// What was found in a directory of segments.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Changes in their order, without a gap, from the first that was asked for.
    pub(super) changes: Vec<Change>,
    /// The number of the last batch.
    pub(super) last: u64,
    /// Where something is damaged, though what was written after it is not.
    pub(super) damaged: Option<String>,
}

/// The names of the files of one kind, in their order.
fn files(dir: &Dir, kind: &str) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for row in dir.entries()? {
        let name = PathBuf::from(row?.name);
        if name.extension().is_some_and(|extension| extension == kind) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What is in a file.
fn read(dir: &Dir, name: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = dir.open_file(name, OFlags::RDONLY, Mode::empty())?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads what was written in an epoch behind batch `applied`.
pub(super) fn find(dir: &Dir, applied: u64, epoch: u64) -> io::Result<Found> {
    let mut contents = Vec::new();
    for name in files(dir, SEGMENT)? {
        contents.push((read(dir, &name)?, name));
    }
    let mut found = Found {
        last: applied,
        ..Found::default()
    };
    let mut beyond = None;
    let mut groups = Vec::new();
    for (bytes, name) in &contents {
        let chain = chain(bytes, epoch);
        let last = chain.last().map_or(applied, Group::last).max(applied);
        if let Some(place) = written_beyond(bytes, &chain, last, epoch) {
            beyond = Some(format!("{} before {place}", dir.shown(name).display()));
        }
        groups.extend(chain.into_iter().filter(|group| group.last() > applied));
    }
    groups.sort_by_key(|group| group.first);
    for group in groups {
        // One that begins below may end above: it is applied again as a whole, in its order.
        let changes = (group.first <= found.last + 1).then(|| group.changes());
        let Some(Some(mut changes)) = changes else {
            found.damaged = Some(format!("batch {} is missing", found.last + 1));
            return Ok(found);
        };
        found.last = group.last();
        found.changes.append(&mut changes);
    }
    found.damaged = beyond;
    Ok(found)
}

/// The groups that follow each other from the beginning of a segment.
fn chain(bytes: &[u8], epoch: u64) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut rest = bytes;
    while let Some(group) = Group::read(rest, epoch) {
        if groups
            .last()
            .is_some_and(|before| group.first != before.last() + 1)
        {
            break;
        }
        rest = rest.get(group.len()..).unwrap_or_default();
        groups.push(group);
    }
    groups
}

/// Where a whole group lies behind the end of a chain that is newer than it: between them
/// something is damaged that had been whole.
fn written_beyond(bytes: &[u8], chain: &[Group<'_>], last: u64, epoch: u64) -> Option<usize> {
    let end: usize = chain.iter().map(Group::len).sum();
    let mut places = (end..bytes.len()).step_by(ALIGNMENT);
    places.find(|place| {
        let group = bytes
            .get(*place..)
            .and_then(|rest| Group::read(rest, epoch));
        group.is_some_and(|group| group.first > last)
    })
}

impl Segments {
    /// Opens a directory of segments, of which nothing is needed any more.
    pub(super) fn open(dir: &Dir, epoch: u64) -> io::Result<Self> {
        let mut segments = Self {
            dir: dir.clone(),
            epoch,
            current: None,
            full: VecDeque::new(),
            free: Vec::new(),
            next: 0,
        };
        for unmade in files(dir, UNMADE)? {
            dir.remove_file(unmade)?;
        }
        for path in files(dir, SEGMENT)? {
            let file = dir.open_file(&path, OFlags::RDWR, Mode::empty())?;
            if file.metadata()?.len() != SEGMENT_BYTES as u64 {
                // Its making was cut off, or somebody has changed it.
                dir.remove_file(&path)?;
                continue;
            }
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            segments.next = segments
                .next
                .max(number.map_or(0, |number: u32| number + 1));
            segments.free.push(Segment::new(file));
        }
        if segments.free.is_empty() {
            let name = segments.reserve();
            segments.free.push(make(dir, &name)?);
        }
        Ok(segments)
    }

    /// Appends batches, of which the first has this number, and makes them durable. Gives how
    /// many, and why not all.
    pub(super) fn append(
        &mut self,
        batches: &[Vec<u8>],
        first: u64,
    ) -> (usize, Result<(), Unwritten>) {
        let mut rest = batches;
        let mut done = 0;
        while !rest.is_empty() {
            let mut len = 0;
            let fitting = rest.iter().take_while(|batch| {
                len += batch.len();
                record::group_len(len) <= SEGMENT_BYTES
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            let first = first + done as u64;
            let group = record::group(now, first, self.epoch);
            if let Err(why) = self.append_group(&group, first + now.len() as u64 - 1) {
                return (done, Err(why));
            }
            done += now.len();
            rest = later;
        }
        (done, Ok(()))
    }

    fn append_group(&mut self, group: &[u8], last: u64) -> Result<(), Unwritten> {
        let fits = |segment: &Segment| segment.position + group.len() <= SEGMENT_BYTES;
        if !self.current.as_ref().is_some_and(fits) {
            let free = self.take_free().map_err(Unwritten::NoRoom)?;
            self.full.extend(self.current.replace(free));
        }
        let Some(segment) = &mut self.current else {
            return Ok(());
        };
        let write = || {
            segment.file.write_all_at(group, segment.position as u64)?;
            segment.file.sync_data()
        };
        write().map_err(Unwritten::Failed)?;
        segment.position += group.len();
        segment.last = last;
        Ok(())
    }

    fn take_free(&mut self) -> io::Result<Segment> {
        if let Some(segment) = self.free.pop() {
            return Ok(segment);
        }
        let name = self.reserve();
        make(&self.dir, &name)
    }

    /// The name of a file that nobody else makes.
    fn reserve(&mut self) -> PathBuf {
        let name = format!("{:06}.{SEGMENT}", self.next).into();
        self.next += 1;
        name
    }

    /// Everything up to batch `applied` is in the store below: what held it is free again.
    pub(super) fn release(&mut self, applied: u64) {
        while self
            .full
            .front()
            .is_some_and(|segment| segment.last <= applied)
        {
            if let Some(mut segment) = self.full.pop_front() {
                segment.position = 0;
                self.free.push(segment);
            }
        }
        // The one that is written to begins anew where there is no other.
        if self.full.is_empty()
            && self.free.is_empty()
            && let Some(segment) = &mut self.current
            && segment.last <= applied
        {
            segment.position = 0;
        }
    }

    /// The name of the segment that should be made before it is needed, if there is no spare.
    pub(super) fn wants(&mut self) -> Option<(Dir, PathBuf)> {
        self.free
            .is_empty()
            .then(|| (self.dir.clone(), self.reserve()))
    }

    /// Takes a segment that was made.
    pub(super) fn take(&mut self, segment: Segment) {
        self.free.push(segment);
    }
}

/// Makes a segment: whole, or not at all.
pub(super) fn make(dir: &Dir, name: &Path) -> io::Result<Segment> {
    let new = name.with_extension(UNMADE);
    make_as(dir, &new, name).inspect_err(|_| {
        // What it takes others need now.
        let _gone = dir.remove_file(&new);
    })
}

fn make_as(dir: &Dir, new: &Path, name: &Path) -> io::Result<Segment> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
    let file = dir.open_file(new, flags, Mode::RUSR | Mode::WUSR)?;
    let zeros = vec![0; ZEROS];
    for start in (0..SEGMENT_BYTES).step_by(ZEROS) {
        file.write_all_at(&zeros, start as u64)?;
    }
    file.sync_all()?;
    place(dir, new, name)?;
    Ok(Segment::new(file))
}

#[cfg(test)]
impl Segments {
    /// Makes the next append fail.
    pub(super) fn break_for_test(&mut self, path: &Path) {
        let file = File::open(path).unwrap();
        self.current = Some(Segment::new(file));
    }
}
