//! Damage to the store's own files: told, and contained to what is damaged.

use std::fs::{self, File};

use super::drops::manifest;
use super::mounted::{Mounted, errno, hex, regfs};
use super::store::{findings, fsck};

/// More than the index keeps of one blob.
fn layer(seed: u8) -> Vec<u8> {
    vec![seed; 40_000]
}

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
    // Found on the mounted store, and mended there: what is gone can be stored again.
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
    // Garbage behind what was written, as an interrupted write leaves it.
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
