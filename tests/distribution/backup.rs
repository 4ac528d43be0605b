//! Backups while registries push: after a restore every image in them can be pulled.

use std::sync::Mutex;

use support::program::regfs;

use super::clients::run;
use super::crash::{PUSHERS, check_told, push};
use super::http;
use super::image::{MANIFEST, digest};
use super::registry::{Registry, Setup, Version};
use super::root::{Root, wait};
use super::store::must_be_clean;

fn get(port: u16, path: &str) -> http::Answer {
    let answer = http::request(port, "GET", path, &[("Accept", MANIFEST)], b"").unwrap();
    assert_eq!(answer.status, 200, "{path}");
    answer
}

fn names(answer: &http::Answer, field: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let names = value[field].as_array().into_iter().flatten();
    names.map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// Pulls every image of a registry; how many there are, and how many tags were just being made
/// and are at nothing yet.
fn pull_all(port: u16) -> (usize, u64) {
    let (mut images, mut begun) = (0, 0);
    for repository in names(&get(port, "/v2/_catalog?n=1000"), "repositories") {
        for tag in names(&get(port, &format!("/v2/{repository}/tags/list")), "tags") {
            let path = format!("/v2/{repository}/manifests/{tag}");
            let manifest = http::request(port, "GET", &path, &[("Accept", MANIFEST)], b"").unwrap();
            if manifest.status == 404 {
                begun += 1;
                continue;
            }
            assert_eq!(manifest.status, 200, "{path}");
            let text = String::from_utf8(manifest.body).unwrap();
            for named in text.split('"').filter(|word| word.starts_with("sha256:")) {
                let blob = get(port, &format!("/v2/{repository}/blobs/{named}"));
                assert_eq!(digest(&blob.body), named, "{repository}:{tag}");
            }
            images += 1;
        }
    }
    (images, begun)
}

#[test]
fn every_image_of_a_backup_in_a_push_storm_pulls() {
    let root = Root::mounted();
    let work = tempfile::tempdir().unwrap();
    let (backup, restored) = (work.path().join("backup"), work.path().join("restored"));
    let told = Mutex::new(Vec::new());
    let mut registry = Registry::start(Version::V3_1, &root.path(), &Setup::default());
    let regfs = |words: [&std::path::Path; 3]| {
        run(regfs().args(words));
    };
    let before = std::thread::scope(|scope| {
        for pusher in 0..PUSHERS {
            let (port, told) = (registry.port, &told);
            scope.spawn(move || push(port, pusher, 1, told));
        }
        let mut before = 0;
        for images in [10, 30] {
            wait("some pushes", || told.lock().unwrap().len() >= images);
            before = told.lock().unwrap().len();
            regfs(["backup".as_ref(), &root.store(), &backup]);
        }
        wait("pushes behind the backup", || {
            told.lock().unwrap().len() > before
        });
        registry.stop();
        before
    });
    regfs(["restore".as_ref(), &backup, &restored]);
    must_be_clean(&restored);
    let elsewhere = Root::of_store(&restored, "rw");
    let registry = Registry::start(Version::V3_1, &elsewhere.path(), &Setup::default());
    let (images, begun) = pull_all(registry.port);
    let told = told.into_inner().unwrap();
    println!(
        "{images} images in the backup, of {before} before it and {} in all",
        told.len()
    );
    // The last backup has everything acknowledged before it began; each pusher has at
    // most one unfinished tag.
    check_told(registry.port, &told[..before]);
    assert!(begun <= PUSHERS, "{begun} tags are at nothing");
    assert!(images >= before && before >= 30, "{before} {images}");
}
