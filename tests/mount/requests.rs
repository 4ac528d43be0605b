//! Requests of the kernel: none that an earlier reply could have made unnecessary.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::drops::manifest;
use super::mounted::{Mounted, attribute, forget, hex, keep, tree};

/// How often was asked for what, by name.
fn counts(mounted: &Mounted) -> BTreeMap<String, u64> {
    let status = fs::read_to_string(mounted.top().join(".regfs/status")).unwrap();
    let lines = status
        .lines()
        .filter_map(|line| line.strip_prefix("requests, "));
    let counts = lines.map(|line| line.split_once(": ").unwrap());
    counts
        .map(|(kind, count)| (kind.to_owned(), count.parse().unwrap()))
        .collect()
}

/// What was asked for more often than before, but for what reading the counts itself takes.
fn since(mounted: &Mounted, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let now = counts(mounted);
    let reading = ["lookup", "open", "read", "getattr", "release", "flush"];
    let more = now.into_iter().map(|(kind, count)| {
        let spared = if reading.contains(&&*kind) { 4 } else { 0 };
        let before = before.get(&kind).copied().unwrap_or_default();
        (kind, (count - before).saturating_sub(spared))
    });
    more.filter(|(_, count)| *count > 0).collect()
}

fn stat_all(directory: &Path) -> u64 {
    let rows = fs::read_dir(directory).unwrap().map(Result::unwrap);
    rows.map(|row| {
        let found = row.metadata().unwrap();
        let below = if found.is_dir() {
            stat_all(&row.path())
        } else {
            0
        };
        found.size() + below
    })
    .sum()
}

/// Names, attributes, listings and links that were read and have not changed come from the kernel's
/// cache.
#[test]
fn a_tree_that_was_seen_is_not_asked_for_again() {
    let _kept = keep();
    let mounted = Mounted::new();
    mounted.stock();
    for number in 0..40 {
        let tag = mounted.repository(&format!("_manifests/tags/t{number}"));
        fs::write(tag, manifest(&number.to_string())).unwrap();
    }
    let top = mounted.v2("repositories");
    let (seen, size) = (tree(&top), stat_all(&top));
    // The first read makes the kernel update the atime, and ask for the times once more.
    assert_eq!(tree(&top), seen);
    let before = counts(&mounted);
    assert_eq!(stat_all(&top), size);
    assert_eq!(since(&mounted, &before), BTreeMap::new());
    assert_eq!(tree(&top), seen);
    // Files must be opened, which no reply can avoid here, but they are not read again.
    let asked = since(&mounted, &before);
    let kinds: Vec<&str> = asked.keys().map(String::as_str).collect();
    assert!(
        kinds.iter().all(|kind| ["open", "release"].contains(kind)),
        "{asked:?}"
    );
}

#[test]
fn of_attributes_that_there_are_not_is_asked_once_by_ls() {
    let _kept = keep();
    let mounted = Mounted::new();
    mounted.stock();
    fs::write(mounted.repository("_manifests/tags/v1"), manifest("1")).unwrap();
    let before = counts(&mounted);
    let listed = std::process::Command::new("ls")
        .arg("-lR")
        .arg(mounted.v2(""))
        .output();
    assert!(listed.unwrap().status.success());
    let asked = since(&mounted, &before);
    assert!(
        asked.get("getxattr").copied().unwrap_or_default() <= 4,
        "{asked:?}"
    );
    let link = mounted.repository("_manifests/tags/v1/current/link");
    assert!(
        attribute(&link, "user.regfs.digest")
            .unwrap()
            .starts_with("sha256:")
    );
}

#[test]
fn to_close_an_upload_again_and_again_asks_for_no_flush() {
    let mounted = Mounted::new();
    let upload = "_uploads/01234567-89ab-4def-8123-456789abcdef";
    fs::create_dir_all(mounted.repository(upload)).unwrap();
    let before = counts(&mounted);
    for number in 0..20 {
        let data = mounted.repository(upload).join("data");
        let mut data = fs::File::options()
            .create(true)
            .append(true)
            .open(data)
            .unwrap();
        data.write_all(&[number; 1000]).unwrap();
        data.sync_all().unwrap();
    }
    let asked = since(&mounted, &before);
    assert!(asked["fsync"] >= 16, "{asked:?}");
    assert_eq!(asked.get("flush"), None, "{asked:?}");
}

#[test]
fn of_very_many_names_the_kernel_gets_names_alone_and_finds_each() {
    let mounted = Mounted::new();
    mounted.stock();
    let directory = mounted.repository("_layers/sha256");
    for number in 0..1_500_u32 {
        let hex = hex(&number.to_be_bytes());
        fs::create_dir_all(directory.join(hex)).unwrap();
    }
    forget("2");
    let _kept = keep();
    let names = || -> Vec<_> {
        let rows = fs::read_dir(&directory).unwrap();
        rows.map(|row| row.unwrap().file_name()).collect()
    };
    let listed = names();
    assert!(listed.len() >= 1_500 && listed.is_sorted());
    let before = counts(&mounted);
    for name in &listed {
        assert!(directory.join(name).metadata().unwrap().is_dir());
    }
    let asked = since(&mounted, &before);
    let lookups = asked.get("lookup").copied().unwrap_or_default();
    assert!((300..=700).contains(&lookups), "{asked:?}");
    assert_eq!(names(), listed);
}
