//! Tests of losses: what a journal lost is reported, and what a crash leaves is never taken for a
//! loss.

use super::*;
use crate::index::journal::segment::Segment;
use crate::index::journal::segments::Segments;
use crate::index::journal::superblock::SuperblockWriter;

/// Size of the segments here in bytes; each holds a few groups.
const SIZE: usize = 48 << 10;

/// One step of a journal.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Appends a group of this many batches of this length, and flushes.
    Append(u8, u16),
    /// The applier looks at the segments, up to the last batch or an earlier one.
    Look(u8),
    /// Writes the superblock.
    Commit,
    /// Frees the segments whose batches are in the base store.
    Release,
    /// Creates a spare segment.
    Spare,
    /// The process is killed or the power is cut while sectors of another group are written; then
    /// the journal is reopened.
    Crash(u16, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..4_u8, 1..9_000_u16).prop_map(|(count, len)| Step::Append(count, len)),
        3 => (0..3_u8).prop_map(Step::Look),
        3 => Just(Step::Commit),
        3 => Just(Step::Release),
        2 => Just(Step::Spare),
        2 => (0..20_000_u16, any::<u64>()).prop_map(|(len, mask)| Step::Crash(len, mask)),
    ]
}

/// A journal that is driven step by step.
struct Driven {
    directory: tempfile::TempDir,
    base: Arc<dyn Store>,
    superblock: SuperblockWriter,
    segments: Segments,
    /// The last durable batch.
    durable: u64,
    /// The last batch in the base store.
    applied: u64,
    /// What the applier saw, and what it wrote.
    seen: Option<(u64, Vec<superblock::SegmentEntry>, u64)>,
    written: Option<u64>,
}

fn batch(number: u64, len: u16) -> Vec<u8> {
    group::encode_batch(&[put(&number.to_be_bytes(), &vec![1; usize::from(len)])])
}

impl Driven {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = memory();
        let (superblock, segments, durable) = Self::open(&base, directory.path(), 0, 0).unwrap();
        Self {
            directory,
            base,
            superblock,
            segments,
            durable,
            applied: durable,
            seen: None,
            written: None,
        }
    }

    /// Opens as production code does, with small segments; everything durable must be found.
    fn open(
        base: &Arc<dyn Store>,
        path: &Path,
        durable: u64,
        may: u64,
    ) -> Result<(SuperblockWriter, Segments, u64), TestCaseError> {
        let dir = Dir::open(path).unwrap();
        let old = Superblock::read(base.as_ref()).unwrap().unwrap_or_default();
        let found = recovery::find(&dir, &old, SIZE).unwrap();
        prop_assert!(found.damage.is_none(), "{:?} {old:?}", found.damage);
        prop_assert!(found.last >= durable && found.last <= may.max(durable));
        let numbers: Vec<u64> = found
            .changes
            .iter()
            .map(|change| match change {
                WriteOp::Put(key, _) => u64::from_be_bytes(key[..].try_into().unwrap()),
                other @ WriteOp::Delete(_) => panic!("{other:?}"),
            })
            .collect();
        let needed: Vec<u64> = (old.applied + 1..=found.last).collect();
        prop_assert!(numbers.ends_with(&needed), "{numbers:?} {needed:?}");
        let mut superblock = Superblock {
            applied: found.last,
            epoch: found.epoch + 1,
            id: Some(old.id.unwrap_or(77)),
            ..Superblock::default()
        };
        let intact = |one: &&superblock::SegmentEntry| found.intact.contains(&one.number);
        superblock.segments = old.segments.iter().filter(intact).copied().collect();
        prop_assert_eq!(superblock.segments.len(), old.segments.len());
        change(base.as_ref(), vec![superblock.change()]);
        let segments = Segments::open(&dir, 77, superblock.epoch, SIZE).unwrap();
        superblock.segments = segments.entries(found.last);
        change(base.as_ref(), vec![superblock.change()]);
        let superblock = SuperblockWriter::new(Arc::clone(base), superblock);
        Ok((superblock, segments, found.last))
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Append(count, len) => {
                let numbers = self.durable + 1..=self.durable + u64::from(count);
                let batches: Vec<_> = numbers.map(|number| batch(number, len)).collect();
                let superblock = &self.superblock;
                let made = |made: &Segment| superblock.record_segment(made.number).unwrap();
                let (done, appended) = self.segments.append(&batches, self.durable + 1, &made);
                appended.unwrap();
                self.durable += done as u64;
            }
            // The applier looks again only after it has freed segments, and never goes back.
            Step::Look(before) if self.written.is_none() => {
                let applied = self.durable.saturating_sub(u64::from(before));
                let applied = applied.max(self.applied);
                let durable = self.segments.required();
                self.seen = Some((applied, self.segments.entries(applied), durable));
            }
            Step::Look(_) => {}
            Step::Commit => {
                if let Some((applied, entries, durable)) = self.seen.take() {
                    self.superblock
                        .commit(std::iter::empty(), |superblock| {
                            (superblock.applied, superblock.durable) = (applied, durable);
                            superblock.segments = entries;
                        })
                        .unwrap();
                    (self.written, self.applied) = (Some(applied), applied);
                }
            }
            Step::Release => {
                if let Some(applied) = self.written.take() {
                    self.segments.release(applied);
                }
            }
            Step::Spare => {
                if let Some(plan) = self.segments.plan_spare() {
                    let made = segment::create(&plan).unwrap();
                    self.superblock.record_segment(made.number).unwrap();
                    self.segments.add_free(made);
                }
            }
            Step::Crash(len, mask) => self.crash(len, mask)?,
        }
        Ok(())
    }

    fn crash(&mut self, len: u16, mask: u64) -> Result<(), TestCaseError> {
        let batches = [batch(self.durable + 1, len)];
        let superblock = &self.superblock;
        let made = |made: &Segment| superblock.record_segment(made.number).unwrap();
        let written = |sector: usize| mask >> (sector % 64) & 1 == 1;
        self.segments
            .tear_for_test(&batches, self.durable + 1, &made, &written);
        (self.seen, self.written) = (None, None);
        let path = self.directory.path();
        (self.superblock, self.segments, self.durable) =
            Self::open(&self.base, path, self.durable, self.durable + 1)?;
        self.applied = self.durable;
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds().cases / 10, ..ProptestConfig::default() })]

    #[test]
    fn after_a_power_cut_at_any_step_no_durable_commit_is_missing(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut driven = Driven::new();
        for one in steps {
            driven.step(one)?;
        }
        driven.crash(5_000, 0x5a5a_5a5a)?;
    }
}

