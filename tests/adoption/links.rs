//! Symbolic links, pipes and devices in a plain tree are data and never followed, except for links
//! in place of directories of the tree if the caller allows that.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::plain::{SMALL, put};
use super::site::{Site, odd, regfs};
use super::store::{listing, must_be_sound};

/// Places at which people split a tree over disks.
const PLACES: [&str; 7] = [
    "docker",
    "docker/registry",
    "docker/registry/v2",
    "docker/registry/v2/blobs",
    "docker/registry/v2/repositories",
    "docker/registry/v2/repositories/library/app0",
    "docker/registry/v2/repositories/library/app3/_layers",
];

/// Moves a directory of the tree to another place, and leaves a link to it.
fn split(site: &Site, place: &str) -> PathBuf {
    let disk = site.top().join("disk");
    fs::create_dir_all(&disk).unwrap();
    let moved = disk.join("part");
    fs::rename(site.plain().join(place), &moved).unwrap();
    symlink(&moved, site.plain().join(place)).unwrap();
    moved
}

#[test]
fn a_tree_that_is_split_by_links_is_not_taken_by_half() {
    for place in PLACES {
        let site = Site::with(&SMALL);
        split(&site, place);
        let mut command = regfs();
        let output = command.arg("import").arg(site.plain()).arg(site.store());
        let output = output.output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{place}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("--follow-links"), "{place}: {text}");
        let link = format!("{place} -> {}", site.top().join("disk/part").display());
        assert!(text.contains(&link), "{place}: {text}");
        let listed = regfs().arg("ls").arg(site.store()).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(!listed.contains("app"), "{place}: {listed}");
    }
}

#[test]
fn a_tree_that_is_split_by_links_is_imported_through_them_when_that_is_said() {
    for place in PLACES {
        let site = Site::with(&SMALL);
        put(&site.plain().join("docker/registry/lock"), b"beside");
        split(&site, place);
        let report = site.import(&["--follow-links", "--verify"]);
        assert_eq!(
            report["odd"].as_array().unwrap().len(),
            0,
            "{place}: {report:#}"
        );
        assert_eq!(report["tags"], 30, "{place}");
        must_be_sound(&site.store());
        for (path, _) in listing(&site.store().join("files")) {
            let kept = site.store().join("files").join(&path);
            assert!(!kept.is_symlink(), "{place}: {path} is a link");
        }
        site.export("back", &[]);
        // diff follows the links too.
        let mut diff = Command::new("diff");
        let output = diff
            .arg("-r")
            .args(["plain", "back"])
            .current_dir(site.top());
        let output = output.output().unwrap();
        assert!(output.status.success(), "{place}: {output:?}");
    }
}

#[test]
fn a_link_that_leads_nowhere_or_back_is_set_aside_and_stops_nothing() {
    let site = Site::with(&SMALL);
    let repositories = site.v2().join("repositories");
    symlink("nowhere", repositories.join("dangling")).unwrap();
    symlink("..", repositories.join("loop")).unwrap();
    symlink("../../../../..", repositories.join("library/out")).unwrap();
    let file = site.top().join("file");
    put(&file, b"not a directory");
    symlink(&file, repositories.join("file")).unwrap();
    for words in [&["--dry-run"][..], &["--follow-links", "--dry-run"]] {
        site.import(words);
    }
    // A link to another directory needs a decision of the user.
    let text = site.refused(&["import", "plain", "store"]);
    assert!(text.contains("library/out"), "{text}");
    fs::remove_file(repositories.join("library/out")).unwrap();
    for words in [&[][..], &["--follow-links"]] {
        let report = site.import(words);
        let odd = report["odd"].as_array().unwrap();
        let paths: Vec<&str> = odd
            .iter()
            .map(|one| one["path"].as_str().unwrap())
            .collect();
        let expected = ["dangling", "file", "loop"].map(|name| format!("repositories/{name}"));
        assert_eq!(paths, expected, "{report:#}");
        assert!(odd.iter().all(|one| one["finding"] == "symbolic-link"));
    }
}

#[test]
fn what_is_no_file_beside_the_tree_is_set_aside_and_named() {
    let mut site = Site::with(&SMALL);
    let beside = site.plain();
    put(&beside.join("notes/todo"), b"a file");
    symlink("/etc", beside.join("notes/etc")).unwrap();
    symlink("/etc/passwd", beside.join("passwd")).unwrap();
    let node = |name: &str, kind, device| {
        mknodat(CWD, beside.join(name), kind, Mode::RWXU, device).unwrap();
    };
    node("pipe", FileType::Fifo, 0);
    // Reading this device never ends.
    node("zero", FileType::CharacterDevice, rustix::fs::makedev(1, 5));
    let report = site.import(&[]);
    let odd = odd(&report);
    let row = |finding: &str, path: &str| (finding.into(), path.into(), "set-aside".into());
    let expected = [
        row("symbolic-link", "notes/etc"),
        row("symbolic-link", "passwd"),
        row("special-file", "pipe"),
        row("special-file", "zero"),
    ];
    assert_eq!(odd, expected);
    let kept = |path: &str| site.store().join("quarantine/beside").join(path);
    assert_eq!(
        fs::read_link(kept("passwd")).unwrap(),
        Path::new("/etc/passwd")
    );
    let names: Vec<String> = listing(&site.store().join("files"))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["docker", "docker/registry", "notes", "notes/todo"]);
    let mounted = site.mount();
    assert_eq!(fs::read(mounted.join("notes/todo")).unwrap(), b"a file");
    assert!(!mounted.join("passwd").is_symlink());
}

#[test]
fn links_of_an_older_store_are_given_back_as_links_and_never_followed() {
    let site = Site::with(&SMALL);
    site.import(&[]);
    let files = site.store().join("files");
    fs::create_dir_all(&files).unwrap();
    symlink("/etc/passwd", files.join("passwd")).unwrap();
    symlink("/etc", files.join("etc")).unwrap();
    mknodat(CWD, files.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    site.export("back", &[]);
    site.told(&["backup", "store", "backup"]);
    site.told(&["backup", "store", "backup"]);
    site.told(&["restore", "backup", "restored"]);
    for place in ["back", "backup/files", "restored/files"] {
        let at = |name: &str| site.top().join(place).join(name);
        assert_eq!(
            fs::read_link(at("passwd")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert_eq!(fs::read_link(at("etc")).unwrap(), Path::new("/etc"));
        assert!(!at("pipe").exists());
    }
}
