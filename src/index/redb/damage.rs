//! Tests of damaged database files: for every page that is zeroed, changed or truncated, either
//! nothing is lost or an error names the file, and nothing panics.

use std::fs;

use super::*;
use crate::index::store::contract::{change, put};

/// Size of a page of the engine in bytes.
const PAGE: usize = 4096;

/// Rows that fill more than one leaf.
fn rows() -> Vec<Pair> {
    (0..600_u32)
        .map(|number| {
            let value = number.to_be_bytes().repeat(30);
            (number.to_be_bytes().to_vec(), value)
        })
        .collect()
}

/// The file of a cleanly closed database with these rows.
fn whole(dir: &Dir) -> Vec<u8> {
    let store = Redb::open(dir, "index.redb").unwrap();
    for some in rows().chunks(100) {
        let puts = some.iter().map(|(key, value)| put(key, value));
        change(&store, puts.collect());
    }
    store.sync().unwrap();
    drop(store);
    fs::read(dir.shown("index.redb")).unwrap()
}

/// Checks a damaged file. Returns `true` if the damage was reported; fails if rows are lost without
/// an error.
fn must_be_reported(dir: &Dir, what: &str) -> bool {
    let checked = Redb::check(dir, "index.redb");
    let read = || -> Result<Vec<Pair>, StoreError> {
        let store = Redb::open_copy_on_write(dir, "index.redb")?;
        store.scan(&[0, 0][..]..&[1][..], usize::MAX)
    };
    let read = read();
    for error in [checked.as_ref().err(), read.as_ref().err()]
        .into_iter()
        .flatten()
    {
        let text = error.to_string();
        assert!(text.contains("index.redb"), "{what}: {text}");
    }
    if checked.is_err() {
        return true;
    }
    let there: Vec<Pair> = read
        .unwrap()
        .into_iter()
        .filter(|(key, _)| key.len() == 4)
        .collect();
    assert!(there == rows(), "{what}: nothing says that rows are lost");
    false
}

#[test]
fn a_damaged_page_is_reported_unless_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let dir = Dir::open(directory.path()).unwrap();
    let bytes = whole(&dir);
    let path = dir.shown("index.redb");
    assert!(!must_be_reported(&dir, "nothing is damaged"));
    let mut reported = 0;
    for (number, page) in bytes.chunks(PAGE).enumerate() {
        let at = number * PAGE;
        let mut damages: Vec<(&str, Vec<u8>)> = vec![("cut", bytes[..at].to_vec())];
        if page.iter().any(|byte| *byte != 0) {
            let mut zeroed = bytes.clone();
            zeroed[at..at + page.len()].fill(0);
            damages.push(("zeroed", zeroed));
            for place in [0, 1, 9, 64, 130, 200, 1_000, 4_000] {
                let mut flipped = bytes.clone();
                if let Some(byte) = flipped.get_mut(at + place) {
                    *byte ^= 1 << (number % 8);
                    damages.push(("changed", flipped));
                }
            }
        }
        for (kind, damaged) in damages {
            fs::write(&path, &damaged).unwrap();
            reported += usize::from(must_be_reported(&dir, &format!("page {number} {kind}")));
            assert!(fs::read(&path).unwrap() == damaged, "page {number} {kind}");
        }
    }
    assert!(reported > 100, "{reported}");
}

#[test]
fn an_unclosed_database_is_read_without_writing() {
    let directory = tempfile::tempdir().unwrap();
    let dir = Dir::open(directory.path()).unwrap();
    let store = Redb::open(&dir, "index.redb").unwrap();
    change(&store, vec![put(b"a", b"1")]);
    store.sync().unwrap();
    // As a killed process leaves it.
    fs::copy(dir.shown("index.redb"), dir.shown("killed.redb")).unwrap();
    let before = fs::read(dir.shown("killed.redb")).unwrap();
    let unwritten = Redb::open_copy_on_write(&dir, "killed.redb").unwrap();
    assert_eq!(unwritten.get(b"a").unwrap().unwrap(), b"1");
    change(&unwritten, vec![put(b"b", b"2")]);
    unwritten.sync().unwrap();
    assert_eq!(unwritten.get(b"b").unwrap().unwrap(), b"2");
    drop(unwritten);
    assert!(fs::read(dir.shown("killed.redb")).unwrap() == before);
    assert!(Redb::open_copy_on_write(&dir, "none.redb").is_err());
    assert!(!dir.shown("none.redb").exists());
}
