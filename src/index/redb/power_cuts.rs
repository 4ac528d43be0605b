//! Tests of simulated power cuts below the database: any subset of the sectors written since the
//! last flush may be on the disk. Everything synced must be complete, and no commit may be partial.

use std::collections::BTreeMap;

use std::io;

use redb::StorageBackend;

use super::open::builder;
use super::*;
use crate::index::store::contract::put;

/// The atomic unit of a disk, in bytes.
const SECTOR: usize = 512;
/// Cuts, unless `REGFS_CUTS` says otherwise.
const CUTS: usize = 300;
/// Syncs of one run.
const SYNCS: u64 = 60;

type TableState = BTreeMap<Vec<u8>, Vec<u8>>;

/// An operation on the disk.
#[derive(Clone, Debug)]
enum DiskOp {
    Wrote(usize, Vec<u8>),
    Resized(usize),
    Flushed,
    /// A sync of this state started.
    Began(usize),
    /// It returned.
    Returned(usize),
}

/// A disk that logs its operations.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, Vec<DiskOp>)>>);

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        let from = place(offset);
        let bytes = state.0.get(from..from + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.0.resize(place(len), 0);
        state.1.push(DiskOp::Resized(place(len)));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().1.push(DiskOp::Flushed);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let from = place(offset);
        state.0[from..from + data.len()].copy_from_slice(data);
        state.1.push(DiskOp::Wrote(from, data.to_vec()));
        Ok(())
    }
}

/// Pseudo-random numbers, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(11);
        (self.0 >> 33) % end
    }
}

fn store(disk: &Disk) -> Redb {
    let database = builder().create_with_backend(disk.clone()).unwrap();
    Redb {
        dir: Dir::open(&std::env::temp_dir()).unwrap(),
        name: "simulated".into(),
        target: WriteTarget::File,
        path: "simulated".into(),
        database: RwLock::new(Some(database)),
        view: RwLock::default(),
        changes: Mutex::default(),
    }
}

/// Commits and syncs; returns the operations on the disk, and every synced state.
fn run(random: &mut Random) -> (Vec<DiskOp>, Vec<TableState>) {
    let disk = Disk::default();
    let store = store(&disk);
    let (mut model, mut states) = (TableState::new(), Vec::new());
    for number in 0..SYNCS {
        for _ in 0..=random.below(3) {
            let mut changes = Vec::new();
            for _ in 0..random.below(60) {
                let key = random.below(400).to_be_bytes().to_vec();
                if random.below(4) == 0 {
                    model.remove(&key);
                    changes.push(WriteOp::Delete(key));
                } else {
                    let len = place(random.below(90));
                    let value = number.to_be_bytes().repeat(1 + len);
                    model.insert(key.clone(), value.clone());
                    changes.push(put(&key, &value));
                }
            }
            let batch = Batch {
                changes,
                ..Batch::default()
            };
            assert_eq!(store.commit(batch).unwrap(), CommitOutcome::Committed);
        }
        disk.0.lock().1.push(DiskOp::Began(states.len()));
        store.sync().unwrap();
        disk.0.lock().1.push(DiskOp::Returned(states.len()));
        states.push(model.clone());
    }
    let done = disk.0.lock().1.clone();
    (done, states)
}

/// Applies an operation to a disk image, each sector if `happens` returns `true`.
fn replay(image: &mut Vec<u8>, done: &DiskOp, mut happens: impl FnMut() -> bool) {
    match done {
        DiskOp::Wrote(offset, bytes) => {
            for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                let from = offset + number * SECTOR;
                if happens() {
                    image.resize(image.len().max(from + sector.len()), 0);
                    image[from..from + sector.len()].copy_from_slice(sector);
                }
            }
        }
        DiskOp::Resized(len) if happens() => image.resize(*len, 0),
        DiskOp::Resized(_) | DiskOp::Flushed | DiskOp::Began(_) | DiskOp::Returned(_) => {}
    }
}

/// Cuts the power after operation `at` and checks the state. Returns `false` if no sync had
/// returned.
fn cut(done: &[DiskOp], at: usize, states: &[TableState], random: &mut Random) -> bool {
    let done = &done[..at];
    let flushed = done.iter().rposition(|one| matches!(one, DiskOp::Flushed));
    let (durable, rest) = done.split_at(flushed.map_or(0, |at| at + 1));
    let mut image = Vec::new();
    for one in durable {
        replay(&mut image, one, || true);
    }
    // From almost none to almost all.
    let chance = random.below(101);
    for one in rest {
        replay(&mut image, one, || random.below(100) < chance);
    }
    let number = |returned: bool| {
        done.iter().rev().find_map(|one| match one {
            DiskOp::Returned(number) if returned => Some(*number),
            DiskOp::Began(number) if !returned => Some(*number),
            _ => None,
        })
    };
    let Some(synced) = number(true) else {
        return false;
    };
    let disk = Disk(Arc::new(Mutex::new((image, Vec::new()))));
    let store = store(&disk);
    let there = store.scan(&[0][..]..&[255; 9][..], usize::MAX).unwrap();
    let there: TableState = there.into_iter().collect();
    let begun = number(false).map_or(synced, |begun| begun.max(synced));
    assert!(
        there == states[synced] || there == states[begun],
        "cut at {at}: neither state {synced} nor {begun}"
    );
    true
}

#[test]
fn after_a_power_cut_synced_commits_are_complete_and_no_commit_is_partial() {
    let cuts = std::env::var("REGFS_CUTS").map_or(CUTS, |text| text.parse().unwrap());
    let mut random = Random(u64::from(std::process::id()));
    let mut behind = 0;
    let (mut done, mut states) = run(&mut random);
    for number in 0..cuts {
        if number % 500 == 499 {
            (done, states) = run(&mut random);
        }
        let at = place(random.below(done.len() as u64 + 1));
        behind += usize::from(cut(&done, at, &states, &mut random));
    }
    println!("{cuts} cuts, {behind} of them behind a sync");
    assert!(behind > cuts / 2, "{behind} of {cuts}");
}

#[test]
fn a_disk_that_does_not_flush_is_detected() {
    let mut random = Random(7);
    let (done, states) = run(&mut random);
    let never = |one: &DiskOp| !matches!(one, DiskOp::Flushed);
    let done: Vec<DiskOp> = done.into_iter().filter(never).collect();
    let caught = (0..50).any(|_| {
        let at = done.len() / 2 + place(random.below(done.len() as u64 / 2));
        let mut random = Random(random.below(1 << 30));
        let cut = std::panic::AssertUnwindSafe(|| cut(&done, at, &states, &mut random));
        std::panic::catch_unwind(cut).is_err()
    });
    assert!(
        caught,
        "fifty cuts without any flush, and nothing was missed"
    );
}
