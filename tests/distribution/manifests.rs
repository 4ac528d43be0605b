//! The table of manifests, copied into a mount with cp and pulled through registries; and images
//! that were pushed with mkdir and cp only, pulled by every client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::clients::run;
use super::http;
use super::image::{self, digest};
use super::registry::{Registry, Setup, Version};
use super::root::Root;
use super::table::{STOCK, bytes, filled, table};
use super::tool::tool;

/// What a registry is asked to answer with: anything.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json";

fn repository(root: &Root, path: &str) -> PathBuf {
    root.path()
        .join("docker/registry/v2/repositories/team/app")
        .join(path)
}

fn cp(from: &Path, to: &Path) {
    run(Command::new("cp").arg(from).arg(to));
}

/// Every valid document of the tables: its media type and bytes.
fn documents() -> Vec<(String, Vec<u8>)> {
    let valid = table("valid.txt").into_iter();
    let valid = valid.map(|row| (row[0].clone(), row[2].clone().into_bytes()));
    let real = table("real.txt").into_iter();
    let real = real.map(|row| (row[1].clone(), bytes(&format!("real/{}", row[0]))));
    valid.chain(real).collect()
}

#[test]
fn every_valid_manifest_copied_in_is_pulled_byte_for_byte() {
    // The manifests of real programs reference layers that the tests do not have.
    let root = Root::mounted_with("references=skip");
    let work = tempfile::tempdir().unwrap();
    for path in ["_layers", "_manifests/tags"] {
        fs::create_dir_all(repository(&root, path)).unwrap();
    }
    let from = work.path().join("m.json");
    fs::write(&from, filled(STOCK)).unwrap();
    cp(&from, &repository(&root, "_manifests/"));
    let documents = documents();
    for (number, (_, document)) in documents.iter().enumerate() {
        fs::write(&from, document).unwrap();
        cp(
            &from,
            &repository(&root, &format!("_manifests/tags/t{number}")),
        );
    }
    for version in [Version::V2_8, Version::V3_1] {
        let registry = Registry::start(version, &root.path(), &Setup::default());
        for (number, (media_type, document)) in documents.iter().enumerate() {
            let shown = String::from_utf8_lossy(document);
            for reference in [format!("t{number}"), digest(document)] {
                let path = format!("/v2/team/app/manifests/{reference}");
                let headers = [("Accept", ACCEPT)];
                let answer = http::request(registry.port, "GET", &path, &headers, b"").unwrap();
                assert_eq!(answer.status, 200, "{version:?} {shown} {answer:?}");
                assert_eq!(&answer.body, document, "{version:?} {shown}");
                assert_eq!(
                    answer.header("Content-Type"),
                    Some(&**media_type),
                    "{shown}"
                );
                let named = answer.header("Docker-Content-Digest");
                assert_eq!(named, Some(&*digest(document)), "{shown}");
            }
        }
    }
}

#[test]
fn schema_1_copied_in_is_served_by_the_registry_that_knows_it() {
    let root = Root::mounted_with("schema1=accept");
    let work = tempfile::tempdir().unwrap();
    for path in ["_layers", "_manifests/tags"] {
        fs::create_dir_all(repository(&root, path)).unwrap();
    }
    fs::write(repository(&root, "_layers/layer"), "layer").unwrap();
    let from = work.path().join("m.json");
    fs::write(&from, bytes("schema1/es256.json")).unwrap();
    cp(&from, &repository(&root, "_manifests/tags/old"));
    let link = fs::read_to_string(repository(&root, "_manifests/tags/old/current/link")).unwrap();
    let registry = Registry::start(Version::V2_8, &root.path(), &Setup::default());
    let accept = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let path = "/v2/team/app/manifests/old";
    let answer = http::request(registry.port, "GET", path, &[("Accept", accept)], b"").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("Content-Type"), Some(accept));
    assert_eq!(answer.header("Docker-Content-Digest"), Some(&*link));
    assert!(String::from_utf8_lossy(&answer.body).contains("\"fsLayers\""));
}

/// Pushes an image layout, and an artifact, with nothing but mkdir and cp; the image's digest.
fn push_with_cp(root: &Root, work: &Path) -> String {
    let digest = image::write_layout(&work.join("image"), 11, 200_000);
    for path in ["_layers", "_manifests/tags"] {
        run(Command::new("mkdir").arg("-p").arg(repository(root, path)));
    }
    let blobs = work.join("image/blobs/sha256");
    let mut manifests = Vec::new();
    for row in fs::read_dir(&blobs).unwrap() {
        let path = row.unwrap().path();
        let content = fs::read(&path).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&content).unwrap_or_default();
        if parsed["layers"].is_array() {
            manifests.push(path);
        } else if !parsed["manifests"].is_array() {
            cp(&path, &repository(root, "_layers/"));
        }
    }
    for manifest in manifests {
        cp(&manifest, &repository(root, "_manifests/"));
    }
    cp(
        &blobs.join(&digest[7..]),
        &repository(root, "_manifests/tags/v1"),
    );
    let note = work.join("note.txt");
    fs::write(&note, "a note").unwrap();
    cp(&note, &repository(root, "_layers/"));
    let artifact = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.example.note","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{}","size":2}},"layers":[{{"mediaType":"text/plain","digest":"{}","size":6,"annotations":{{"org.opencontainers.image.title":"note.txt"}}}}]}}"#,
        image::digest(b"{}"),
        image::digest(b"a note"),
    );
    fs::write(work.join("artifact.json"), artifact).unwrap();
    cp(
        &work.join("artifact.json"),
        &repository(root, "_manifests/tags/note"),
    );
    digest
}

/// oras' own steps for pulling a file.
const ORAS: &str = "
import os, sys
import oras.client
host, work = sys.argv[1:]
client = oras.client.OrasClient(hostname=host, insecure=True, tls_verify=False)
[pulled] = client.pull(target=host + '/team/app:note', outdir=work, overwrite=True)
assert open(pulled).read() == 'a note', pulled
";

#[test]
fn an_image_pushed_with_mkdir_and_cp_pulls_with_every_client() {
    let root = Root::mounted();
    let work = tempfile::tempdir().unwrap();
    let digest = push_with_cp(&root, work.path());
    for version in [Version::V2_8, Version::V3_1] {
        let registry = Registry::start(version, &root.path(), &Setup::default());
        let host = format!("127.0.0.1:{}", registry.port);
        let back = work.path().join(format!("{version:?}"));
        let layout = |name: &str| format!("oci:{}:v1", back.join(name).display());
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "copy",
            "--insecure-policy",
            "--all",
            "--src-tls-verify=false",
        ]);
        skopeo.arg(format!("docker://{host}/team/app:v1"));
        fs::create_dir_all(&back).unwrap();
        run(skopeo.arg(layout("skopeo")));
        let crane = back.join("crane");
        let image = format!("{host}/team/app:v1");
        run(Command::new(tool("crane"))
            .args(["pull", "--format=oci", &image])
            .arg(&crane));
        for pulled in [back.join("skopeo"), crane] {
            let source = work.path().join("image/blobs/sha256");
            for row in fs::read_dir(source).unwrap() {
                let path = row.unwrap().path();
                let again = pulled.join("blobs/sha256").join(path.file_name().unwrap());
                assert_eq!(fs::read(again).unwrap(), fs::read(path).unwrap());
            }
            assert!(pulled.join("blobs/sha256").join(&digest[7..]).exists());
        }
        let mut python = Command::new(tool("python/bin/python"));
        python.args(["-c", ORAS, &host]).arg(back.join("oras"));
        run(python.env("HOME", work.path()));
    }
}
