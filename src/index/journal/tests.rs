//! Tests of the journal in front of the store in memory and of redb: its contract, its order, and
//! what survives the end of the process or a power cut at any point.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use proptest::prelude::*;

use super::inner::OVERLAY_BYTES_MAX;
use super::overlay::Overlay;
use super::segment::SEGMENT_BYTES;
use super::superblock::Superblock;
use super::*;
use crate::index::store::WriteOp;
use crate::index::store::contract::{change, put};
use crate::index::{MemoryStore, Redb, store};

type JournalModel = BTreeMap<Vec<u8>, Vec<u8>>;
/// Keys with their new values, in batches, in groups.
type Groups = Vec<Vec<Vec<(u8, Option<u8>)>>>;

/// Opens a journal in a directory, which is created if needed.
fn open(base: Arc<dyn Store>, directory: &Path) -> Result<Journal, StoreError> {
    fs::create_dir_all(directory).unwrap();
    Journal::open(base, &Dir::open(directory).unwrap(), Recover::Refuse)
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

fn all(store: &dyn Store) -> Vec<Pair> {
    store.scan(&b"\x01"[..]..&b"\xff"[..], usize::MAX).unwrap()
}

/// Copies the files of a directory as the disk shows them now.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for row in fs::read_dir(from).unwrap() {
        let row = row.unwrap();
        // A segment under construction may be renamed meanwhile.
        let _renamed = fs::copy(row.path(), to.join(row.file_name()));
    }
}

/// Every file of a directory, with its content.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let rows = fs::read_dir(directory).unwrap();
    let paths = rows.map(|row| row.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn it_fulfils_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let number = AtomicU64::new(0);
    store::contract::all(&|| {
        let name = number.fetch_add(1, Ordering::Relaxed).to_string();
        let path = directory.path().join(&name);
        Arc::new(open(memory(), &path).unwrap())
    });
    store::contract::all(&|| {
        let name = number.fetch_add(1, Ordering::Relaxed).to_string();
        let path = directory.path().join(&name);
        fs::create_dir(&path).unwrap();
        let base = Arc::new(Redb::open(&Dir::open(&path).unwrap(), "index.redb").unwrap());
        Arc::new(open(base, &path.join("journal")).unwrap())
    });
}

#[test]
fn a_clean_stop_leaves_everything_in_the_base_store() {
    let directory = tempfile::tempdir().unwrap();
    let base = memory();
    let journal = open(Arc::clone(&base), directory.path()).unwrap();
    for number in 0..1000_u32 {
        change(&journal, vec![put(&number.to_be_bytes(), b"x")]);
    }
    let before = all(&journal);
    drop(journal);
    assert_eq!(all(base.as_ref()), before);
}

#[test]
fn synced_commits_survive_a_crash_before_they_are_applied() {
    let directory = tempfile::tempdir().unwrap();
    let (path, image) = (directory.path().join("a"), directory.path().join("b"));
    let first = memory();
    let journal = open(Arc::clone(&first), &path).unwrap();
    // The base store of a journal that was opened once.
    let base = MemoryStore::default();
    let superblock = Superblock::read(first.as_ref()).unwrap().unwrap();
    change(&base, vec![superblock.change()]);
    change(&journal, vec![put(b"a", b"1"), put(b"b", b"1")]);
    change(
        &journal,
        vec![put(b"a", b"2"), WriteOp::Delete(b"b".to_vec())],
    );
    journal.sync().unwrap();
    copy(&path, &image);
    let again = open(Arc::new(base), &image).unwrap();
    assert_eq!(all(&again), [(b"a".to_vec(), b"2".to_vec())]);
    drop(again);
    drop(journal);
}

#[test]
fn a_second_sync_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(memory(), directory.path()).unwrap();
    change(&journal, vec![put(b"a", b"1")]);
    journal.sync().unwrap();
    let position = |journal: &Journal| format!("{:?}", journal.inner.segments.lock());
    let before = position(&journal);
    journal.sync().unwrap();
    assert_eq!(position(&journal), before);
}

