//! Repositories that are renamed: open files, pending writes and listings below move with them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use super::drops::manifest;
use super::mounted::{Mounted, attribute, errno, hex, tree};
use super::passthrough::{blob, upload};

/// A repository with a tag, in `team/app`.
fn filled() -> (Mounted, PathBuf, PathBuf) {
    let mounted = Mounted::new();
    mounted.stock();
    fs::write(mounted.repository("_manifests/tags/v1"), manifest("one")).unwrap();
    let (from, to) = (
        mounted.v2("repositories/team"),
        mounted.v2("repositories/new"),
    );
    (mounted, from, to)
}

/// Everything below a directory, without what it is called itself.
fn below(directory: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let own = directory.display().to_string();
    let rows = tree(directory).into_iter();
    rows.map(|(path, content)| (path.replacen(&own, "", 1), content))
        .collect()
}

/// A repository, or a directory of repositories, is renamed in one step with everything in it.
#[test]
fn a_directory_of_repositories_moves_with_all_that_is_in_it() {
    let (mut mounted, from, to) = filled();
    fs::create_dir_all(from.join("app/deep/er/_layers")).unwrap();
    // Everything has been looked up and cached.
    let before = below(&from);
    let link = fs::metadata(from.join("app/_manifests/tags/v1/current/link")).unwrap();
    fs::rename(&from, &to).unwrap();
    assert!(!from.exists());
    assert_eq!(below(&to), before);
    let moved = fs::metadata(to.join("app/_manifests/tags/v1/current/link")).unwrap();
    assert_eq!((moved.ino(), moved.mtime()), (link.ino(), link.mtime()));
    // A new repository of the old name is a different one.
    fs::create_dir_all(from.join("app/_layers")).unwrap();
    assert_eq!(fs::read_dir(from.join("app")).unwrap().count(), 1);
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(below(&to), before);
}

/// Files that are open below a renamed repository go on under its new name.
#[test]
fn what_is_open_below_goes_on_where_it_is_now() {
    let (mounted, from, to) = filled();
    let tag = "app/_manifests/tags/v1/current/link";
    let mut shown = File::open(from.join(tag)).unwrap();
    let (mut bytes, path) = upload(&mounted, 1);
    bytes.write_all(b"first, ").unwrap();
    let mut dropped = File::create(from.join("app/_layers/late.tar")).unwrap();
    dropped.write_all(b"a late ").unwrap();
    let mut waiting = File::create(from.join("app/_manifests/.hidden")).unwrap();
    let newer = manifest("two");
    waiting.write_all(newer.as_bytes()).unwrap();
    let mut options = File::options();
    let rewritten = options.write(true).open(from.join(tag)).unwrap();
    let mut names = fs::read_dir(from.join("app")).unwrap();
    let first = names.next().unwrap().unwrap().file_name();
    fs::rename(&from, &to).unwrap();

    let old = format!("sha256:{}", hex(manifest("one").as_bytes()));
    let mut text = String::new();
    shown.read_to_string(&mut text).unwrap();
    assert_eq!(text, old);
    let rest: Vec<_> = names.map(|row| row.unwrap().file_name()).collect();
    assert_eq!(rest.len(), 2, "{first:?} and {rest:?}");
    // A drop, an upload and a pending file, all begun before.
    dropped.write_all(b"layer").unwrap();
    drop(dropped);
    let layer = format!("app/_layers/sha256/{}/link", hex(b"a late layer"));
    assert!(to.join(layer).exists());
    bytes.write_all(b"second").unwrap();
    bytes.sync_all().unwrap();
    let upload = to.join(path.strip_prefix(&from).unwrap());
    assert_eq!(fs::read(&upload).unwrap(), b"first, second");
    fs::rename(&upload, blob(&mounted, b"first, second")).unwrap();
    drop(waiting);
    fs::rename(
        to.join("app/_manifests/.hidden"),
        to.join("app/_manifests/tags/v2"),
    )
    .unwrap();
    // Bytes written to the old link go to the new one.
    let new = format!("sha256:{}", hex(newer.as_bytes()));
    rewritten.set_len(0).unwrap();
    rewritten.write_all_at(new.as_bytes(), 0).unwrap();
    rewritten.sync_all().unwrap();
    assert_eq!(fs::read_to_string(to.join(tag)).unwrap(), new);
    assert!(!from.exists());
    // So does the reason of a refusal.
    let wrong = to.join("app/_manifests/wrong");
    let mut wrong = File::create(wrong).unwrap();
    wrong.write_all(b"{").unwrap();
    wrong.sync_all().unwrap_err();
    fs::rename(to.join("app"), to.join("again")).unwrap();
    let reason = attribute(&to.join("again/_manifests"), "user.regfs.error").unwrap();
    assert!(reason.contains("not-json"), "{reason}");
}

