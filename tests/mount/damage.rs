//! Damage to files of the store is reported, and affects only what is damaged.

use std::fs::{self, File};

use super::drops::manifest;
use super::mounted::{Mounted, errno, hex, regfs};
use super::store::{findings, fsck};

/// More than the index keeps of one blob.
fn layer(seed: u8) -> Vec<u8> {
    vec![seed; 40_000]
}

/// A blob whose file is cut short or gone is an I/O error (`EIO`), and everything else is served.
#[test]
fn a_blob_that_was_cut_short_or_is_gone_is_an_io_error_and_everything_else_is_served() {
    let mut mounted = Mounted::new();
    mounted.stock();
    for seed in 0..3 {
        fs::write(mounted.repository("_layers/layer"), layer(seed)).unwrap();
    }
    mounted.unmount();
    let name = |seed: u8| hex(&layer(seed));
    let file = |seed: u8| {
        let name = name(seed);
        mounted
            .store()
            .join("blobs/sha256")
            .join(&name[..2])
            .join(name)
    };
    File::options()
        .write(true)
        .open(file(0))
        .unwrap()
        .set_len(10_000)
        .unwrap();
    fs::remove_file(file(1)).unwrap();
    mounted.mount(&[]);
    let read = |seed: u8| {
        let name = name(seed);
        fs::read(mounted.v2(&format!("blobs/sha256/{}/{name}/data", &name[..2])))
    };
    assert_eq!((errno(read(0)), errno(read(1))), (5, 5));
    assert_eq!(read(2).unwrap(), layer(2));
    fs::write(mounted.repository("_manifests/tags"), "").unwrap_err();
    let tag = mounted.repository("_manifests");
    fs::create_dir(tag.join("tags")).unwrap_err();
    fs::write(tag.join("tags/v1"), manifest("after damage")).unwrap();
    assert!(tag.join("tags/v1/current/link").exists());
    // Found and repaired on the mounted store: lost bytes can be stored again.
    let faults = |expected: &[&str]| {
        let (code, examination) = fsck(&mounted.store());
        let damage = findings(&examination, "damage");
        assert_eq!(
            (code, damage.len()),
            (if expected.is_empty() { 0 } else { 5 }, expected.len())
        );
        for (finding, fault) in damage.iter().zip(expected) {
            assert!(finding.contains(fault), "{finding}");
        }
    };
    faults(&["blob-missing", "blob-size"]);
    let repaired = regfs()
        .args(["fsck", "--repair"])
        .arg(mounted.store())
        .output()
        .unwrap();
    let text = String::from_utf8(repaired.stdout).unwrap();
    assert!(
        repaired.status.success() && text.contains("2 repaired"),
        "{text}"
    );
    faults(&[]);
    assert_eq!((errno(read(0)), errno(read(1))), (2, 2));
    for seed in 0..2 {
        fs::write(mounted.repository("_layers/layer"), layer(seed)).unwrap();
        assert_eq!(read(seed).unwrap(), layer(seed));
    }
}

#[test]
fn a_torn_journal_is_read_as_far_as_it_is_whole() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let mut tags = 0;
    for number in 0..50 {
        let tag = mounted.repository(&format!("_manifests/tags/t{number}"));
        let mut file = File::create(&tag).unwrap();
        std::io::Write::write_all(&mut file, manifest(&format!("{number}")).as_bytes()).unwrap();
        file.sync_all().unwrap();
        tags += 1;
    }
    mounted.kill();
    // Garbage after the last record, as an interrupted write leaves it.
    let journal = mounted.store().join("journal");
    for row in fs::read_dir(&journal).unwrap() {
        let path = row.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        let end = end.next_multiple_of(4096);
        for (at, byte) in bytes.iter_mut().enumerate().skip(end).take(3000) {
            *byte = u8::try_from(at % 251).unwrap();
        }
        fs::write(&path, bytes).unwrap();
    }
    mounted.mount(&[]);
    let listed = fs::read_dir(mounted.repository("_manifests/tags")).unwrap();
    assert_eq!(listed.count(), tags);
}