#[test]
fn commits_that_nobody_syncs_are_flushed_soon() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(memory(), directory.path()).unwrap();
    change(&journal, vec![put(b"a", b"1")]);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while journal.inner.durable.load(Ordering::Acquire) == 0 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn segments_are_reused_and_memory_stays_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let base = memory();
    let journal = open(Arc::clone(&base), directory.path()).unwrap();
    let value = vec![7; 500_000];
    for number in 0..400_u32 {
        change(&journal, vec![put(&[1, (number % 50) as u8], &value)]);
        journal.sync().unwrap();
        let gathered = journal.inner.state.read().overlay.bytes();
        assert!(
            gathered <= OVERLAY_BYTES_MAX + (1 << 20),
            "{gathered} bytes"
        );
    }
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert!(
        files <= 12,
        "{files} segments for 200 MB in 32 MB of memory"
    );
    assert_eq!(all(&journal).len(), 50);
    drop(journal);
    assert_eq!(all(base.as_ref()).len(), 50);
}

#[test]
fn a_failed_flush_poisons_and_durable_commits_stay_readable() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(memory(), directory.path()).unwrap();
    change(&journal, vec![put(b"a", b"1")]);
    journal.sync().unwrap();
    // A file that is open for reading only stands in for a failing disk.
    let mut names = fs::read_dir(directory.path()).unwrap();
    let path = names.next().unwrap().unwrap().path();
    journal.inner.segments.lock().break_for_test(&path);
    change(&journal, vec![put(b"b", b"1")]);
    assert!(matches!(journal.sync(), Err(StoreError::Poisoned(_))));
    assert!(matches!(journal.sync(), Err(StoreError::Poisoned(_))));
    let refused = journal.commit(Batch {
        preconditions: vec![],
        changes: vec![put(b"c", b"1")],
        as_of: None,
    });
    assert!(matches!(refused, Err(StoreError::Poisoned(_))));
    assert_eq!(journal.get(b"a").unwrap().unwrap(), b"1");
}

#[test]
fn a_failing_base_store_is_reported_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let base = Arc::new(MemoryStore::default());
    let journal = open(Arc::clone(&base) as _, directory.path()).unwrap();
    base.fail_after(1);
    change(&journal, vec![put(b"a", b"1")]);
    journal.sync().unwrap();
    let value = vec![0; 900_000];
    let mut refused = None;
    for number in 0..100_u32 {
        let batch = Batch {
            preconditions: vec![],
            changes: vec![put(&number.to_be_bytes(), &value)],
            as_of: None,
        };
        if let Err(error) = journal.commit(batch) {
            refused = Some(error);
            break;
        }
    }
    assert!(
        matches!(refused, Some(StoreError::Poisoned(_))),
        "it must not wait for ever"
    );
    assert_eq!(journal.get(b"a").unwrap().unwrap(), b"1");
    journal.sync().unwrap();
    drop(journal);
    // As after a crash: the base store has nothing, the segments have everything that was synced.
    base.crash();
    let again = open(base, directory.path()).unwrap();
    assert_eq!(again.get(b"a").unwrap().unwrap(), b"1");
}