/// A store that was killed: its base store, and the directory of its journal.
struct Killed {
    directory: tempfile::TempDir,
    superblock: Superblock,
}

impl Killed {
    /// Killed before the applier ran, with this many groups.
    fn at_once(groups: u8) -> Self {
        Self::with(groups, false)
    }

    /// Killed when the base store had everything.
    fn later(groups: u8) -> Self {
        Self::with(groups, true)
    }

    fn with(groups: u8, later: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (path, image) = (
            directory.path().join("used"),
            directory.path().join("journal"),
        );
        let base = memory();
        let journal = open(Arc::clone(&base), &path).unwrap();
        let mut superblock = Superblock::read(base.as_ref()).unwrap().unwrap();
        for number in 1..=groups {
            change(&journal, vec![put(&[number], &[number])]);
            journal.sync().unwrap();
        }
        if later {
            wait(|| base.get(&[groups]).unwrap().is_some());
            wait(|| fs::read_dir(&path).unwrap().count() > 1);
            wait(|| {
                superblock = Superblock::read(base.as_ref()).unwrap().unwrap();
                superblock.segments.len() > 1
            });
            // The next change is applied when the journal has two segments.
            change(&journal, vec![put(&[groups + 1], b"1")]);
            wait(|| base.get(&[groups + 1]).unwrap().is_some());
            superblock = Superblock::read(base.as_ref()).unwrap().unwrap();
            assert!(superblock.durable > 0);
        }
        copy(&path, &image);
        drop(journal);
        Self {
            directory,
            superblock,
        }
    }

    fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    /// The segment that was written to.
    fn segment(&self) -> PathBuf {
        let rows = fs::read_dir(self.journal()).unwrap();
        let mut paths: Vec<_> = rows.map(|row| row.unwrap().path()).collect();
        paths.sort();
        paths.remove(0)
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        let file = fs::File::options().write(true).open(self.segment());
        std::os::unix::fs::FileExt::write_all_at(&file.unwrap(), bytes, at as u64).unwrap();
    }

    fn resize(&self, len: u64) {
        let file = fs::File::options().write(true).open(self.segment());
        file.unwrap().set_len(len).unwrap();
    }

    fn open(&self, recover: Recover) -> Result<Journal, StoreError> {
        let base = MemoryStore::default();
        change(&base, vec![self.superblock.change()]);
        fs::create_dir_all(self.journal()).unwrap();
        let dir = Dir::open(&self.journal()).unwrap();
        Journal::open(Arc::new(base), &dir, recover)
    }

