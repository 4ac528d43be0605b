//! Failing I/O on real files: the n-th writing system call of a process fails, for every n, by
//! fault injection. Afterwards everything acknowledged is there, nothing incomplete is visible, and
//! every operation can be repeated.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use regfs::digest::Digest;
use regfs::dir::Dir;
use regfs::name::LinkSet;
use regfs::registry::{Error, Policy, Recover, Registry};

use super::faults::{Acknowledged, check, live, tag, uploaded};

/// The system calls by which anything is written.
const CALLS: &str = "pwrite64,fsync,fdatasync,rename,renameat2,unlink,unlinkat,ftruncate,mkdir,mkdirat,linkat,syncfs";
/// Where the process that is made to fail finds its store.
const STORE: &str = "REGFS_FAILING_STORE";

fn told(done: &Acknowledged) -> String {
    let mut text = String::from("acknowledged\n");
    for digest in &done.blobs {
        let _ = writeln!(text, "blob {digest}");
    }
    for (set, digest) in &done.links {
        let _ = match set {
            LinkSet::Layers => writeln!(text, "layer {digest}"),
            LinkSet::TagIndex(tag) => writeln!(text, "index {tag} {digest}"),
            _ => writeln!(text, "revision {digest}"),
        };
    }
    for (label, digest) in &done.tags {
        let _ = writeln!(text, "tag {label} {digest}");
    }
    for digest in &done.removed {
        let _ = writeln!(text, "removed {digest}");
    }
    text
}

fn understood(text: &str) -> Acknowledged {
    let mut done = Acknowledged::default();
    let lines = text.lines().skip_while(|line| *line != "acknowledged");
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let digest = || words.last().unwrap().parse::<Digest>().unwrap();
        match words.first().copied() {
            Some("blob") => done.blobs.push(digest()),
            Some("layer") => done.links.push((LinkSet::Layers, digest())),
            Some("revision") => done.links.push((LinkSet::Revisions, digest())),
            Some("index") => {
                let set = LinkSet::TagIndex(tag(words.get(1).unwrap()));
                done.links.push((set, digest()));
            }
            Some("tag") => done.tags.push((tag(words.get(1).unwrap()), digest())),
            Some("removed") => done.removed.push(digest()),
            _ => {}
        }
    }
    done
}

/// What is done in the process that is made to fail.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child() {
    let Some(store) = std::env::var_os(STORE) else {
        return;
    };
    let mut done = Acknowledged::default();
    match Registry::open(
        &Dir::open(Path::new(&store)).unwrap(),
        Policy::default(),
        Recover::Refuse,
    ) {
        Ok(registry) => {
            if let Err(error) = live(&registry, &mut done) {
                eprintln!("failed: {error}");
                // Acknowledged data can be read, whatever else has failed.
                check(&registry, &done, &uploaded());
            }
        }
        Err(error) => eprintln!("failed to open: {error}"),
    }
    println!("{}", told(&done));
}

/// Runs the child under strace with these arguments; what it printed.
fn run(store: &Path, arguments: &[&str]) -> String {
    fs::create_dir(store).unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(arguments);
    strace.arg(std::env::current_exe().unwrap());
    strace.args(["io::child", "--exact", "--ignored", "--nocapture"]);
    let output = strace.env(STORE, store).output().expect("strace");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}\n{text}\n{errors}");
    text
}

/// Most calls that one thread of the child makes.
fn calls(store: &Path, log: &Path) -> usize {
    let trace = format!("trace={CALLS}");
    run(store, &["-o", log.to_str().unwrap(), "-e", &trace]);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let thread = line.split(' ').next().unwrap_or_default().to_owned();
        *counts.entry(thread).or_default() += 1;
    }
    counts.into_values().max().unwrap()
}

fn fail_each(errno: &str) {
    let work = tempfile::tempdir().unwrap();
    let calls = calls(&work.path().join("whole"), &work.path().join("log"));
    assert!(calls > 40, "{calls} calls");
    let mut failures = 0;
    for n in 1..=calls {
        let store = work.path().join(n.to_string());
        let inject = format!("inject={CALLS}:error={errno}:when={n}");
        let trace = format!("trace={CALLS}");
        let text = run(&store, &["-o", "/dev/null", "-e", &trace, "-e", &inject]);
        let done = understood(&text);
        failures += usize::from(done.removed.is_empty());
        let registry = Registry::open(
            &Dir::open(&store).unwrap(),
            Policy::default(),
            Recover::Refuse,
        );
        let registry = registry.unwrap_or_else(|error| panic!("{errno} {n}: {error}"));
        check(&registry, &done, &uploaded());
        match live(&registry, &mut Acknowledged::default()) {
            Ok(()) | Err(Error::Exists) => {}
            Err(error) => panic!("{errno} {n}: afterwards: {error}"),
        }
        drop(registry);
        fs::remove_dir_all(&store).unwrap();
    }
    println!("{errno}: each of {calls} calls failed once, {failures} failures were seen");
    assert!(failures > 0, "no failure was ever seen");
}

/// What was acknowledged survives, whichever write or flush of the disk fails.
#[test]
fn whichever_call_fails_with_an_io_error_nothing_acknowledged_is_lost() {
    fail_each("EIO");
}

#[test]
fn whichever_call_fails_for_want_of_space_nothing_acknowledged_is_lost() {
    fail_each("ENOSPC");
}
