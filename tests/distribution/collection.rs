//! Collection: programs that remove blobs, in whatever order, find the mount to behave as a plain
//! disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::program::regfs;

use super::http;
use super::image::{self, INDEX, MANIFEST, digest};
use super::normal;
use super::registry::{Registry, Setup, Version};
use super::root::Root;

const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux"}"#;

fn say(registry: &Registry, method: &str, path: &str, kind: &str, body: &[u8]) -> http::Answer {
    let answer = http::request(registry.port, method, path, &[("Content-Type", kind)], body);
    answer.unwrap_or_else(|| panic!("no answer to {method} {path}"))
}

fn push_blob(registry: &Registry, repository: &str, bytes: &[u8]) {
    let begun = say(
        registry,
        "POST",
        &format!("/v2/{repository}/blobs/uploads/"),
        "",
        b"",
    );
    let location = begun.header("Location").unwrap();
    let location = location.split_once("/v2/").unwrap().1;
    let path = format!("/v2/{location}&digest={}", digest(bytes));
    let pushed = say(registry, "PUT", &path, "application/octet-stream", bytes);
    assert_eq!(pushed.status, 201);
}

fn put(registry: &Registry, repository: &str, reference: &str, kind: &str, bytes: &[u8]) {
    let path = format!("/v2/{repository}/manifests/{reference}");
    assert_eq!(say(registry, "PUT", &path, kind, bytes).status, 201);
}

/// Pushes an image of one layer of its own and one that all share, by tag or by digest.
fn push(registry: &Registry, repository: &str, seed: u64, tag: Option<&str>) -> Vec<u8> {
    let (own, shared) = (image::layer(seed, 30_000), image::layer(1, 50_000));
    for bytes in [CONFIG, &own, &shared] {
        push_blob(registry, repository, bytes);
    }
    let manifest = image::manifest(MANIFEST, CONFIG, &[&own, &shared]);
    let reference = tag.map_or_else(|| digest(&manifest), str::to_owned);
    put(registry, repository, &reference, MANIFEST, &manifest);
    manifest
}

fn v2(root: &Root) -> PathBuf {
    root.path().join("docker/registry/v2")
}

fn blob(root: &Root, bytes: &[u8]) -> PathBuf {
    let hex = digest(bytes).replace("sha256:", "");
    v2(root).join("blobs/sha256").join(&hex[..2]).join(hex)
}

/// Everything of which a collection has to decide.
fn fill(registry: &Registry, root: &Root) {
    // Never tagged: it has no directory of tags.
    push(registry, "by/digest", 10, None);
    push(registry, "by/tag", 20, Some("v1"));
    push(registry, "by/tag", 21, None);
    let gone = push(registry, "gone", 30, Some("v1"));
    let path = format!("/v2/gone/manifests/{}", digest(&gone));
    assert_eq!(say(registry, "DELETE", &path, "", b"").status, 202);
    let children = [40, 41].map(|seed| push(registry, "list", seed, None));
    let list = image::index(&[&children[0], &children[1]]);
    put(registry, "list", "v1", INDEX, &list);
    let children = [50, 51].map(|seed| push(registry, "loose", seed, None));
    let list = image::index(&[&children[0], &children[1]]);
    put(registry, "loose", &digest(&list), INDEX, &list);
    push(registry, "loose", 52, Some("v1"));
    push_blob(registry, "loose", &image::layer(60, 40_000));
    // Its layer is lost.
    push(registry, "lost", 70, Some("v1"));
    fs::remove_dir_all(blob(root, &image::layer(70, 30_000))).unwrap();
}

/// What a collection prints and leaves.
fn collected(version: Version, root: &Root, arguments: &[&str]) -> (Vec<String>, BTreeSet<String>) {
    let registry = Registry::start(version, &root.path(), &Setup::default());
    fill(&registry, root);
    let printed = registry.collect(arguments);
    let printed = printed
        .iter()
        .map(|line| normal::text(line, &root.path(), &[]));
    (printed.collect(), normal::tree(&root.path()))
}

fn compare(version: Version, arguments: &[&str]) {
    let (plain, mounted) = (Root::plain(), Root::mounted());
    let (printed, left) = collected(version, &plain, arguments);
    assert!(printed.iter().any(|line| line.contains("eligible")));
    let (ours, tree) = collected(version, &mounted, arguments);
    assert_eq!(ours, printed, "{version:?} {arguments:?}");
    let differences = normal::difference(&left, &tree);
    assert!(differences.is_empty(), "{version:?} {differences:#?}");
}

#[test]
fn collection_by_2_8_leaves_what_it_leaves_on_a_plain_disk() {
    compare(Version::V2_8, &[]);
    compare(Version::V2_8, &["-m"]);
}

#[test]
fn collection_by_3_0_leaves_what_it_leaves_on_a_plain_disk() {
    compare(Version::V3_0, &[]);
    compare(Version::V3_0, &["-m"]);
}

#[test]
fn collection_by_3_1_leaves_what_it_leaves_on_a_plain_disk() {
    compare(Version::V3_1, &[]);
    compare(Version::V3_1, &["-m"]);
}

/// What Harbor's collection does to a blob: `DELETE /api/registry/blob/...` of its registryctl.
fn vacuum(path: &Path) {
    fs::remove_dir_all(path).unwrap();
}

/// Harbor's garbage collection, which removes layers before the manifest that names them, works.
#[test]
fn harbor_collects_layers_before_their_manifest_and_behind_it() {
    for manifest_first in [false, true] {
        let root = Root::mounted();
        let registry = Registry::start(Version::V2_8, &root.path(), &Setup::default());
        let manifest = push(&registry, "library/app", 10, Some("v1"));
        let layers = [
            CONFIG.to_vec(),
            image::layer(1, 50_000),
            image::layer(10, 30_000),
        ];
        let collect_manifest = || {
            let path = format!("/v2/library/app/manifests/{}", digest(&manifest));
            assert_eq!(say(&registry, "DELETE", &path, "", b"").status, 202);
            let revision = digest(&manifest).replace(':', "/");
            let revisions = "repositories/library/app/_manifests/revisions";
            vacuum(&v2(&root).join(revisions).join(revision));
            vacuum(&blob(&root, &manifest));
        };
        if manifest_first {
            collect_manifest();
        }
        for layer in &layers {
            vacuum(&blob(&root, layer));
        }
        if !manifest_first {
            collect_manifest();
        }
        let left = normal::tree(&v2(&root).join("blobs"));
        assert!(!left.iter().any(|row| row.starts_with('f')), "{left:?}");
        drop(registry);
        // Everything can be restored.
        let undeleted = |arguments: &[&str]| {
            let mut command = regfs();
            command.arg("undelete").arg(root.store()).args(arguments);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(undeleted(&[]).ends_with("4 blobs\n"));
        let all: Vec<String> = layers.iter().map(|one| digest(one)).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(undeleted(&all).matches(": restored").count(), 3);
        for layer in &layers {
            assert_eq!(fs::read(blob(&root, layer).join("data")).unwrap(), *layer);
        }
    }
}
