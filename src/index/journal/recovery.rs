//! Recovery: reads the batches that the base store lacks, and checks that none is missing.
//!
//! Preallocated zeros, remains of an earlier epoch and a torn last group are no damage: a kill or a
//! power cut leaves them. It only reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::damage::{JournalDamage, JournalFault, JournalFaultKind};
use super::group::{ALIGNMENT, Group};
use super::segment::{self, START, SegmentHeader};
use super::superblock::Superblock;
use crate::dir::Dir;
use crate::index::store::WriteOp;

/// Bytes that are read at once: an unreadable sector loses this many.
const READ_BYTES: usize = 4 * ALIGNMENT;

/// The content of a journal.
#[derive(Debug, Default)]
pub(super) struct JournalContents {
    /// Changes in order, without a gap, from the first that the base store lacks.
    pub(super) changes: Vec<WriteOp>,
    /// The number of the last batch.
    pub(super) last: u64,
    /// The newest epoch of any group.
    pub(super) epoch: u64,
    /// Segments in the superblock that match their entries.
    pub(super) intact: Vec<u32>,
    /// The damage, if any.
    pub(super) damage: Option<JournalDamage>,
}

/// A group that the base store lacks.
struct UnappliedGroup {
    first: u64,
    last: u64,
    changes: Option<Vec<WriteOp>>,
}

/// A scan of a journal.
struct JournalScan<'a> {
    dir: &'a Dir,
    superblock: &'a Superblock,
    /// Size of a segment in bytes.
    size: usize,
    needed: Vec<UnappliedGroup>,
    /// The last batch of any group of this epoch.
    end: u64,
    /// Intact groups after damage.
    unapplied_groups: u64,
    found: JournalContents,
    faults: Vec<JournalFault>,
}

/// Reads the batches that the base store lacks, from segments of `size` bytes. Nothing is needed of
/// a journal that was closed cleanly.
pub(super) fn find(dir: &Dir, superblock: &Superblock, size: usize) -> io::Result<JournalContents> {
    let mut search = JournalScan {
        dir,
        superblock,
        size,
        needed: Vec::new(),
        end: 0,
        unapplied_groups: 0,
        found: JournalContents {
            last: superblock.applied,
            epoch: superblock.epoch,
            ..JournalContents::default()
        },
        faults: Vec::new(),
    };
    let files: BTreeMap<PathBuf, Option<u32>> = segment::files(dir)?.into_iter().collect();
    for (name, number) in &files {
        search.file(name, *number)?;
    }
    if !superblock.closed {
        for one in &superblock.segments {
            if !files.values().any(|number| *number == Some(one.number)) {
                search.missing(one.number, one.begin);
            }
        }
    }
    search.replay();
    search.conclude();
    Ok(search.found)
}

