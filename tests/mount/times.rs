//! Times as programs that copy and back up see them: they survive.

use std::collections::BTreeSet;
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
    // A line that begins with a dot: the content is unchanged, but perhaps not the mode.
    let files = told
        .lines()
        .filter(|line| line.starts_with(['>', '<', 'c']) && !line.ends_with('/'));
    files.collect::<Vec<_>>().join("\n")
}

/// A program that copies a tree may write an upload's start before its data.
#[test]
fn the_start_of_an_upload_keeps_its_time_while_the_upload_changes() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let upload = mounted.repository("_uploads/01890a5d-ac96-774b-bcce-b302099a8057");
    fs::create_dir_all(&upload).unwrap();
    let start = upload.join("startedat");
    fs::write(&start, "2020-01-01T00:00:00Z").unwrap();
    let touch = Command::new("touch")
        .args(["-d", "2020-01-01T00:00:00Z"])
        .arg(&start)
        .status();
    assert!(touch.unwrap().success());
    fs::write(upload.join("data"), "some").unwrap();
    fs::create_dir_all(upload.join("hashstates/sha256")).unwrap();
    assert_eq!(young(&start), Vec::<String>::new());
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(young(&start), Vec::<String>::new());
    fs::write(&start, "2020-01-01T00:00:01Z").unwrap();
    assert_eq!(young(&start).len(), 1);
    fs::remove_file(&start).unwrap();
    fs::write(&start, "2020-01-01T00:00:00Z").unwrap();
    assert_eq!(young(&start).len(), 1);
}

/// `rsync -a`, `cp -a` and `tar` keep times to the second, so that a second `rsync -a` transfers
/// nothing.
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

/// The time that is set of a link lasts, across mounts, until something is written to it.
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

/// Sets the time of everything back.
fn age(root: &Path) {
    let aged = Command::new("find")
        .arg(root)
        .args(["-depth", "-exec", "touch", "-d", "@1000000000", "{}", "+"])
        .status();
    assert!(aged.unwrap().success());
}

/// Directories that have changed since, but for those of uploads under way.
fn changed(root: &Path) -> BTreeSet<String> {
    let found = Command::new("find")
        .arg(root)
        .args(["-type", "d", "-newermt", "@1000000001", "-printf", "%P\\n"])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let rows = found.lines().filter(|row| !row.contains("_uploads/"));
    rows.map(str::to_owned).collect()
}

/// A directory has the time of the last change of its entries, also after the next mount.
#[test]
fn a_directory_has_the_time_of_the_last_change_of_its_entries() {
    let one = "1".repeat(64);
    let two = "2".repeat(64);
    let blob = super::mounted::hex(b"blob");
    let (shard, app) = (&blob[..2], "repositories/team/app");
    let upload = "01890a5d-ac96-774b-bcce-b302099a8057";
    let (layer, tag) = (
        format!("{app}/_layers/sha256/{one}"),
        format!("{app}/_manifests/tags/v1"),
    );
    let data = format!("blobs/sha256/{shard}/{blob}");
    let link = |path: &str, of: &str| format!("mkdir -p {path} && printf sha256:{of} >{path}/link");
    let operations = [
        format!("mkdir -p {layer}"),
        link(&layer, &one),
        link(&format!("{app}/_layers/sha256/{two}"), &two),
        link(&format!("{app}/_manifests/revisions/sha256/{one}"), &one),
        link(&format!("{tag}/index/sha256/{one}"), &one),
        link(&format!("{tag}/current"), &one),
        link(&format!("{app}/_manifests/tags/v2/current"), &one),
        format!(
            "cd {tag}/current && printf sha256:{two} >link.{upload}.tmp && mv link.{upload}.tmp link"
        ),
        link(&format!("{tag}/index/sha256/{two}"), &two),
        format!("rm -r {tag}/index/sha256/{one}"),
        format!("mkdir -p {data}"),
        format!("printf blob >{data}/data"),
        format!("mkdir -p {app}/_uploads/{upload}"),
        format!("rmdir {app}/_uploads/{upload}"),
        format!("rm {layer}/link"),
        format!("rmdir {layer}"),
        format!("rm -r {tag}"),
        "mkdir repositories/team/other".to_owned(),
        "rmdir repositories/team/other".to_owned(),
        format!("mv {app} repositories/team/moved && mv repositories/team/moved {app}"),
        format!("rm {data}/data"),
        format!("rmdir {data}"),
        format!("rm -r {app}"),
    ];
    let work = tempfile::tempdir().unwrap();
    let plain = work.path().join("v2");
    for name in ["blobs", "repositories"] {
        fs::create_dir_all(plain.join(name)).unwrap();
    }
    let mut mounted = Mounted::new();
    let v2 = mounted.v2("");
    for operation in operations {
        for root in [&plain, &v2] {
            age(root);
            assert_eq!(changed(root), BTreeSet::new(), "before {operation}");
            let mut shell = Command::new("sh");
            let done = shell.args(["-c", &operation]).current_dir(root).status();
            assert!(done.unwrap().success(), "{operation}");
        }
        assert_eq!(changed(&v2), changed(&plain), "{operation}");
        mounted.unmount();
        mounted.mount(&[]);
        assert_eq!(changed(&v2), changed(&plain), "{operation}, mounted again");
    }
    let checked = regfs().arg("fsck").arg(mounted.store()).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

/// Mounting again changes no time.
#[test]
fn nothing_changes_its_time_by_being_mounted_again() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let manifest = super::drops::manifest("times");
    fs::write(mounted.repository("_manifests/tags/v1"), manifest).unwrap();
    let times = |top: &Path| {
        let mut find = Command::new("find");
        find.arg(top).args(["-printf", "%p %Ts\\n"]);
        String::from_utf8(find.output().unwrap().stdout).unwrap()
    };
    let before = times(&mounted.v2(""));
    assert!(before.lines().count() > 10);
    mounted.unmount();
    // Wait for the next second, so that a new time would differ.
    let second = |time: std::time::SystemTime| {
        time.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let now = second(std::time::SystemTime::now());
    super::mounted::wait("the next second", || {
        second(std::time::SystemTime::now()) > now
    });
    mounted.mount(&[]);
    assert_eq!(times(&mounted.v2("")), before);
}
