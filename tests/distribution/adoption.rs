//! Trees that real registries have written: imported, served from the mount, exported byte for
//! byte, and served from the export.

use std::path::Path;
use std::process::Command;

use support::program;

use super::clients::run;
use super::http;
use super::image;
use super::registry::{Registry, Setup, Version};
use super::root::Root;
use super::script::Walk;
use super::store::must_be_sound;
use super::tool::tool;

fn regfs(words: &[&str], from: &Path, to: &Path) -> serde_json::Value {
    let mut command = program::regfs();
    let printed = run(command.args(words).arg("--json").arg(from).arg(to));
    serde_json::from_str(&printed).unwrap()
}

/// Imports a tree, exports it, and compares; where the exported one is.
fn round_trip(plain: &Path, work: &Path, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (store, back) = (
        work.join(format!("{name}-store")),
        work.join(format!("{name}-back")),
    );
    let report = regfs(&["import", "--verify"], plain, &store);
    let odd = report["odd"].as_array().unwrap();
    let mended = odd.iter().filter(|one| one["remedy"] != "kept").count();
    assert_eq!(mended, 0, "{odd:#?}");
    must_be_sound(&store);
    regfs(&["export"], &store, &back);
    let printed = run(Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args([plain, &back]));
    assert_eq!(printed, "");
    (store, back)
}

/// oras' own steps for pushing and pulling a file.
const ORAS: &str = "
import os, sys
import oras.client
verb, host, work = sys.argv[1:]
client = oras.client.OrasClient(hostname=host, insecure=True, tls_verify=False)
target = host + '/clients/note:v1'
os.chdir(work)
if verb == 'push':
    open('note.txt', 'w').write('a note')
    client.push(target=target, files=['note.txt:text/plain'])
else:
    [pulled] = client.pull(target=target, outdir=work + '/by-oras', overwrite=True)
    assert open(pulled).read() == 'a note', pulled
";

fn oras(verb: &str, port: u16, work: &Path) {
    let mut python = Command::new(tool("python/bin/python"));
    python.args(["-c", ORAS, verb, &format!("127.0.0.1:{port}")]);
    run(python.arg(work).env("HOME", work));
}

/// Pulls an image with every client.
fn pull_with_every_client(port: u16, work: &Path, digest: &str) {
    let name = format!("127.0.0.1:{port}/clients/app");
    let layout = format!(
        "oci:{}:v1",
        work.join(format!("by-skopeo-{port}")).display()
    );
    run(Command::new("skopeo")
        .args([
            "copy",
            "--all",
            "--insecure-policy",
            "--src-tls-verify=false",
        ])
        .arg(format!("docker://{name}:v1"))
        .arg(layout));
    let said =
        run(Command::new(tool("crane")).args(["digest", "--insecure", &format!("{name}:v1")]));
    assert_eq!(said.trim(), digest);
    let pulled = work.join(format!("by-crane-{port}.tar"));
    run(Command::new(tool("crane"))
        .args(["pull", "--insecure", &format!("{name}@{digest}")])
        .arg(pulled));
    let mut regctl = Command::new(tool("regctl"));
    let host = format!("reg=127.0.0.1:{port},tls=disabled");
    regctl.args(["--host", &host, "manifest", "head", &format!("{name}:v1")]);
    assert!(run(&mut regctl).contains(digest));
    oras("pull", port, work);
}

fn adopt(version: Version) {
    let (plain, cache) = (Root::plain(), Root::plain());
    let work = tempfile::tempdir().unwrap();
    let digest = image::write_layout(&work.path().join("image"), 7, 300_000);
    {
        let mut walk = Walk::new(version, &plain);
        walk.uploads();
        walk.blobs();
        walk.manifests();
        walk.listings();
        walk.pull_through(&cache);
    }
    let mut registry = Registry::start(version, &plain.path(), &Setup::default());
    run(Command::new("skopeo")
        .args([
            "copy",
            "--all",
            "--insecure-policy",
            "--dest-tls-verify=false",
        ])
        .arg(format!("oci:{}:v1", work.path().join("image").display()))
        .arg(format!(
            "docker://127.0.0.1:{}/clients/app:v1",
            registry.port
        )));
    oras("push", registry.port, work.path());
    let catalog = |port| {
        let answer = http::request(port, "GET", "/v2/_catalog", &[], b"").unwrap();
        String::from_utf8(answer.body).unwrap()
    };
    let repositories = catalog(registry.port);
    registry.stop();
    round_trip(&cache.path(), work.path(), "cache");
    let (store, back) = round_trip(&plain.path(), work.path(), "plain");
    let mounted = Root::of_store(&store, "rw");
    for root in [mounted.path(), back] {
        let registry = Registry::start(version, &root, &Setup::default());
        assert_eq!(catalog(registry.port), repositories);
        pull_with_every_client(registry.port, work.path(), &digest);
        registry.collect(&["--dry-run"]);
    }
}

#[test]
fn a_tree_of_distribution_2_8_is_adopted_and_given_back() {
    adopt(Version::V2_8);
}

#[test]
fn a_tree_of_distribution_3_0_is_adopted_and_given_back() {
    adopt(Version::V3_0);
}

#[test]
fn a_tree_of_distribution_3_1_is_adopted_and_given_back() {
    adopt(Version::V3_1);
}
