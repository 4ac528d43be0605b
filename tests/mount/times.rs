//! Times as programs that copy and back up meet them: they last.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::mounted::{Mounted, regfs};

/// A plain tree whose files are of 2020.
fn plain(work: &Path) -> std::path::PathBuf {
    let mounted = Mounted::new();
    mounted.stock();
    let manifest = super::drops::manifest("times");
    fs::write(mounted.repository("_manifests/tags/v1"), manifest).unwrap();
    fs::write(mounted.repository("_layers/large"), vec![7; 40_000]).unwrap();
    let upload = mounted.repository("_uploads/01890a5d-ac96-774b-bcce-b302099a8057");
    fs::create_dir_all(upload.join("hashstates/sha256")).unwrap();
    fs::write(upload.join("startedat"), "2020-01-01T00:00:00Z").unwrap();
    fs::write(upload.join("data"), "some").unwrap();
    fs::write(upload.join("hashstates/sha256/4"), "state").unwrap();
    let plain = work.join("plain");
    let mut export = regfs();
    export.arg("export").arg(mounted.store()).arg(&plain);
    assert!(export.output().unwrap().status.success());
    let aged = Command::new("find")
        .arg(&plain)
        .args([
            "-type",
            "f",
            "-exec",
            "touch",
            "-d",
            "2020-01-01T00:00:00Z",
            "{}",
            "+",
        ])
        .status();
    assert!(aged.unwrap().success());
    plain
}

/// Files whose time is not of 2020.
fn young(directory: &Path) -> Vec<String> {
    let found = Command::new("find")
        .arg(directory)
        .args(["-type", "f", "-newermt", "2020-01-02"])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    found.lines().map(str::to_owned).collect()
}

/// What rsync would transfer.
fn transferred(from: &Path, to: &Path) -> String {
    let mut rsync = Command::new("rsync");
    rsync.args(["-a", "--out-format=%i %n"]);
    let output = rsync.arg(from).arg(to).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let files = told
        .lines()
        .filter(|line| line.as_bytes().get(1) == Some(&b'f'));
    files.map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_copies_times_has_them_kept_and_settles() {
    let work = tempfile::tempdir().unwrap();
    let plain = plain(work.path());
    for program in [&["rsync", "-a"][..], &["cp", "-a"], &["tar"]] {
        let mut mounted = Mounted::new();
        let copied = if program[0] == "tar" {
            let archive = work.path().join("archive");
            let mut pack = Command::new("tar");
            pack.arg("-cf")
                .arg(&archive)
                .arg("-C")
                .arg(&plain)
                .arg("docker");
            assert!(pack.status().unwrap().success());
            let mut unpack = Command::new("tar");
            unpack.arg("-xf").arg(&archive).arg("-C").arg(mounted.top());
            unpack.output().unwrap()
        } else {
            let mut copy = Command::new(program[0]);
            copy.args(&program[1..]).arg(plain.join("docker"));
            copy.arg(mounted.top()).output().unwrap()
        };
        assert!(copied.status.success(), "{program:?}: {copied:?}");
        let docker = mounted.top().join("docker");
        assert_eq!(young(&docker), Vec::<String>::new(), "{program:?}");
        assert_eq!(transferred(&plain.join("docker"), &mounted.top()), "");
        mounted.unmount();
        mounted.mount(&[]);
        assert_eq!(young(&docker), Vec::<String>::new(), "{program:?}");
        assert_eq!(transferred(&plain.join("docker"), &mounted.top()), "");
        let back = work.path().join(program[0]);
        assert_ne!(transferred(&docker, &back), "");
        assert_eq!(transferred(&docker, &back), "");
    }
}

#[test]
fn a_time_that_was_set_lasts_until_something_is_written() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let manifest = super::drops::manifest("times");
    fs::write(mounted.repository("_manifests/tags/v1"), manifest).unwrap();
    let link = mounted.repository("_manifests/tags/v1/current/link");
    let touched = Command::new("touch")
        .args(["-d", "@1000000000"])
        .arg(&link)
        .status();
    assert!(touched.unwrap().success());
    assert_eq!(fs::metadata(&link).unwrap().mtime(), 1_000_000_000);
    let directory = link.parent().unwrap();
    assert_eq!(fs::metadata(directory).unwrap().mtime(), 1_000_000_000);
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(fs::metadata(&link).unwrap().mtime(), 1_000_000_000);
    let other = super::drops::manifest("other");
    fs::write(mounted.repository("_manifests/tags/v1/other.json"), other).unwrap();
    assert!(fs::metadata(&link).unwrap().mtime() > 1_000_000_000);
}
