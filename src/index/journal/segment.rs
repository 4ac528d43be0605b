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

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::group::ALIGNMENT;
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
    pub(super) fn new(file: File, number: u32) -> Self {
        let (position, begin, last) = (START, 0, 0);
        Self {
            file,
            number,
            position,
            begin,
            last,
        }
    }

    /// Opens a segment of `size` bytes whose content is not needed, and gives it the header of this
    /// journal. Returns `None` if the file has another size.
    pub(super) fn open(
        dir: &Dir,
        name: &Path,
        header: SegmentHeader,
        size: usize,
    ) -> io::Result<Option<Self>> {
        let file = dir.open_file(name, OFlags::RDWR, Mode::empty())?;
        if file.metadata()?.len() != size as u64 {
            return Ok(None);
        }
        let mut bytes = [0; HEADER];
        file.read_exact_at(&mut bytes, 0)?;
        if SegmentHeader::read(&bytes) != Some(header) {
            file.write_all_at(&header.encode(), 0)?;
            file.sync_data()?;
        }
        Ok(Some(Self::new(file, header.number)))
    }

    /// Returns `true` if a group of `len` bytes fits into a segment of `size` bytes.
    pub(super) fn fits(&self, len: usize, size: usize) -> bool {
        self.position + len <= size
    }

    /// Appends a group with the batches from `first` to `last`, and makes it durable.
    pub(super) fn append(&mut self, group: &[u8], first: u64, last: u64) -> io::Result<()> {
        self.file.write_all_at(group, self.position as u64)?;
        self.file.sync_data()?;
        if self.begin == 0 {
            self.begin = first;
        }
        self.position += group.len();
        self.last = last;
        Ok(())
    }

    /// Returns `true` if all batches in it are in the base store, which has all up to `applied`.
    pub(super) fn is_applied(&self, applied: u64) -> bool {
        self.last <= applied
    }

    /// The superblock's entry when the base store has all batches up to `applied`.
    pub(super) fn entry(&self, applied: u64) -> SegmentEntry {
        let begin = if self.is_applied(applied) {
            0
        } else {
            self.begin
        };
        SegmentEntry {
            number: self.number,
            begin,
        }
    }

    /// Makes the segment empty: the base store has its batches.
    pub(super) fn reset(&mut self) {
        (self.position, self.begin, self.last) = (START, 0, 0);
    }

    /// Writes some sectors of a group, as a power cut leaves them.
    #[cfg(test)]
    pub(super) fn tear(&self, group: &[u8], written: &dyn Fn(usize) -> bool) {
        for (number, sector) in group.chunks(512).enumerate() {
            if written(number) {
                let at = self.position + number * 512;
                self.file.write_all_at(sector, at as u64).unwrap();
            }
        }
    }
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

/// Removes the files of segments whose creation was interrupted.
pub(super) fn remove_unfinished(dir: &Dir) -> io::Result<()> {
    let mut names = files_with_extension(dir, UNFINISHED)?.into_iter();
    names.try_for_each(|name| dir.remove_file(name))
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

/// A segment to be created.
#[derive(Debug)]
pub(super) struct SegmentPlan {
    pub(super) dir: Dir,
    pub(super) size: usize,
    pub(super) header: SegmentHeader,
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
