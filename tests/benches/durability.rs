//! Durable link writes on the mount and on a plain directory of the same filesystem, in turns: rate
//! and latency. Run by `scripts/measure links`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use regfs::digest::{Algorithm, Digest};

/// How a registry writes a link.
#[derive(Clone, Copy, Debug)]
enum Dialect {
    /// 2.8 and 3.0: in place, with two fsyncs.
    InPlace,
    /// 3.1: a temporary file, its fsync, a rename, and the fsync of the directory.
    Renamed,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Writes one new layer link.
fn write_link(root: &Path, dialect: Dialect) -> std::io::Result<()> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let digest = Digest::of(Algorithm::Sha256, &number.to_be_bytes());
    let directory = root
        .join("docker/registry/v2/repositories/team/app/_layers/sha256")
        .join(digest.hex());
    fs::create_dir(&directory)?;
    let link = directory.join("link");
    match dialect {
        Dialect::InPlace => {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&link)?;
            file.set_len(0)?;
            file.write_all(digest.to_string().as_bytes())?;
            file.sync_all()?;
            file.sync_all()
        }
        Dialect::Renamed => {
            let temporary = directory.join("link.01890a5d-ac96-774b-bcce-b302099a8057.tmp");
            let mut file = File::create(&temporary)?;
            file.write_all(digest.to_string().as_bytes())?;
            file.sync_all()?;
            fs::metadata(&temporary)?;
            fs::rename(&temporary, &link)?;
            File::open(&directory)?.sync_all()
        }
    }
}

/// The result of one run.
struct Run {
    a_second: f64,
    median: Duration,
    slow: Duration,
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than that")]
fn run(root: &Path, dialect: Dialect, writers: usize, seconds: f64) -> std::io::Result<Run> {
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(seconds);
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|_| {
                scope.spawn(|| -> std::io::Result<Vec<Duration>> {
                    let mut times = Vec::new();
                    while Instant::now() < until {
                        let one = Instant::now();
                        write_link(root, dialect)?;
                        times.push(one.elapsed());
                    }
                    Ok(times)
                })
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().unwrap_or_else(|_| Ok(Vec::new()))?);
        }
        Ok::<_, std::io::Error>(all)
    })?;
    let elapsed = start.elapsed().as_secs_f64();
    let mut times = times;
    times.sort();
    let at = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    Ok(Run {
        a_second: times.len() as f64 / elapsed,
        median: at(50),
        slow: at(99),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small number from the command line"
)]
fn main() -> std::io::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [plain, mounted, ..] = arguments.as_slice() else {
        eprintln!("usage: durability PLAIN MOUNTED [RUNS] [SECONDS]");
        std::process::exit(2);
    };
    let number = |at: usize, default: f64| {
        let text = arguments.get(at).and_then(|text| text.to_str());
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (runs, seconds) = (number(2, 5.0) as usize, number(3, 2.0));
    for root in [plain, mounted] {
        let layers = "docker/registry/v2/repositories/team/app/_layers/sha256";
        fs::create_dir_all(root.join(layers))?;
    }
    println!(
        "durable links          plain/s  mount/s   ratio   plain p50/p99 us   mount p50/p99 us"
    );
    for dialect in [Dialect::InPlace, Dialect::Renamed] {
        for writers in [1, 4, 16, 64] {
            let mut rows: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
            for _ in 0..runs {
                for (rows, root) in rows.iter_mut().zip([plain, mounted]) {
                    rows.push(run(root, dialect, writers, seconds)?);
                }
            }
            let figure =
                |rows: &[Run], of: &dyn Fn(&Run) -> f64| median(rows.iter().map(of).collect());
            let micros = |time: Duration| time.as_secs_f64() * 1e6;
            let [plain, mount] = &rows;
            let (p, m) = (
                figure(plain, &|run| run.a_second),
                figure(mount, &|run| run.a_second),
            );
            println!(
                "{:9} {writers:3} writers {p:10.0} {m:8.0} {:7.2}   {:7.0} {:8.0}   {:7.0} {:8.0}",
                format!("{dialect:?}"),
                m / p,
                figure(plain, &|run| micros(run.median)),
                figure(plain, &|run| micros(run.slow)),
                figure(mount, &|run| micros(run.median)),
                figure(mount, &|run| micros(run.slow)),
            );
        }
    }
    Ok(())
}