#[test]
fn a_listing_that_is_being_read_goes_on_in_what_was_moved() {
    let (mounted, from, to) = filled();
    let tags = from.join("app/_manifests/tags");
    for number in 0..900 {
        fs::create_dir(tags.join(format!("t{number:03}"))).unwrap();
    }
    let mut rows = fs::read_dir(&tags).unwrap();
    let mut names: Vec<_> = rows
        .by_ref()
        .take(3)
        .map(|row| row.unwrap().file_name())
        .collect();
    fs::rename(&from, &to).unwrap();
    names.extend(rows.map(|row| row.unwrap().file_name()));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 901);
    let tag = to.join("app/_manifests/tags/t500/current");
    fs::create_dir(tag).unwrap();
    drop(mounted);
}

/// A rename to a name that no repository can have is refused with `EINVAL` or `ENAMETOOLONG`, one
/// onto a directory that is not empty with `ENOTEMPTY`.
#[test]
fn what_cannot_be_named_so_is_refused_and_nothing_changed() {
    let (mounted, from, to) = filled();
    let rename = |to: PathBuf| errno(fs::rename(&from, to));
    let long = "x".repeat(250);
    let deep = mounted.v2(&format!("repositories/{long}"));
    fs::create_dir(&deep).unwrap();
    assert_eq!(rename(deep.join("long")), 36, "ENAMETOOLONG by itself");
    assert_eq!(rename(deep.join("a")), 36, "ENAMETOOLONG by what is below");
    assert_eq!(rename(mounted.v2("repositories/No Name")), 22, "EINVAL");
    assert_eq!(rename(from.join("app/below")), 22, "EINVAL");
    let full = to.join("full");
    fs::create_dir_all(full.join("_layers")).unwrap();
    assert_eq!(rename(full), 39, "ENOTEMPTY");
    let empty = to.join("empty");
    fs::create_dir_all(&empty).unwrap();
    // Tags and links stay where they are.
    let tag = from.join("app/_manifests/tags/v1");
    assert_eq!(
        errno(fs::rename(&tag, to.join("full/_layers/v1"))),
        18,
        "EXDEV"
    );
    fs::rename(&from, &empty).unwrap();
    assert!(empty.join("app/_manifests/tags/v1/current/link").exists());
    assert!(!from.exists());
}

/// More than 190 repositories are not renamed at once: `EXDEV`.
#[test]
fn what_is_too_much_at_once_is_to_be_copied() {
    let (mounted, from, to) = filled();
    for number in 0..200 {
        fs::create_dir(from.join(format!("r{number}"))).unwrap();
    }
    assert_eq!(errno(fs::rename(&from, &to)), 18, "EXDEV");
    for number in 0..20 {
        fs::remove_dir(from.join(format!("r{number}"))).unwrap();
    }
    fs::rename(&from, &to).unwrap();
    assert_eq!(fs::read_dir(&to).unwrap().count(), 181);
    drop(mounted);
}
