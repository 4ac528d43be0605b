//! Scrub, repair and the trash: damaged bytes are found and contained, and can be pushed again.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use regfs::digest::{Algorithm, Digest};
use serde_json::Value;

use super::plain::{SMALL, layer, put};
use super::site::{Site, json, regfs};
use super::store::{findings, fsck, must_be_clean};

fn blob(number: usize) -> (Digest, Vec<u8>) {
    let bytes = layer(number, SMALL.layer_bytes);
    (Digest::of(Algorithm::Sha256, &bytes), bytes)
}

fn stored(site: &Site, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    site.store()
        .join(format!("blobs/sha256/{}/{hex}", &hex[..2]))
}

/// Turns one bit over.
fn rot(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes[9_999] ^= 4;
    let mut file = File::options().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(9_999)).unwrap();
    file.write_all(&bytes[9_999..10_000]).unwrap();
    file.sync_all().unwrap();
}

/// Scrubs; the exit code, and what was said.
fn scrub(site: &Site, words: &[&str]) -> (i32, Value) {
    let mut command = regfs();
    let command = command.args(["scrub", "--json"]).args(words);
    let output = command.arg(site.store()).output().unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), value)
}

/// A corrupt blob is found by `regfs scrub`, named with its tags, and can be pushed again after
/// `regfs fsck --repair`.
#[test]
fn a_rotten_blob_is_found_contained_named_and_pushed_again() {
    for mounted in [false, true] {
        let mut site = Site::with(&SMALL);
        site.import(&["--copy"]);
        let top = site.mount();
        let (digest, bytes) = blob(3);
        let data = top
            .join("docker/registry/v2")
            .join(super::plain::blob(&digest))
            .join("data");
        assert_eq!(fs::read(&data).unwrap(), bytes);
        if !mounted {
            site.unmount();
        }
        let (code, clean) = scrub(&site, &[]);
        // The pool of layers, the configuration, and one manifest for each tag.
        assert_eq!(
            (code, &clean["verified"]),
            (0, &(12 + 1 + 30).into()),
            "{clean}"
        );
        rot(&stored(&site, &digest));
        // Recently verified blobs are skipped.
        assert_eq!(scrub(&site, &[]).1["passed_over"], 43);
        let (code, found) = scrub(&site, &["--age", "0s"]);
        assert_eq!((code, found["damaged"].as_array().unwrap().len()), (5, 1));
        assert_eq!(found["damaged"][0]["digest"], digest.to_string());
        let needed_by = found["damaged"][0]["needed_by"].as_array().unwrap();
        assert!(
            needed_by.contains(&"library/app0:v1".into()),
            "{needed_by:?}"
        );
        let (code, examination) = fsck(&site.store());
        assert_eq!(code, 5);
        assert!(findings(&examination, "damage")[0].contains("blob-damaged"));
        if !mounted {
            site.mount();
        }
        assert_eq!(fs::read(&data).unwrap_err().raw_os_error(), Some(5));
        assert_eq!(
            fs::read(
                top.join("docker/registry/v2")
                    .join(super::plain::blob(&blob(4).0))
                    .join("data")
            )
            .unwrap(),
            blob(4).1
        );
        let mut repair = regfs();
        let repair = repair.args(["fsck", "--repair"]).arg(site.store());
        let text = String::from_utf8(repair.output().unwrap().stdout).unwrap();
        assert!(
            text.contains("[repair: move it to the trash") && text.contains("[repaired]"),
            "{text}"
        );
        assert_eq!(fs::read(&data).unwrap_err().raw_os_error(), Some(2));
        // Like a push: writes the layer again.
        let layers = top.join("docker/registry/v2/repositories/library/app0/_layers");
        put(&layers.join("layer"), &bytes);
        assert_eq!(fs::read(&data).unwrap(), bytes);
        must_be_clean(&site.store());
        assert_eq!(scrub(&site, &["--age", "0s"]).0, 0);
    }
}

#[test]
fn a_scrub_keeps_to_its_rate_and_goes_on_where_it_was() {
    let site = Site::with(&SMALL);
    site.import(&[]);
    let begun = std::time::Instant::now();
    // 12 layers of 20,000 bytes.
    scrub(&site, &["--rate", "500kB/s"]);
    assert!(begun.elapsed().as_millis() > 450, "{:?}", begun.elapsed());
    let mut slow = regfs();
    slow.args(["scrub", "--age", "0s", "--rate", "20kB/s"]);
    let mut slow = slow.arg(site.store()).spawn().unwrap();
    std::thread::park_timeout(std::time::Duration::from_millis(2_500));
    slow.kill().unwrap();
    slow.wait().unwrap();
    must_be_clean(&site.store());
    let (code, rest) = scrub(&site, &[]);
    assert_eq!((code, &rest["verified"]), (0, &0.into()));
}

#[test]
fn when_a_blob_was_read_is_an_attribute() {
    let mut site = Site::with(&SMALL);
    site.import(&[]);
    let top = site.mount();
    let data = top
        .join("docker/registry/v2")
        .join(super::plain::blob(&blob(0).0))
        .join("data");
    let verified = |buffer: &mut [u8]| rustix::fs::getxattr(&data, "user.regfs.verified", buffer);
    assert!(verified(&mut [0; 64]).is_err());
    scrub(&site, &[]);
    let mut buffer = [0; 64];
    let len = verified(&mut buffer).unwrap();
    assert!(buffer[..len].ends_with(b"Z"));
}

/// `regfs undelete` brings a blob back from the trash.
#[test]
fn what_is_in_the_trash_can_be_taken_back() {
    let mut site = Site::with(&SMALL);
    site.import(&[]);
    let (digest, bytes) = blob(3);
    fs::remove_file(stored(&site, &digest)).unwrap();
    // Repair looks for bytes that were removed before.
    fs::write(
        site.store().join(format!("trash/sha256-{}", digest.hex())),
        &bytes,
    )
    .unwrap();
    let listed = json(
        &regfs()
            .args(["undelete", "--json"])
            .arg(site.store())
            .output()
            .unwrap(),
    );
    assert_eq!(listed["blobs"][0]["digest"], digest.to_string());
    assert!(listed["blobs"][0]["needed_by"].as_array().unwrap().len() > 1);
    let (code, examination) = fsck(&site.store());
    assert_eq!(code, 5);
    assert!(findings(&examination, "damage")[0].contains("blob-missing"));
    let repaired = regfs()
        .args(["fsck", "--repair"])
        .arg(site.store())
        .output();
    assert!(repaired.unwrap().status.success());
    assert_eq!(fs::read(stored(&site, &digest)).unwrap(), bytes);
    must_be_clean(&site.store());
    // The same on a mount, with a blob that the user may not remove.
    site.mount_with("delete=guarded");
    let data = site
        .top()
        .join("mnt/docker/registry/v2")
        .join(super::plain::blob(&digest))
        .join("data");
    fs::remove_file(&data).unwrap_err();
    let mut undelete = regfs();
    undelete.args(["undelete"]).arg(site.store());
    let refused = undelete.arg(digest.to_string()).output().unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("the trash has no blob"), "{text}");
    // And of one that its user has removed.
    site.unmount();
    site.mount();
    fs::remove_file(&data).unwrap();
    let mut undelete = regfs();
    undelete.args(["undelete"]).arg(site.store());
    let taken_back = undelete.arg(digest.to_string()).output().unwrap();
    assert!(taken_back.status.success(), "{taken_back:?}");
    assert_eq!(fs::read(&data).unwrap(), bytes);
    must_be_clean(&site.store());
}
