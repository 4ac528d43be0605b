//! Listings of a directory that changes meanwhile, in replies of few names.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use rustix::fs::RawDir;

use super::mounted::{Mounted, forget, hex};

/// Bytes of a reply that holds about twenty names.
const FEW: usize = 4096;

/// A tag as registries leave it, with the directories that a walk meets.
fn tag(mounted: &Mounted, name: &str) {
    let digest = hex(name.as_bytes());
    let index = format!("index/sha256/{digest}");
    for path in ["current", &index] {
        let path = mounted.repository(&format!("_manifests/tags/{name}/{path}"));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("link"), format!("sha256:{digest}")).unwrap();
    }
}

/// Reads as many names as one reply holds.
fn some(directory: &File, names: &mut Vec<String>) -> bool {
    let mut buffer = [MaybeUninit::uninit(); FEW];
    let mut rows = RawDir::new(directory, &mut buffer);
    let before = names.len();
    while let Some(row) = rows.next() {
        let name = row.unwrap().file_name().to_str().unwrap().to_owned();
        names.push(name);
        if rows.is_buffer_empty() {
            break;
        }
    }
    names.retain(|name| name != "." && name != "..");
    names.len() > before
}

/// Removes a tree as it is being listed, reply by reply, as busybox and musl do.
fn remove(path: &Path) {
    let directory = File::open(path).unwrap();
    let mut names = Vec::new();
    while some(&directory, &mut names) {
        for name in names.drain(..) {
            let path = path.join(name);
            if path.is_dir() {
                remove(&path);
            } else {
                fs::remove_file(path).unwrap();
            }
        }
    }
    fs::remove_dir(path).unwrap();
}

/// Removing names while a directory is read hides no other name from the listing.
#[test]
fn names_removed_while_a_directory_is_listed_hide_no_others() {
    let mounted = Mounted::new();
    mounted.stock();
    let directory = mounted.repository("_layers/sha256");
    for number in 0..1_000_u32 {
        fs::create_dir_all(directory.join(hex(&number.to_be_bytes()))).unwrap();
    }
    // Each name is removed as soon as it is listed, like rm -r.
    let mut removed = 0;
    for row in fs::read_dir(&directory).unwrap() {
        removed += usize::from(fs::remove_dir(row.unwrap().path()).is_ok());
    }
    assert!(removed >= 1_000, "{removed}");
}

#[test]
fn a_tree_removed_while_it_is_listed_is_removed_whole() {
    let mounted = Mounted::new();
    mounted.stock();
    for number in 0..1_200 {
        tag(&mounted, &format!("v{number}"));
    }
    // Between two replies many other directories are listed, which evict the page of this one.
    remove(&mounted.repository("_manifests/tags"));
    assert!(!mounted.repository("_manifests/tags").exists());
}

#[test]
fn a_name_removed_before_it_was_listed_is_not_there_again() {
    let mounted = Mounted::new();
    mounted.stock();
    let tags = mounted.repository("_manifests/tags");
    for number in 100..400 {
        fs::create_dir(tags.join(format!("v{number}"))).unwrap();
    }
    for gone in ["v125", "v200", "v350"] {
        let (directory, mut names) = (File::open(&tags).unwrap(), Vec::new());
        assert!(some(&directory, &mut names));
        while names.last().unwrap().as_str() < "v120" || names.len() % 100 > 90 {
            assert!(some(&directory, &mut names));
        }
        fs::remove_dir(tags.join(gone)).unwrap();
        while some(&directory, &mut names) {}
        assert!(fs::metadata(tags.join(gone)).is_err(), "{gone}");
        fs::create_dir_all(tags.join(gone).join("current")).unwrap();
    }
}

/// Whoever lists a directory sees each name that is there all the time exactly once.
#[test]
fn two_who_list_at_once_see_what_is_there_all_the_time_once() {
    let mounted = Mounted::new();
    mounted.stock();
    let tags = mounted.repository("_manifests/tags");
    let names = |from, to| (from..to).map(|number: u32| format!("v{number}"));
    for name in names(100, 200) {
        fs::create_dir(tags.join(name)).unwrap();
    }
    let (first, mut seen) = (File::open(&tags).unwrap(), Vec::new());
    assert!(some(&first, &mut seen));
    fs::remove_dir(tags.join("v103")).unwrap();
    let (second, mut also) = (File::open(&tags).unwrap(), Vec::new());
    assert!(some(&second, &mut also));
    while some(&first, &mut seen) | some(&second, &mut also) {}
    for mut listed in [seen, also] {
        listed.retain(|name| name != "v103");
        let stays: Vec<String> = names(100, 200).filter(|name| name != "v103").collect();
        assert_eq!(listed.len(), stays.len());
        assert_eq!(
            listed.into_iter().collect::<BTreeSet<_>>(),
            stays.into_iter().collect()
        );
    }
}

#[test]
fn what_is_in_a_plain_directory_moves_with_it() {
    let mounted = Mounted::new();
    let (old, new) = (mounted.top().join("a"), mounted.top().join("b"));
    fs::create_dir(&old).unwrap();
    fs::write(old.join("file"), "old").unwrap();
    fs::rename(&old, &new).unwrap();
    fs::create_dir(&old).unwrap();
    fs::write(old.join("file"), "new").unwrap();
    assert_eq!(fs::read(new.join("file")).unwrap(), b"old");
    assert_eq!(fs::read(old.join("file")).unwrap(), b"new");
    fs::write(new.join("file"), "older").unwrap();
    assert_eq!(fs::read(old.join("file")).unwrap(), b"new");
}

/// A directory of 200 tags, of which the kernel has the whole listing, and gives it out in parts of
/// its own.
fn listed(mounted: &Mounted) -> PathBuf {
    mounted.stock();
    for number in 0..200 {
        tag(mounted, &format!("v{number}"));
    }
    let tags = mounted.repository("_manifests/tags");
    for _ in 0..2 {
        assert_eq!(fs::read_dir(&tags).unwrap().count(), 200);
    }
    tags
}

#[test]
fn what_is_removed_after_it_was_listed_once_is_removed_whole() {
    let mounted = Mounted::new();
    let tags = listed(&mounted);
    remove(&tags);
    assert!(!tags.exists());
}

#[test]
fn what_the_kernel_forgets_while_it_gives_out_a_listing_is_listed_all_the_same() {
    let mounted = Mounted::new();
    let tags = listed(&mounted);
    let (directory, mut names, mut removed) = (File::open(&tags).unwrap(), Vec::new(), 0);
    while some(&directory, &mut names) {
        removed += names.len();
        for name in names.drain(..) {
            fs::remove_dir_all(tags.join(name)).unwrap();
        }
        forget("3");
    }
    assert_eq!(removed, 200);
    fs::remove_dir(tags).unwrap();
}
