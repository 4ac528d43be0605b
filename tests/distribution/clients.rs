//! Clients: skopeo, crane, regctl and oras push, pull, copy, list and delete through each
//! registry on the mount.

use std::path::Path;
use std::process::Command;

use super::http;
use super::image;
use super::registry::{Registry, Setup, Version};
use super::root::Root;
use super::tool::tool;

/// Runs a client; what it prints.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().expect("a client: run scripts/install");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{printed}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

/// The digest that a tag is at, as the registry says.
fn at(port: u16, repository: &str, tag: &str) -> Option<String> {
    let accept = format!("{}, {}", image::INDEX, image::MANIFEST);
    let path = format!("/v2/{repository}/manifests/{tag}");
    let answer = http::request(port, "HEAD", &path, &[("Accept", &accept)], b"").unwrap();
    answer
        .header("Docker-Content-Digest")
        .filter(|_| answer.status == 200)
        .map(str::to_owned)
}

/// Runs a walk of one client on each registry.
fn on_each(walk: impl Fn(&Registry, &Path, &str)) {
    for version in Version::ALL {
        let root = Root::mounted();
        let registry = Registry::start(version, &root.path(), &Setup::default());
        let work = tempfile::tempdir().unwrap();
        let digest = image::write_layout(&work.path().join("image"), 7, 300_000);
        walk(&registry, work.path(), &digest);
    }
}

#[test]
fn skopeo_pushes_pulls_copies_lists_and_deletes() {
    on_each(|registry, work, digest| {
        let at_registry = |name: &str| format!("docker://127.0.0.1:{}/{name}", registry.port);
        let layout = |name: &str| format!("oci:{}:v1", work.join(name).display());
        let copy = |from: &str, to: &str| {
            let mut command = Command::new("skopeo");
            command.args([
                "copy",
                "--insecure-policy",
                "--all",
                "--src-tls-verify=false",
            ]);
            run(command.arg("--dest-tls-verify=false").args([from, to]));
        };
        copy(&layout("image"), &at_registry("team/app:v1"));
        assert_eq!(at(registry.port, "team/app", "v1").as_deref(), Some(digest));
        copy(&at_registry("team/app:v1"), &layout("back"));
        assert!(work.join("back/blobs/sha256").join(&digest[7..]).exists());
        copy(&at_registry("team/app:v1"), &at_registry("other/app:v2"));
        assert_eq!(
            at(registry.port, "other/app", "v2").as_deref(),
            Some(digest)
        );
        let mut list = Command::new("skopeo");
        list.args(["list-tags", "--tls-verify=false"])
            .arg(at_registry("other/app"));
        assert!(run(&mut list).contains("\"v2\""));
        let mut delete = Command::new("skopeo");
        delete
            .args(["delete", "--tls-verify=false"])
            .arg(at_registry("other/app:v2"));
        run(&mut delete);
        assert_eq!(at(registry.port, "other/app", "v2"), None);
    });
}

#[test]
fn crane_pushes_pulls_copies_lists_and_deletes() {
    on_each(|registry, work, _| {
        let at_registry = |name: &str| format!("127.0.0.1:{}/{name}", registry.port);
        let crane = |arguments: &[&str]| run(Command::new(tool("crane")).args(arguments));
        let layout = work.join("image");
        crane(&[
            "push",
            "--index",
            layout.to_str().unwrap(),
            &at_registry("team/app:v1"),
        ]);
        // It pushes the index of the layout, which it rewrites.
        let digest = crane(&["digest", &at_registry("team/app:v1")])
            .trim()
            .to_owned();
        assert_eq!(at(registry.port, "team/app", "v1").as_ref(), Some(&digest));
        let back = work.join("back");
        crane(&[
            "pull",
            "--format=oci",
            &at_registry("team/app:v1"),
            back.to_str().unwrap(),
        ]);
        assert!(back.join("blobs/sha256").join(&digest[7..]).exists());
        crane(&[
            "copy",
            &at_registry("team/app:v1"),
            &at_registry("other/app:v2"),
        ]);
        assert_eq!(crane(&["ls", &at_registry("other/app")]).trim(), "v2");
        crane(&["delete", &at_registry(&format!("other/app@{digest}"))]);
        assert_eq!(at(registry.port, "other/app", "v2"), None);
        assert!(
            crane(&["catalog", &at_registry("")[..at_registry("").len() - 1]]).contains("team/app")
        );
    });
}

#[test]
fn regctl_pushes_pulls_copies_lists_and_deletes() {
    on_each(|registry, work, digest| {
        let host = format!("127.0.0.1:{}", registry.port);
        let at_registry = |name: &str| format!("{host}/{name}");
        let layout = |name: &str| format!("ocidir://{}:v1", work.join(name).display());
        let regctl = |arguments: &[&str]| {
            let mut command = Command::new(tool("regctl"));
            command
                .env("HOME", work)
                .args(["--host", &format!("reg={host},tls=disabled")]);
            run(command.args(arguments))
        };
        regctl(&[
            "image",
            "copy",
            &layout("image"),
            &at_registry("team/app:v1"),
        ]);
        assert_eq!(
            regctl(&["image", "digest", &at_registry("team/app:v1")]).trim(),
            digest
        );
        regctl(&[
            "image",
            "copy",
            &at_registry("team/app:v1"),
            &layout("back"),
        ]);
        assert!(work.join("back/blobs/sha256").join(&digest[7..]).exists());
        regctl(&[
            "image",
            "copy",
            &at_registry("team/app:v1"),
            &at_registry("other/app:v2"),
        ]);
        assert_eq!(
            regctl(&["tag", "ls", &at_registry("other/app")]).trim(),
            "v2"
        );
        regctl(&["tag", "delete", &at_registry("other/app:v2")]);
        assert_eq!(at(registry.port, "other/app", "v2"), None);
        assert_eq!(at(registry.port, "team/app", "v1").as_deref(), Some(digest));
    });
}

/// oras' own steps, for its Python client: a file pushed as an artifact, pulled, listed, and
/// its tag deleted.
const ORAS: &str = "
import os, sys
import oras.client
host, work = sys.argv[1:]
os.chdir(work)
client = oras.client.OrasClient(hostname=host, insecure=True, tls_verify=False)
target = host + '/team/artifact:v1'
pushed = client.push(target=target, files=['note.txt'], disable_path_validation=True)
assert pushed.status_code == 201, pushed
[pulled] = client.pull(target=target, outdir='pulled', overwrite=True)
assert open(pulled).read() == 'a note', pulled
assert client.get_tags(host + '/team/artifact') == ['v1']
copied = host + '/other/artifact:v2'
os.chdir('pulled')
client.push(target=copied, files=['note.txt'], disable_path_validation=True)
assert client.get_tags(host + '/other/artifact') == ['v2']
print(client.delete_tags(host + '/other/artifact', tags=['v2']))
";

#[test]
fn oras_pushes_pulls_lists_and_deletes() {
    on_each(|registry, work, _| {
        std::fs::write(work.join("note.txt"), "a note").unwrap();
        let mut python = Command::new(tool("python/bin/python"));
        python
            .args(["-c", ORAS, &format!("127.0.0.1:{}", registry.port)])
            .arg(work);
        run(python.env("HOME", work));
        assert!(at(registry.port, "team/artifact", "v1").is_some());
        assert_eq!(at(registry.port, "other/artifact", "v2"), None);
    });
}
