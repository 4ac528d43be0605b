//! Bounds of everything that users of the mount can make grow.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::mounted::{Mounted, hex};

/// Memory that the daemon has taken, in KiB.
fn memory(mounted: &Mounted) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", mounted.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let mut words = line.unwrap().split_whitespace().skip(1);
    words.next().unwrap().parse().unwrap()
}

/// Writes what is no manifest.
fn refused(mounted: &Mounted, name: &str) {
    let mut file = fs::File::create(mounted.repository(name)).unwrap();
    file.write_all(br#"{"a":"#).unwrap();
    file.sync_all().unwrap_err();
}

/// Opens a file often, says how often that went well, and waits to be told to end.
const OPENER: &str = r"
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
files, why = [], None
try:
    for _ in range(int(sys.argv[2])): files.append(os.open(sys.argv[1], os.O_RDONLY))
except OSError as error: why = error.errno
print(len(files), why, flush=True)
sys.stdin.read()
";

/// Somebody who has many files open, until it is told to end.
struct Opener(Child);

impl Opener {
    /// An ordinary user who opens a file below the top so often; and what it says of that.
    fn start(mounted: &Mounted, path: &str, count: u32) -> (Self, String) {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["python3", "-c", OPENER, path, &count.to_string()]);
        // Not a file that belongs to another user.
        command.env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.current_dir(mounted.top()).spawn().unwrap();
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut said).unwrap();
        (Self(child), said.trim().to_owned())
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

#[test]
fn who_opens_a_file_ten_thousand_times_takes_the_memory_of_one() {
    // .regfs is for the user who mounts and for this group.
    let mounted = Mounted::with(&["-o", "allow_other,control_gid=65534"]);
    mounted.stock();
    for number in 0..600 {
        let name = format!("_manifests/{number}{}", "n".repeat(200));
        refused(&mounted, &name);
    }
    let blob = "an inline blob ".repeat(1_000);
    fs::write(mounted.repository("_layers/layer"), &blob).unwrap();
    let digest = hex(blob.as_bytes());
    let blob = format!(
        "docker/registry/v2/blobs/sha256/{}/{digest}/data",
        &digest[..2]
    );
    for path in [".regfs/rejected", ".regfs/status", &blob] {
        let before = memory(&mounted);
        let (_opener, said) = Opener::start(&mounted, path, 10_000);
        // One user may hold at most half of the daemon's open files.
        let (count, _) = said.split_once(' ').unwrap();
        assert!(count.parse::<u32>().unwrap() > 400, "{path}: {said}");
        let more = memory(&mounted).saturating_sub(before);
        assert!(more < 32 << 10, "{path}: {more} KiB more");
    }
}

#[test]
fn what_our_files_said_when_they_were_opened_is_what_they_say() {
    let mounted = Mounted::new();
    mounted.stock();
    refused(&mounted, "_manifests/one");
    let rejected = mounted.top().join(".regfs/rejected");
    let open = fs::File::open(&rejected).unwrap();
    refused(&mounted, "_manifests/two");
    let lines = |file: fs::File| BufReader::new(file).lines().count();
    assert_eq!(lines(open), 1);
    assert_eq!(lines(fs::File::open(&rejected).unwrap()), 2);
}

#[test]
fn a_flood_of_refusals_is_summarised_in_the_log() {
    let mut mounted = Mounted::new();
    mounted.stock();
    for number in 0..300 {
        refused(&mounted, &format!("_manifests/{number}"));
    }
    let rejected = fs::read_to_string(mounted.top().join(".regfs/rejected")).unwrap();
    assert_eq!(rejected.lines().count(), 300);
    mounted.unmount();
    let log = fs::read_to_string(mounted.log()).unwrap();
    let told = log.lines().filter(|line| line.contains("refused"));
    let more = log.lines().filter_map(|line| {
        let (count, _) = line.split_once(" more refused")?;
        count.rsplit(' ').next()?.parse::<usize>().ok()
    });
    let (told, more) = (told.count(), more.collect::<Vec<_>>());
    assert!(told < 60, "{told} lines: {log}");
    let single = told - more.len();
    assert_eq!(single + more.iter().sum::<usize>(), 300, "{log}");
}

/// Makes files that wait for a rename until it is refused; how many, and why no more.
const WAITERS: &str = r"
import os, sys
made, why = 0, None
try:
    for number in range(int(sys.argv[2])):
        with open(f'{sys.argv[1]}/.{number}', 'wb') as file: file.write(b'x' * 100)
        made += 1
except OSError as error: why = error.errno
print(made, why, flush=True)
";

/// At most 65,536 hidden and temporary names wait at once; more are refused with `ENOSPC`.
#[test]
fn who_makes_a_hundred_thousand_files_that_wait_is_refused_in_time() {
    let mounted = Mounted::with(&["-o", "allow_other"]);
    mounted.stock();
    let before = memory(&mounted);
    let mut python = Command::new("python3");
    python.args(["-c", WAITERS]);
    python.arg(mounted.repository("_manifests")).arg("100000");
    let output = python.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "65536 28\n", "ENOSPC where the bound is");
    let more = memory(&mounted).saturating_sub(before);
    assert!(more < 256 << 10, "{more} KiB more");
    // A request that does not wait is not refused.
    fs::write(mounted.repository("_layers/another"), "layer").unwrap();
    fs::remove_file(mounted.repository("_manifests/.7")).unwrap();
    fs::write(mounted.repository("_manifests/.more"), "x").unwrap();
}

#[test]
fn a_terabyte_of_holes_keeps_nobody_from_unmounting() {
    for options in ["rw", "passthrough=off"] {
        let mut mounted = Mounted::with(&["-o", options]);
        mounted.stock();
        let (file, path) = super::passthrough::upload(&mounted, 1);
        file.set_len(1 << 40).unwrap();
        drop(file);
        fs::remove_file(&path).unwrap();
        let (file, _) = super::passthrough::upload(&mounted, 2);
        file.set_len(1 << 40).unwrap();
        drop(file);
        let began = std::time::Instant::now();
        mounted.unmount();
        let took = began.elapsed();
        assert!(took.as_secs() < 10, "{options}: {took:?}");
    }
}
