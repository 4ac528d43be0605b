//! Trees that change during an import: a user who can write the tree must not be able to lead the
//! import out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::plain::{SMALL, blob, layer, put, put_blob};
use super::site::{Site, regfs};

/// What nobody who writes the tree may bring into the store.
const SECRET: &[u8] = b"the secret of somebody else";
/// Files and blobs that change all the time.
const SWAPPED: usize = 40;
/// Imports.
const ROUNDS: usize = 6;

/// Puts a file or directory, and a link to another, at one name in turn until told to stop.
fn swap(names: &[(PathBuf, PathBuf)], stop: &AtomicBool) -> usize {
    let mut turns = 0;
    while !stop.load(Ordering::Relaxed) {
        for (name, other) in names {
            let (aside, link) = (name.with_extension("aside"), name.with_extension("link"));
            let done = fs::rename(name, &aside)
                .and_then(|()| symlink(other, &link))
                .and_then(|()| fs::rename(&link, name))
                .and_then(|()| fs::remove_file(name))
                .and_then(|()| fs::rename(&aside, name));
            // Only this thread renames these.
            done.unwrap();
            turns += 1;
        }
    }
    turns
}

/// Fails if any file below a directory holds the secret.
fn must_not_hold_the_secret(directory: &Path) {
    for row in fs::read_dir(directory).unwrap() {
        let path = row.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            must_not_hold_the_secret(&path);
        } else if let Ok(bytes) = fs::read(&path) {
            let found = bytes.windows(SECRET.len()).any(|part| part == SECRET);
            assert!(!found, "{} holds it", path.display());
        }
    }
}

/// Ends the swapper with whoever holds it.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_swapper_does_not_lead_an_import_out_of_the_tree() {
    let site = Site::with(&SMALL);
    let outside = site.top().join("outside");
    put(&outside.join("file"), &[SECRET, &layer(5, 30_000)].concat());
    put(&outside.join("directory/inside"), SECRET);
    let mut names = Vec::new();
    for number in 0..SWAPPED {
        let file = site.plain().join(format!("beside/file{number}"));
        put(&file, b"ours");
        names.push((file, outside.join("file")));
        let directory = site.plain().join(format!("beside/directory{number}"));
        put(&directory.join("inside"), b"ours");
        names.push((directory, outside.join("directory")));
        let digest = put_blob(&site.v2(), &layer(1_000 + number, 20_000));
        let data = site.v2().join(blob(&digest)).join("data");
        names.push((data, outside.join("file")));
    }
    let stop = AtomicBool::new(false);
    let turns = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| swap(&names, &stop));
        let ends = Ends(&stop);
        for _ in 0..ROUNDS {
            for words in [&["--copy"][..], &["--copy", "--verify"]] {
                let mut command = regfs();
                command.arg("import").args(words).arg(site.plain());
                // A changing tree may be refused; the import must never leave it.
                let output = command.arg(site.store()).output().unwrap();
                assert!(output.status.code().is_some(), "{output:?}");
            }
            must_not_hold_the_secret(&site.store());
            fs::remove_dir_all(site.store()).unwrap();
        }
        drop(ends);
        swapper.join().unwrap()
    });
    println!("{turns} turns during {} imports", 2 * ROUNDS);
    assert!(turns > SWAPPED, "nothing was swapped");
    // Once the tree no longer changes, everything is imported.
    let report = site.import(&["--copy"]);
    assert_eq!(report["odd"].as_array().unwrap().len(), 0, "{report:#}");
}