/// The names of what fsck finds in a journal.
fn journal_faults(store: &std::path::Path) -> (i32, Vec<String>) {
    let (code, examination) = fsck(store);
    let findings = examination["findings"].as_array().unwrap().iter();
    let faults = findings.map(|one| one["fault"].as_str().unwrap().to_owned());
    let faults = faults.filter(|fault| fault.starts_with("journal-"));
    (code, faults.collect())
}

/// A journal that lost commits is refused with an error until the loss is accepted.
#[test]
fn a_journal_that_lost_something_is_told_until_that_is_accepted() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let mut file = File::create(mounted.repository("_manifests/tags/v1")).unwrap();
    std::io::Write::write_all(&mut file, manifest("1").as_bytes()).unwrap();
    file.sync_all().unwrap();
    mounted.kill();
    let journal = mounted.store().join("journal");
    for row in fs::read_dir(&journal).unwrap() {
        fs::remove_file(row.unwrap().path()).unwrap();
    }
    let missing = ["journal-segment-missing".to_owned()];
    // Checking changes nothing, however often.
    for _ in 0..2 {
        let mut mount = regfs();
        mount.arg("mount").arg(mounted.store()).arg(mounted.top());
        let refused = mount.output().unwrap();
        let text = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{text}");
        let named = journal.join("000000.segment").display().to_string();
        assert!(text.contains(&named), "{text}");
        assert!(text.contains("recover=accept"), "{text}");
        let (code, faults) = journal_faults(&mounted.store());
        assert_eq!((code, faults.first()), (5, missing.first()));
        assert_eq!(fs::read_dir(&journal).unwrap().count(), 0);
    }
    mounted.mount(&["-o", "recover=accept"]);
    let (code, faults) = journal_faults(&mounted.store());
    assert_eq!((code, faults.first()), (5, missing.first()));
    // From then on it is a normal store.
    mounted.stock();
    mounted.unmount();
    assert_eq!(journal_faults(&mounted.store()), (0, Vec::new()));
    mounted.mount(&[]);
    assert!(mounted.repository("_layers").exists());
}

#[test]
fn fsck_goes_on_with_what_a_damaged_journal_still_holds_and_keeps_the_rest_aside() {
    let mut mounted = Mounted::new();
    mounted.stock();
    mounted.kill();
    let journal = mounted.store().join("journal");
    for row in fs::read_dir(&journal).unwrap() {
        let file = File::options().write(true).open(row.unwrap().path());
        file.unwrap().set_len(16_384).unwrap();
    }
    // Everything else is checked too, and nothing is changed.
    let before = super::mounted::tree(&journal);
    let (code, examination) = fsck(&mounted.store());
    assert_eq!(code, 5);
    assert!(examination["repositories"].is_number());
    let damage = findings(&examination, "damage");
    assert!(!damage.is_empty());
    for finding in damage {
        assert!(finding.contains("journal-segment-damaged"), "{finding}");
    }
    assert!(super::mounted::tree(&journal) == before, "it was changed");
    let mut repair = regfs();
    repair.arg("fsck").arg("--repair").arg(mounted.store());
    let repaired = repair.output().unwrap();
    let text = String::from_utf8(repaired.stdout).unwrap();
    assert!(repaired.status.success(), "{text}");
    assert!(text.contains("[repaired]"), "{text}");
    let rows = fs::read_dir(&journal).unwrap();
    let mut names = rows.map(|row| row.unwrap().file_name().into_string().unwrap());
    assert!(names.any(|name| name.starts_with("damaged-")));
    assert_eq!(journal_faults(&mounted.store()), (0, Vec::new()));
    mounted.mount(&[]);
}

