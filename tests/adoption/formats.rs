//! Formats: stores that earlier versions have written are opened, are complete, and continue in the
//! newest format.
//!
//! `tests/formats/NUMBER.tar.gz` holds stores of index format NUMBER and the checksums of their
//! trees; `tests/formats/make` created it with the program of that time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regfs::digest::{Algorithm, Digest};

use super::site::regfs;
use super::store::{listing, must_be_clean};

/// The archives, the oldest first.
fn archives() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    let rows = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = rows.map(|row| row.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "gz"));
    paths.sort();
    paths
}

/// The sums of every file of a tree, as `sha256sum` prints them.
fn sums(tree: &Path) -> String {
    let rows = listing(tree).into_iter();
    let files = rows.filter(|(path, _)| tree.join(path).is_file());
    let line = |(path, content): (String, Vec<u8>)| {
        let digest = Digest::of(Algorithm::Sha256, &content);
        format!("{}  ./{path}\n", digest.hex())
    };
    files.map(line).collect()
}

/// A store of every earlier format version is opened with all that it holds, closed well or killed.
#[test]
fn a_store_of_every_earlier_format_is_opened_whole_closed_well_or_killed() {
    let archives = archives();
    assert!(!archives.is_empty(), "there is no fixture");
    for archive in archives {
        let directory = tempfile::tempdir().unwrap();
        let mut unpack = Command::new("tar");
        unpack.arg("-xzf").arg(&archive).arg("-C");
        assert!(unpack.arg(directory.path()).status().unwrap().success());
        for name in ["closed", "killed"] {
            let store = directory.path().join(name);
            let tree = directory.path().join("tree");
            let export = regfs().arg("export").arg(&store).arg(&tree).output();
            let export = export.unwrap();
            let errors = String::from_utf8_lossy(&export.stderr);
            assert!(export.status.success(), "{}: {errors}", archive.display());
            let expected = store.with_extension("sums");
            let expected = fs::read_to_string(expected).unwrap();
            assert_eq!(sums(&tree), expected, "{} {name}", archive.display());
            must_be_clean(&store);
            fs::remove_dir_all(tree).unwrap();
        }
    }
}