#[test]
fn concurrent_readers_see_whole_batches() {
    let directory = tempfile::tempdir().unwrap();
    let base = Arc::new(Redb::open(&Dir::open(directory.path()).unwrap(), "index.redb").unwrap());
    let journal = open(base, &directory.path().join("journal")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let pairs = journal.scan(&b"p"[..]..&b"q"[..], 99).unwrap();
                        let values: Vec<_> = pairs.iter().map(|(_, value)| value).collect();
                        assert!(values.windows(2).all(|two| two[0] == two[1]), "{pairs:?}");
                        assert!(values.is_empty() || values.len() == 20, "{pairs:?}");
                        seen += values.len();
                    }
                    seen
                })
            })
            .collect();
        for round in 0..3000_u32 {
            let value = round.to_be_bytes();
            let puts = (0..20_u8).map(|key| put(&[b'p', key], &value));
            change(&journal, puts.collect());
            if round % 100 == 0 {
                journal.sync().unwrap();
                journal.inner.signal.lock().full = true;
                journal.inner.wakeup.notify_all();
            }
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

/// A disk on which a journal was written until the power was cut: flushed groups, and one that was
/// not flushed.
struct Cut {
    directory: tempfile::TempDir,
    /// The state after each flushed batch, and after the unflushed one.
    flushed: JournalModel,
    maybe: JournalModel,
}

/// Writes groups by hand, and tears the last.
fn cut(groups: &Groups, torn: &[bool], stale: u8) -> Cut {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = vec![0; 1 << 18];
    let header = segment::SegmentHeader { id: 5, number: 0 };
    let header = header.encode();
    bytes[..header.len()].copy_from_slice(&header);
    // Remains of earlier uses of the segment, in this epoch and in another.
    if stale > 0 {
        let old = vec![group::encode_batch(&[put(b"old", b"old")])];
        for (at, epoch) in [(0, 6), (usize::from(stale), 7)] {
            let group = group::encode_group(&old, 1, epoch, 5);
            let at = segment::START + at * group::ALIGNMENT;
            bytes[at..at + group.len()].copy_from_slice(&group);
        }
    }
    let (mut position, mut number) = (segment::START, 100);
    let (mut flushed, mut maybe) = (JournalModel::new(), JournalModel::new());
    for (index, group) in groups.iter().enumerate() {
        let last = index + 1 == groups.len();
        let mut batches = Vec::new();
        for batch in group {
            let changes: Vec<_> = batch
                .iter()
                .map(|(key, value)| match value {
                    Some(value) => put(&[*key], &[*value; 900]),
                    None => WriteOp::Delete(vec![*key]),
                })
                .collect();
            for (key, value) in batch {
                match value {
                    Some(value) => maybe.insert(vec![*key], vec![*value; 900]),
                    None => maybe.remove(&vec![*key]),
                };
            }
            batches.push(group::encode_batch(&changes));
        }
        let group = group::encode_group(&batches, number, 7, 5);
        number += batches.len() as u64;
        for (sector, bytes_of) in group.chunks(512).enumerate() {
            let written = !last
                || torn
                    .get(sector % torn.len().max(1))
                    .copied()
                    .unwrap_or(true);
            if written {
                let at = position + sector * 512;
                bytes[at..at + bytes_of.len()].copy_from_slice(bytes_of);
            }
        }
        position += group.len();
        if !last {
            flushed = maybe.clone();
        }
    }
    fs::write(directory.path().join("000000.segment"), bytes).unwrap();
    Cut {
        directory,
        flushed,
        maybe,
    }
}

/// The superblock of the base store of [`cut`].
fn superblock_of_cut() -> Superblock {
    Superblock {
        applied: 99,
        epoch: 7,
        id: Some(5),
        ..Superblock::default()
    }
}

fn recovered(directory: &Path) -> (JournalModel, bool) {
    let dir = Dir::open(directory).unwrap();
    let found = recovery::find(&dir, &superblock_of_cut(), SEGMENT_BYTES).unwrap();
    let mut model = JournalModel::new();
    for change in found.changes {
        match change {
            WriteOp::Put(key, value) => drop(model.insert(key, value)),
            WriteOp::Delete(key) => drop(model.remove(&key)),
        }
    }
    (model, found.damage.is_some())
}

/// Rounds of the simulated power cuts; `REGFS_CUTS` asks for more.
fn rounds() -> ProptestConfig {
    let cases = std::env::var("REGFS_CUTS")
        .ok()
        .map(|text| text.parse().unwrap());
    ProptestConfig::with_cases(cases.unwrap_or(2_000))
}

proptest! {
    #![proptest_config(rounds())]

    #[test]
    fn after_a_power_cut_flushed_batches_are_complete_and_no_batch_is_partial(
        groups in prop::collection::vec(prop::collection::vec(prop::collection::vec((0..8_u8, any::<Option<u8>>()), 1..4), 1..4), 1..6),
        torn in prop::collection::vec(any::<bool>(), 1..20),
        stale in 0..12_u8,
    ) {
        let cut = cut(&groups, &torn, stale);
        let (model, damaged) = recovered(cut.directory.path());
        prop_assert!(model == cut.flushed || model == cut.maybe);
        prop_assert!(!damaged, "a torn tail is no damage");
    }

    #[test]
    fn damage_before_the_end_is_reported_and_later_groups_are_not_applied(
        groups in prop::collection::vec(prop::collection::vec(prop::collection::vec((0..8_u8, any::<Option<u8>>()), 1..3), 1..3), 3..6),
        at in 0..32_usize,
        bit in 0..8_u8,
    ) {
        let cut = cut(&groups, &[], 0);
        let path = cut.directory.path().join("000000.segment");
        let mut bytes = fs::read(&path).unwrap();
        bytes[segment::START + at] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        let (model, damaged) = recovered(cut.directory.path());
        prop_assert!(damaged);
        prop_assert!(model.is_empty());
    }

    #[test]
    fn the_overlay_shows_every_commit(
        steps in prop::collection::vec((0..4_u8, 0..16_u8, any::<u8>()), 1..80),
        from in 0..16_u8, to in 0..17_u8, limit in 0..20_usize,
    ) {
        let base = MemoryStore::default();
        let (mut overlay, mut model) = (Overlay::default(), JournalModel::new());
        for (kind, key, value) in steps {
            match kind {
                0 | 1 => {
                    overlay.set(vec![key], Some(vec![value]));
                    model.insert(vec![key], vec![value]);
                }
                2 => {
                    overlay.set(vec![key], None);
                    model.remove(&vec![key]);
                }
                _ => {
                    // Frozen, read while half of it is applied, and thawed.
                    let layer = overlay.freeze();
                    for (key, value) in layer.iter() {
                        let change = value.clone().map_or(WriteOp::Delete(key.clone()), |value| WriteOp::Put(key.clone(), value));
                        base.commit(Batch { preconditions: vec![], changes: vec![change], as_of: None }).unwrap();
                    }
                    if value % 2 == 0 {
                        overlay.drop_frozen();
                    }
                }
            }
            let range = &[from][..]..&[to][..];
            let shown = overlay.scan(&base, range.clone(), limit).unwrap();
            let expected: Vec<_> = model.iter().filter(|(key, _)| range.contains(&key.as_slice())).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect();
            prop_assert_eq!(shown, expected);
        }
    }
}

#[test]
fn damaged_segments_are_an_error_and_set_aside_once_accepted() {
    let groups = vec![vec![vec![(1, Some(1))]]; 3];
    let cut = cut(&groups, &[], 0);
    let path: PathBuf = cut.directory.path().join("000000.segment");
    let mut bytes = fs::read(&path).unwrap();
    bytes[segment::START + 10] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let base = MemoryStore::default();
    change(&base, vec![superblock_of_cut().change()]);
    let base: Arc<dyn Store> = Arc::new(base);
    let refused = open(Arc::clone(&base), cut.directory.path()).unwrap_err();
    let StoreError::Journal(damage) = refused else {
        panic!("{refused}");
    };
    assert_eq!((damage.lost, damage.unapplied_groups), (3, 2));
    assert!(damage.to_string().contains("000000.segment"), "{damage}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let dir = Dir::open(cut.directory.path()).unwrap();
    let journal = Journal::open(Arc::clone(&base), &dir, Recover::Accept).unwrap();
    assert_eq!(journal.damage(), Some(damage.as_ref()));
    assert!(all(&journal).is_empty());
    let kept = cut.directory.path().join("damaged-7/000000.segment");
    assert_eq!(fs::read(kept).unwrap(), bytes);
    drop(journal);
    assert!(open(base, cut.directory.path()).unwrap().damage().is_none());
}

/// Writes numbers to two tables in one batch, and removes old ones, until told to stop.
fn write_twins(store: &dyn Store, stop: &std::sync::atomic::AtomicBool) -> u32 {
    let mut number = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let key = |table: u8, number: u32| [&[table][..], &number.to_be_bytes()].concat();
        let mut changes = Vec::new();
        for table in [b'a', b'z'] {
            // Scattered in key order, as digests are.
            let place = number.wrapping_mul(0x9e37_79b9);
            changes.push(WriteOp::Put(key(table, place), vec![7; 40]));
            let old = number.wrapping_sub(2_000).wrapping_mul(0x9e37_79b9);
            changes.push(WriteOp::Delete(key(table, old)));
        }
        let batch = Batch {
            preconditions: vec![],
            changes,
            as_of: None,
        };
        assert_eq!(store.commit(batch).unwrap(), CommitOutcome::Committed);
        if number.is_multiple_of(97) {
            store.sync().unwrap();
        }
        number += 1;
    }
    number
}

/// The numbers of a table, read in pages.
fn twins(store: &dyn Store, table: u8) -> Vec<Vec<u8>> {
    let (mut start, end, mut found) = (vec![table], vec![table + 1], Vec::new());
    loop {
        let page = store.scan(&start..&end, 300).unwrap();
        let Some((last, _)) = page.last() else {
            return found;
        };
        start.clone_from(last);
        start.push(0);
        found.extend(page.into_iter().map(|(key, _)| key[1..].to_vec()));
    }
}

#[test]
fn a_snapshot_does_not_change_however_long_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let redb = Arc::new(
        crate::index::Redb::open(&Dir::open(directory.path()).unwrap(), "index.redb").unwrap(),
    );
    let journal = open(redb, &directory.path().join("journal")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_twins(&journal, &stop));
        let until = std::time::Instant::now() + Duration::from_secs(3);
        let mut snapshots = 0;
        while std::time::Instant::now() < until {
            let snapshot = journal.snapshot().unwrap();
            for _ in 0..3 {
                let (a, z) = (
                    twins(snapshot.as_ref(), b'a'),
                    twins(snapshot.as_ref(), b'z'),
                );
                if a != z {
                    stop.store(true, Ordering::Relaxed);
                }
                assert!(a == z, "{} and {} at once", a.len(), z.len());
            }
            snapshots += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        println!("{snapshots} snapshots while {written} batches were written");
        assert!(snapshots > 10 && written > 3_000);
    });
}

/// Waits until a condition holds.
fn wait(mut holds: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < until, "it did not come to hold");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A store that panics on a commit, as an engine may on damaged pages.
struct Panicking(MemoryStore);

impl Store for Panicking {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }

    fn scan(&self, range: Range<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.scan(range, limit)
    }

    fn commit(&self, batch: Batch) -> Result<CommitOutcome, StoreError> {
        let bad = |one: &WriteOp| matches!(one, WriteOp::Put(key, _) if key == b"a");
        assert!(!batch.changes.iter().any(bad), "it is to panic");
        self.0.commit(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.0.sync()
    }

    fn snapshot(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.0.snapshot()
    }
}

#[test]
fn no_commit_waits_for_a_panicked_applier() {
    let directory = tempfile::tempdir().unwrap();
    let base = Arc::new(Panicking(MemoryStore::default()));
    let journal = open(base, directory.path()).unwrap();
    change(&journal, vec![put(b"a", b"1")]);
    let large = || Batch {
        changes: vec![put(b"b", &vec![0; 900_000])],
        ..Batch::default()
    };
    wait(|| matches!(journal.commit(large()), Err(StoreError::Poisoned(_))));
}

mod losses;
