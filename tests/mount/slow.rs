//! A slow disk: which operations wait for it, and which must not.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::mounted::{Mounted, hex, wait};

/// How long a flush of the slow disk takes.
const FLUSH: Duration = Duration::from_secs(4);

/// Has every flush of a daemon take long, until this is dropped.
struct SlowDisk(Child);

impl SlowDisk {
    fn under(mounted: &Mounted) -> Self {
        let inject = format!("inject=fdatasync,fsync:delay_enter={}", FLUSH.as_micros());
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fdatasync,fsync",
        ]);
        strace.args(["-e", &inject, "-p", &mounted.pid().to_string()]);
        let strace = strace.stderr(Stdio::null()).spawn().expect("strace");
        let tasks = format!("/proc/{}/task", mounted.pid());
        wait("strace to see every thread", || {
            let mut tasks = fs::read_dir(&tasks).unwrap().flatten();
            tasks.all(|task| {
                let status = fs::read_to_string(task.path().join("status"));
                status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
            })
        });
        Self(strace)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Uploads that somebody makes durable.
struct Syncs {
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    waiting: Arc<AtomicUsize>,
}

impl Syncs {
    fn files(mounted: &Mounted, count: usize) -> Vec<File> {
        let data = |number: usize| {
            let upload = format!("_uploads/{number:08x}-89ab-4def-8123-456789abcdef");
            fs::create_dir_all(mounted.repository(&upload)).unwrap();
            let mut file = File::create(mounted.repository(&upload).join("data")).unwrap();
            file.write_all(&vec![7; 100_000]).unwrap();
            file
        };
        (0..count).map(data).collect()
    }

    /// Begins with all of them; each thread runs where the one that asks for it runs.
    fn begin(files: Vec<File>) -> Self {
        let waiting = Arc::new(AtomicUsize::new(0));
        let threads = files.into_iter().map(|file| {
            let waiting = Arc::clone(&waiting);
            std::thread::spawn(move || {
                waiting.fetch_add(1, Ordering::SeqCst);
                let synced = file.sync_all();
                waiting.fetch_sub(1, Ordering::SeqCst);
                synced
            })
        });
        let threads = threads.collect();
        Self { threads, waiting }
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

/// How long the longest of some requests takes.
fn longest(mounted: &Mounted) -> Duration {
    let mut longest = Duration::ZERO;
    for round in 0..30 {
        let begun = Instant::now();
        assert!(!mounted.repository(&format!("none-{round}")).exists());
        let name = hex(if round % 2 == 0 { b"{}" } else { b"layer" });
        let link = mounted.repository(&format!("_layers/sha256/{name}/link"));
        assert_eq!(fs::read_to_string(link).unwrap(), format!("sha256:{name}"));
        let listed = fs::read_dir(mounted.repository("_layers/sha256")).unwrap();
        assert_eq!(listed.count(), 2);
        longest = longest.max(begun.elapsed());
    }
    longest
}

/// 200 who wait on one processor, for the disk and for each other, keep no reader waiting.
fn who_reads_does_not_wait(arguments: &[&str]) {
    let mounted = Mounted::with(arguments);
    mounted.stock();
    let files = Syncs::files(&mounted, 200);
    let before = longest(&mounted);
    let disk = SlowDisk::under(&mounted);
    // The thread belongs to this test.
    let mut processor = CpuSet::new();
    processor.set(0);
    sched_setaffinity(None, &processor).unwrap();
    let syncs = Syncs::begin(files);
    wait("all to wait", || syncs.waiting() == 200);
    let took = longest(&mounted);
    assert!(syncs.waiting() > 100, "{} wait", syncs.waiting());
    assert!(took < FLUSH / 4, "{took:?}, and {before:?} on a fast disk");
    // Nor does a caller wait whose change becomes durable later.
    let begun = Instant::now();
    fs::create_dir(mounted.repository("_layers/sha512")).unwrap();
    assert!(begun.elapsed() < FLUSH / 4, "{:?}", begun.elapsed());
    drop(disk);
    for thread in syncs.threads {
        thread.join().unwrap().unwrap();
    }
}

#[test]
fn who_reads_waits_for_nobodys_fsync_by_rings() {
    who_reads_does_not_wait(&[]);
}

#[test]
fn who_reads_waits_for_nobodys_fsync_by_the_device() {
    who_reads_does_not_wait(&["-o", "uring=off"]);
}

/// A request that is under way when the mount or its daemon ends is answered, with an error.
fn who_waits_is_told(arguments: &[&str], end: impl Fn(&mut Mounted)) {
    let mut mounted = Mounted::with(arguments);
    mounted.stock();
    let files = Syncs::files(&mounted, 40);
    let disk = SlowDisk::under(&mounted);
    let syncs = Syncs::begin(files);
    wait("all to wait", || syncs.waiting() == 40);
    end(&mut mounted);
    let failed: BTreeSet<i32> = syncs
        .threads
        .into_iter()
        .filter_map(|thread| thread.join().unwrap().err()?.raw_os_error())
        .collect();
    let told = [libc::ENOTCONN, libc::ECONNABORTED, libc::ECANCELED];
    assert!(
        !failed.is_empty() && failed.iter().all(|error| told.contains(error)),
        "{failed:?}"
    );
    drop(disk);
}

/// Ends a connection as an administrator does.
fn abort(mounted: &Mounted) {
    let control = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let mut command = Command::new(arguments[0]);
        command.args(&arguments[1..]).arg(control.path());
        assert!(command.status().unwrap().success());
    };
    mount(&["mount", "-t", "fusectl", "none"]);
    let device = rustix::fs::minor(fs::metadata(mounted.top()).unwrap().dev());
    let abort: &Path = &control.path().join(format!("{device}/abort"));
    fs::write(abort, "1").unwrap();
    mount(&["umount"]);
}

#[test]
fn who_waits_for_a_daemon_that_is_killed_is_told() {
    for arguments in [&[][..], &["-o", "uring=off"]] {
        who_waits_is_told(arguments, Mounted::kill);
    }
}

#[test]
fn who_waits_for_a_connection_that_is_aborted_is_told_and_the_daemon_ends() {
    for arguments in [&[][..], &["-o", "uring=off"]] {
        who_waits_is_told(arguments, |mounted| {
            abort(mounted);
            mounted.ended();
        });
    }
}
