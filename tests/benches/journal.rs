//! Durable transactions of five puts on the journal alone: rate, and transactions per flush. Run
//! by `scripts/measure journal`.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use regfs::dir::Dir;
use regfs::index::{Batch, Recover, Store, WriteOp, open_embedded};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Returns transactions per second, and transactions per flush.
fn in_process(directory: &Path, writers: usize, seconds: f64) -> std::io::Result<(f64, f64)> {
    let failed = |error: regfs::index::StoreError| std::io::Error::other(error);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let store = directory.join(format!("in-process-{number}"));
    fs::create_dir_all(&store)?;
    let journal = open_embedded(&Dir::open(&store)?, Recover::Refuse).map_err(failed)?;
    let (start, done) = (Instant::now(), AtomicU64::new(0));
    let until = start + Duration::from_secs_f64(seconds);
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                while Instant::now() < until {
                    let number = NEXT.fetch_add(1, Ordering::Relaxed);
                    let put = |at: u64| {
                        let key = [&b"b"[..], &(number * 5 + at).to_be_bytes()].concat();
                        WriteOp::Put(key, vec![0; 40])
                    };
                    let batch = Batch {
                        preconditions: Vec::new(),
                        changes: (0..5).map(put).collect(),
                        as_of: None,
                    };
                    if journal.commit(batch).and_then(|_| journal.sync()).is_err() {
                        return;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let elapsed = start.elapsed().as_secs_f64();
    let (batches, flushes) = journal.activity();
    let done = f64::from(u32::try_from(done.into_inner()).unwrap_or(u32::MAX));
    let share = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    Ok((done / elapsed, share(batches) / share(flushes.max(1))))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, ..] = arguments.as_slice() else {
        eprintln!("usage: journal DIRECTORY [RUNS] [SECONDS]");
        std::process::exit(2);
    };
    let runs: usize = arguments
        .get(1)
        .map_or(Ok(5), |text| text.parse())
        .unwrap_or(5);
    let seconds: f64 = arguments
        .get(2)
        .map_or(Ok(2.0), |text| text.parse())
        .unwrap_or(2.0);
    println!("in process, five puts    transactions/s   transactions a flush");
    for writers in [1, 4, 16, 64] {
        let mut rows = Vec::new();
        for _ in 0..runs {
            rows.push(in_process(Path::new(directory), writers, seconds)?);
        }
        let rates = median(rows.iter().map(|row| row.0).collect());
        let shares = median(rows.iter().map(|row| row.1).collect());
        println!("          {writers:3} writers   {rates:14.0}   {shares:15.1}");
    }
    Ok(())
}
