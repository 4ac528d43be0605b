//! A full disk: acknowledged writes stay, reads continue, and writes work again once space is
//! freed, without a remount.

use std::process::Command;

use super::clients::run;
use super::crash::{Told, check_told, check_tree};
use super::disk::Disk;
use super::http;
use super::image::{self, MANIFEST, digest};
use super::registry::{Registry, Setup, Version};
use super::root::Root;

/// Bytes of a layer.
const LAYER: usize = 6_000_000;

/// Pushes an image; the status of the first answer that is not what a push hopes for.
fn push(port: u16, seed: u64) -> Result<Told, Option<u16>> {
    let status = |answer: Option<http::Answer>, hoped: u16| match answer {
        Some(answer) if answer.status == hoped => Ok(answer),
        answer => Err(answer.map(|answer| answer.status)),
    };
    let layer = image::layer(seed, LAYER);
    let config = format!(r#"{{"architecture":"amd64","os":"linux","seed":{seed}}}"#);
    for blob in [&layer[..], config.as_bytes()] {
        let start = "/v2/team/app/blobs/uploads/";
        let answer = status(http::request(port, "POST", start, &[], b""), 202)?;
        let location = answer.header("Location").unwrap();
        let (_, path) = location.split_once("/v2/").unwrap();
        let path = format!("/v2/{path}&digest={}", digest(blob));
        status(http::request(port, "PUT", &path, &[], blob), 201)?;
    }
    let manifest = image::manifest(MANIFEST, config.as_bytes(), &[&layer]);
    let path = format!("/v2/team/app/manifests/n{seed}");
    let headers = [("Content-Type", MANIFEST)];
    status(http::request(port, "PUT", &path, &headers, &manifest), 201)?;
    Ok((path, manifest))
}

/// Pushes until a push fails three times in a row; what was confirmed.
fn fill(port: u16, seeds: &mut impl Iterator<Item = u64>) -> Vec<Told> {
    let (mut told, mut failures) = (Vec::new(), 0);
    while failures < 3 {
        match push(port, seeds.next().unwrap()) {
            Ok(one) => {
                told.push(one);
                failures = 0;
            }
            Err(status) => {
                assert_eq!(status, Some(500), "a registry's answer to a full disk");
                failures += 1;
            }
        }
        assert!(told.len() < 200, "the disk is never full");
    }
    told
}

fn full(version: Version) {
    let disk = Disk::new("ext4", 256);
    let root = Root::of_store(&disk.path().join("store"), "rw");
    let registry = Registry::start(version, &root.path(), &Setup::default());
    let mut seeds = 1..;
    let mut told = fill(registry.port, &mut seeds);
    let first = told.len();
    assert!(
        first > 10,
        "only {first} images of {LAYER} bytes on 256 MiB"
    );
    check_told(registry.port, &told);
    let df = run(Command::new("df")
        .args(["--output=avail", "-k"])
        .arg(root.path()));
    let left: u64 = df.lines().last().unwrap().trim().parse().unwrap();
    assert!(left < 16_384, "df says {left} KiB are left");
    // Deleted and collected by the registry, without a remount.
    for (path, manifest) in told.drain(..first / 2) {
        let (repository, _) = path.rsplit_once('/').unwrap();
        let path = format!("{repository}/{}", digest(&manifest));
        let answer = http::request(registry.port, "DELETE", &path, &[], b"").unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let collected = registry.collect(&[]);
    assert!(
        collected.last().unwrap().contains("exit status: 0"),
        "{collected:?}"
    );
    drop(registry);
    let registry = Registry::start(version, &root.path(), &Setup::default());
    let more = fill(registry.port, &mut seeds);
    assert!(
        more.len() >= first / 3,
        "{} images where {} were",
        more.len(),
        first / 2
    );
    println!(
        "{version:?}: {first} images of {LAYER} bytes on 256 MiB, {left} KiB left; after half was \
         deleted and collected, {} more; all confirmed ones pull",
        more.len()
    );
    told.extend(more);
    check_told(registry.port, &told);
    check_tree(&root.path().join("docker/registry/v2"));
}

#[test]
fn registry_2_8_goes_on_after_its_disk_was_full() {
    full(Version::V2_8);
}

/// A full disk refuses new bytes and loses nothing confirmed, and writing goes on when space is
/// freed, without a new mount.
#[test]
fn registry_3_1_goes_on_after_its_disk_was_full() {
    full(Version::V3_1);
}
