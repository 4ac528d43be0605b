//! Inode numbers: unique, the same in stat and listings, and the same after every remount.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::drops::manifest;
use super::mounted::{Mounted, hex};

/// The numbers of all files below a directory, as stat and listings tell them.
fn numbers(top: &Path) -> BTreeMap<PathBuf, u64> {
    let mut seen = BTreeMap::from([(top.to_owned(), fs::metadata(top).unwrap().ino())]);
    listed(top, &mut seen);
    seen
}

fn listed(directory: &Path, seen: &mut BTreeMap<PathBuf, u64>) {
    let open = File::open(directory).unwrap();
    for row in rustix::fs::Dir::read_from(&open).unwrap() {
        let row = row.unwrap();
        let name = row.file_name().to_str().unwrap().to_owned();
        let path = directory.join(&name);
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_ne!(row.ino(), 0);
        // The parent of the mountpoint is in another filesystem.
        if metadata.dev() == open.metadata().unwrap().dev() {
            assert_eq!(row.ino(), metadata.ino(), "{}", path.display());
        }
        if name == "." || name == ".." {
            continue;
        }
        seen.insert(path.clone(), row.ino());
        if metadata.is_dir() {
            listed(&path, seen);
        }
    }
}

/// Something of every kind, as registries and people make it.
fn fill(mounted: &Mounted) {
    mounted.stock();
    fs::write(mounted.repository("_manifests/tags/v1"), manifest("1")).unwrap();
    let upload = mounted.repository("_uploads/01234567-89ab-4def-8123-456789abcdef");
    fs::create_dir_all(&upload).unwrap();
    for (name, content) in [("startedat", "2026-01-01T00:00:00Z"), ("data", "bytes")] {
        fs::write(upload.join(name), content).unwrap();
    }
    // As distribution 3.1 writes, and through an open file.
    let hex = hex(b"layer");
    let other = mounted.v2("repositories/other/_layers/sha256").join(&hex);
    fs::create_dir_all(&other).unwrap();
    let temporary = other.join("link.9b2a4c0e-5d0f-4b2a-8a53-0f7a1d6b1c11.tmp");
    let mut file = File::create(&temporary).unwrap();
    write!(file, "sha256:{hex}").unwrap();
    let made = file.metadata().unwrap().ino();
    fs::rename(&temporary, other.join("link")).unwrap();
    assert_eq!(file.metadata().unwrap().ino(), made);
    drop(file);
    fs::create_dir(mounted.top().join("plain")).unwrap();
    fs::write(mounted.top().join("plain/notes"), "notes").unwrap();
}

/// An inode number belongs to one file, is the same in `stat` and in listings, and is the same
/// after every mount.
#[test]
fn a_number_is_one_files_alone_and_stays_when_the_mount_does_not() {
    let mut mounted = Mounted::new();
    fill(&mounted);
    let top = mounted.top();
    // The daemon learns of a close no later than this.
    mounted.unmount();
    mounted.mount(&[]);
    let before = numbers(&top);
    assert!(before.len() > 40, "{before:#?}");
    let distinct: BTreeSet<u64> = before.values().copied().collect();
    assert_eq!(distinct.len(), before.len(), "{before:#?}");
    assert_eq!(before[&top], 1);
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(numbers(&top), before);
    // As on any disk, a plain file keeps its number when it is renamed.
    let (old, new) = (top.join("plain/notes"), top.join("renamed"));
    fs::rename(&old, &new).unwrap();
    assert_eq!(fs::metadata(&new).unwrap().ino(), before[&old]);
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(fs::metadata(&new).unwrap().ino(), before[&old]);
}

#[test]
fn what_was_just_made_has_the_number_that_it_keeps() {
    let mut mounted = Mounted::new();
    fill(&mounted);
    let top = mounted.top();
    super::mounted::wait("the kernel to close what was closed", || {
        let status = fs::read_to_string(top.join(".regfs/status")).unwrap();
        status.contains("files being written: 0")
    });
    let before = numbers(&top);
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(numbers(&top), before);
}

#[test]
fn of_very_many_names_each_is_listed_with_its_number() {
    let mounted = Mounted::new();
    mounted.stock();
    let directory = mounted.repository("_layers/sha256");
    for number in 0..1_500_u32 {
        fs::create_dir_all(directory.join(hex(&number.to_be_bytes()))).unwrap();
    }
    let seen = numbers(&directory);
    let distinct: BTreeSet<u64> = seen.values().copied().collect();
    assert_eq!(distinct.len(), seen.len());
}

/// A file that is removed while it is open is another file than the one that gets its name
/// afterwards.
#[test]
fn what_is_removed_while_open_is_another_file_than_what_comes_after_it() {
    let mounted = Mounted::new();
    mounted.stock();
    let link = mounted.repository("_manifests/tags/v1/current/link");
    fs::write(mounted.repository("_manifests/tags/v1"), manifest("old")).unwrap();
    let plain = mounted.top().join("plain");
    fs::write(&plain, "the old one").unwrap();
    let mut open = [&link, &plain].map(|path| File::open(path).unwrap());
    let text = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let old = [&link, &plain].map(text);
    fs::remove_dir_all(mounted.repository("_manifests/tags/v1")).unwrap();
    fs::write(mounted.repository("_manifests/tags/v1"), manifest("new")).unwrap();
    fs::remove_file(&plain).unwrap();
    fs::write(&plain, "new").unwrap();
    for (file, old) in open.iter_mut().zip(old) {
        let mut read = String::new();
        file.read_to_string(&mut read).unwrap();
        assert_eq!(read, old);
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.nlink(), metadata.len()), (0, old.len() as u64));
    }
    for path in [&link, &plain] {
        let metadata = fs::metadata(path).unwrap();
        assert_eq!(
            (metadata.nlink(), metadata.len()),
            (1, text(path).len() as u64)
        );
    }
}