#[test]
fn a_damaged_index_is_an_error_that_names_it_and_prints_no_back_trace() {
    let mut mounted = Mounted::new();
    mounted.stock();
    mounted.unmount();
    let path = mounted.store().join("index.redb");
    let whole = fs::read(&path).unwrap();
    let mut rootless = whole.clone();
    rootless[..4096].fill(0);
    let half = whole[..whole.len() / 2].to_vec();
    for damaged in [rootless, half, Vec::new()] {
        fs::write(&path, &damaged).unwrap();
        for word in ["fsck", "ls", "scrub", "mount"] {
            let mut command = regfs();
            command.arg(word).arg(mounted.store());
            if word == "mount" {
                command.arg(mounted.top());
            }
            let output = command.env("RUST_BACKTRACE", "1").output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{word}: {text}");
            assert!(text.contains(path.to_str().unwrap()), "{word}: {text}");
            assert!(!text.contains("panicked"), "{word}: {text}");
        }
        assert!(fs::read(&path).unwrap() == damaged, "it was changed");
    }
    // A changed page of rows: only a full read finds it.
    let mut damaged = whole.clone();
    let at = whole
        .windows(4)
        .rposition(|bytes| bytes == b"team")
        .unwrap();
    damaged[at] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let checked = regfs().arg("fsck").arg(mounted.store()).output().unwrap();
    let text = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(1), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    fs::write(&path, &whole).unwrap();
    mounted.mount(&[]);
}

/// The index of a store, the segment in use, and every blob.
fn files_of(store: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for directory in ["", "blobs", "journal"] {
        let mut left = vec![store.join(directory)];
        while let Some(path) = left.pop() {
            for row in fs::read_dir(path).unwrap() {
                let path = row.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                // The next segment may have been in preparation.
                let known = ["index.redb", "000000.segment"].contains(&name);
                if path.is_dir() && !directory.is_empty() {
                    left.push(path);
                } else if known || (path.is_file() && directory == "blobs") {
                    found.push(path);
                }
            }
        }
    }
    found
}

#[test]
fn every_file_of_a_store_that_is_zeroed_cut_or_changed_is_named() {
    let mut mounted = Mounted::new();
    mounted.stock();
    // Larger than the bytes that the journal logs.
    fs::write(mounted.repository("_layers/large"), vec![1; 100_000]).unwrap();
    let mut file = File::create(mounted.repository("_manifests/tags/v1")).unwrap();
    std::io::Write::write_all(&mut file, manifest("1").as_bytes()).unwrap();
    file.sync_all().unwrap();
    mounted.kill();
    let files = files_of(&mounted.store());
    assert!(files.len() > 2, "{files:?}");
    for path in files {
        let whole = fs::read(&path).unwrap();
        let zeroed = vec![0; whole.len()];
        let cut = whole[..whole.len() / 2].to_vec();
        let mut changed = whole.clone();
        changed[0] ^= 1;
        for damaged in [zeroed, cut, changed] {
            // A copy, since a check of the store would repair what the kill has left.
            let directory = tempfile::tempdir().unwrap();
            let store = directory.path().join("store");
            let mut copy = std::process::Command::new("cp");
            copy.arg("-a").arg(mounted.store()).arg(&store);
            assert!(copy.status().unwrap().success());
            let below = path.strip_prefix(mounted.store()).unwrap();
            // In place: a new blob has its staging name too until the next checkpoint.
            fs::write(store.join(below), damaged).unwrap();
            let name = below.file_name().unwrap().to_str().unwrap();
            let mut named = false;
            for word in ["fsck", "scrub"] {
                let output = regfs().arg(word).arg(&store).output().unwrap();
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8(text).unwrap();
                assert!(!text.contains("panicked"), "{name}: {text}");
                let failed = matches!(output.status.code(), Some(1 | 5));
                named |= failed && text.contains(name);
            }
            assert!(named, "{name} is not named");
        }
    }
}