    /// The damage that opening reports; nothing on the disk is changed by that.
    fn faults(&self) -> (Vec<JournalFaultKind>, u64) {
        let before = contents(&self.journal());
        let refused = self.open(Recover::Refuse).unwrap_err();
        let StoreError::Journal(damage) = refused else {
            panic!("{refused}");
        };
        assert_eq!(contents(&self.journal()), before);
        let text = damage.to_string();
        assert!(text.contains(self.journal().to_str().unwrap()), "{text}");
        // It continues without the loss, and is clean from then on.
        let base = Arc::new(MemoryStore::default());
        change(base.as_ref(), vec![self.superblock.change()]);
        let dir = Dir::open(&self.journal()).unwrap();
        let journal = Journal::open(base.clone(), &dir, Recover::Accept).unwrap();
        change(&journal, vec![put(b"new", b"1")]);
        drop(journal);
        let journal = Journal::open(base, &dir, Recover::Refuse).unwrap();
        assert!(journal.get(b"new").unwrap().is_some());
        (
            damage.faults.iter().map(|one| one.kind).collect(),
            damage.lost,
        )
    }
}

#[test]
fn a_missing_or_resized_segment_is_reported() {
    use JournalFaultKind::{SegmentDamaged, SegmentMissing};
    let killed = Killed::at_once(3);
    fs::remove_file(killed.segment()).unwrap();
    assert_eq!(killed.faults(), (vec![SegmentMissing], 0));
    let killed = Killed::at_once(3);
    fs::remove_dir_all(killed.journal()).unwrap();
    fs::create_dir(killed.journal()).unwrap();
    assert_eq!(killed.faults(), (vec![SegmentMissing], 0));
    for len in [0, 4096, 16_384, (8 << 20) - 1, (8 << 20) + 1] {
        let killed = Killed::at_once(3);
        killed.resize(len);
        assert_eq!(killed.faults(), (vec![SegmentDamaged], 0), "{len}");
    }
    // Zeros only, without the header.
    let killed = Killed::at_once(3);
    killed.resize(0);
    killed.resize(8 << 20);
    assert_eq!(killed.faults(), (vec![SegmentDamaged], 0));
}

#[test]
fn an_unreadable_group_is_reported_with_the_number_of_later_ones() {
    let killed = Killed::at_once(4);
    killed.write(segment::START + 4096, &[7; 4096]);
    assert_eq!(killed.faults(), (vec![JournalFaultKind::SegmentDamaged], 3));
}

#[test]
fn a_torn_tail_is_no_damage() {
    let killed = Killed::at_once(4);
    killed.write(segment::START + 3 * 4096, &[7; 100]);
    let journal = killed.open(Recover::Refuse).unwrap();
    assert_eq!(all(&journal).len(), 3);
}

#[test]
fn a_journal_that_ends_before_the_index_is_reported() {
    let killed = Killed::later(3);
    let groups = usize::try_from(killed.superblock.durable).unwrap();
    killed.write(segment::START, &vec![0; 4096 * groups]);
    let (faults, lost) = killed.faults();
    assert_eq!(faults, [JournalFaultKind::EndsEarly]);
    assert_eq!(lost, 0, "all of it is below");
}

#[test]
fn an_index_or_journal_of_another_time_or_store_is_reported() {
    use JournalFaultKind::ForeignJournal;
    // An index from before the journal was last opened.
    let mut killed = Killed::at_once(3);
    killed.superblock.epoch -= 1;
    assert_eq!(killed.faults().0, [ForeignJournal]);
    // The same, and it had been closed cleanly.
    let mut killed = Killed::at_once(3);
    (killed.superblock.epoch, killed.superblock.closed) = (killed.superblock.epoch - 1, true);
    assert_eq!(killed.faults().0, [ForeignJournal]);
    // The index of another store, of a backup, and of format 1.
    for superblock in [
        Killed::at_once(1).superblock,
        Superblock::default(),
        Superblock {
            applied: 5,
            epoch: 3,
            ..Superblock::default()
        },
    ] {
        let mut killed = Killed::at_once(3);
        killed.superblock = superblock;
        assert!(killed.faults().0.contains(&ForeignJournal));
    }
    // A journal that is older than the index.
    let mut killed = Killed::at_once(3);
    killed.superblock.durable = 5;
    assert_eq!(killed.faults(), (vec![JournalFaultKind::EndsEarly], 2));
    // An index that is older than what the journal has dropped.
    let mut killed = Killed::at_once(3);
    killed.write(segment::START, &[0; 4096]);
    killed.superblock.applied = 0;
    assert!(!killed.faults().0.is_empty());
}

#[test]
fn a_cleanly_closed_journal_is_not_needed() {
    let directory = tempfile::tempdir().unwrap();
    let base = memory();
    let journal = open(Arc::clone(&base), directory.path()).unwrap();
    change(&journal, vec![put(b"a", b"1")]);
    drop(journal);
    assert!(Superblock::read(base.as_ref()).unwrap().unwrap().closed);
    for row in fs::read_dir(directory.path()).unwrap() {
        fs::remove_file(row.unwrap().path()).unwrap();
    }
    let journal = open(Arc::clone(&base), directory.path()).unwrap();
    assert_eq!(journal.get(b"a").unwrap().unwrap(), b"1");
    assert!(!Superblock::read(base.as_ref()).unwrap().unwrap().closed);
}