impl JournalScan<'_> {
    fn fault(&mut self, kind: JournalFaultKind, name: impl AsRef<Path>, detail: String) {
        let path = self.dir.shown(name).display().to_string();
        self.faults.push(JournalFault { kind, path, detail });
    }

    /// Describes which commits were in a segment.
    fn describe_content(begin: u64) -> String {
        match begin {
            0 => "it may have held the newest commits".into(),
            begin => format!("it held commits from {begin} on"),
        }
    }

    fn missing(&mut self, number: u32, begin: u64) {
        let detail = format!("the segment is missing; {}", Self::describe_content(begin));
        let name = segment::name(number);
        self.fault(JournalFaultKind::SegmentMissing, name, detail);
    }

    /// Scans one file.
    fn file(&mut self, name: &Path, number: Option<u32>) -> io::Result<()> {
        let file = self.dir.open_file(name, OFlags::RDONLY, Mode::empty())?;
        let len = file.metadata()?.len();
        let bytes = self.read(name, &file, len);
        let entries = self.superblock.segments.iter().copied();
        let entries = entries.into_iter().find(|one| Some(one.number) == number);
        let whole = len == self.size as u64;
        let header = SegmentHeader::read(&bytes);
        // Segments of format 1 have no entries: any of them may have been in use.
        let in_use = entries.is_some() || self.superblock.id.is_none();
        if in_use && !whole && !self.superblock.closed {
            let held = Self::describe_content(entries.map_or(0, |one| one.begin));
            let detail = format!(
                "the segment has {len} bytes instead of {}; {held}",
                self.size
            );
            self.fault(JournalFaultKind::SegmentDamaged, name, detail);
        }
        if let Some(entries) = entries.filter(|_| whole) {
            let expected = SegmentHeader {
                id: self.superblock.id.unwrap_or_default(),
                number: entries.number,
            };
            match header {
                Some(header) if header == expected => self.found.intact.push(entries.number),
                Some(_) if !self.superblock.closed => {
                    let detail = "the segment belongs to another journal".into();
                    self.fault(JournalFaultKind::ForeignJournal, name, detail);
                }
                None if !self.superblock.closed => {
                    let held = Self::describe_content(entries.begin);
                    let detail = format!("the header of the segment is unreadable; {held}");
                    self.fault(JournalFaultKind::SegmentDamaged, name, detail);
                }
                Some(_) | None => {}
            }
        }
        self.groups(name, &bytes, header);
        Ok(())
    }

    /// Reads a file. Unreadable parts are a fault, and zeros in the result.
    fn read(&mut self, name: &Path, file: &File, len: u64) -> Vec<u8> {
        // A longer file is not a segment of this journal.
        let len = usize::try_from(len).map_or(self.size, |len| len.min(self.size));
        let mut bytes = vec![0; len];
        let mut failed = None;
        for (number, part) in bytes.chunks_mut(READ_BYTES).enumerate() {
            if let Err(error) = file.read_exact_at(part, (number * READ_BYTES) as u64) {
                part.fill(0);
                failed.get_or_insert(error);
            }
        }
        if let Some(error) = failed.filter(|_| !self.superblock.closed) {
            let detail = format!("the segment cannot be read: {error}");
            self.fault(JournalFaultKind::SegmentDamaged, name, detail);
        }
        bytes
    }

    /// Collects the needed groups of a file, and checks the rest of it.
    fn groups(&mut self, name: &Path, bytes: &[u8], header: Option<SegmentHeader>) {
        let old = self.superblock.id.is_none();
        let start = if old { 0 } else { START };
        self.check_foreign(name, bytes, header);
        let ours = |group: &Group<'_>| group.id == self.superblock.id;
        let at = |place: usize| bytes.get(place..).and_then(Group::read).filter(ours);
        let (mut place, mut last, mut newest) = (start, None, 0);
        let mut groups = Vec::new();
        while let Some(group) = at(place).filter(|group| group.epoch == self.superblock.epoch) {
            if last.is_some_and(|last| group.first != last + 1) {
                break;
            }
            (place, last) = (place + group.len(), Some(group.last()));
            groups.push(group);
        }
        let after = last.unwrap_or_default().max(self.superblock.applied);
        let (mut later, mut next) = (0, None);
        for place in (place..bytes.len()).step_by(ALIGNMENT) {
            let Some(group) = at(place) else { continue };
            if !old {
                newest = newest.max(group.epoch);
            }
            if group.epoch == self.superblock.epoch && group.first > after {
                (later, next) = (later + 1, next.or(Some(place)));
                self.end = self.end.max(group.last());
            }
        }
        for group in &groups {
            self.end = self.end.max(group.last());
            if group.last() > self.superblock.applied {
                self.needed.push(UnappliedGroup {
                    first: group.first,
                    last: group.last(),
                    changes: group.changes(),
                });
            }
        }
        self.found.epoch = self.found.epoch.max(newest);
        if let Some(next) = next {
            self.unapplied_groups += later;
            let detail = format!(
                "the data at byte {place} is unreadable, but an intact group follows at byte {next}"
            );
            self.fault(JournalFaultKind::SegmentDamaged, name, detail);
        }
        // A group is written only after the base store has its epoch.
        if newest > self.superblock.epoch {
            let detail = "the segment is newer than the index".into();
            self.fault(JournalFaultKind::ForeignJournal, name, detail);
        }
    }

    /// Checks whether a file belongs to another index. Only at the start of a file is it certain
    /// that a valid group header is one.
    fn check_foreign(&mut self, name: &Path, bytes: &[u8], header: Option<SegmentHeader>) {
        let start = if header.is_some() { START } else { 0 };
        let Some(first) = bytes.get(start..).and_then(Group::read) else {
            return;
        };
        let theirs = header.is_some_and(|header| Some(header.id) != self.superblock.id)
            && first.id == header.map(|header| header.id);
        let newer = first.id.is_none() && first.epoch > self.superblock.epoch;
        if theirs || newer {
            self.found.epoch = self.found.epoch.max(first.epoch);
            let detail = "the segment holds commits of another index".into();
            self.fault(JournalFaultKind::ForeignJournal, name, detail);
        }
    }

    /// Collects the changes of the needed groups, up to the first gap.
    fn replay(&mut self) {
        self.needed.sort_by_key(|one| one.first);
        let needed = std::mem::take(&mut self.needed);
        let mut groups = needed.into_iter();
        while let Some(group) = groups.next() {
            let next = self.found.last + 1;
            // A group that starts before `next` may end after it: it is applied again as a whole.
            let changes = group.changes.filter(|_| group.first <= next);
            if let Some(mut changes) = changes {
                self.found.last = self.found.last.max(group.last);
                self.found.changes.append(&mut changes);
                continue;
            }
            self.unapplied_groups += 1 + groups.len() as u64;
            let detail = format!("commit {next} is missing before {}", group.first);
            self.fault(JournalFaultKind::CommitMissing, "", detail);
            return;
        }
    }

    /// Summarizes the faults.
    fn conclude(&mut self) {
        let known = if self.superblock.closed {
            0
        } else {
            self.superblock.durable
        };
        if self.end < known {
            let end = match self.end {
                0 => "the journal holds no commit".into(),
                end => format!("the journal ends with commit {end}"),
            };
            let detail = format!("{end}, but the index records that it reached commit {known}");
            self.fault(JournalFaultKind::EndsEarly, "", detail);
        }
        if !self.faults.is_empty() {
            let lost = self.end.max(known).saturating_sub(self.found.last);
            self.found.damage = Some(JournalDamage {
                faults: std::mem::take(&mut self.faults),
                lost,
                unapplied_groups: self.unapplied_groups,
            });
        }
    }
}
