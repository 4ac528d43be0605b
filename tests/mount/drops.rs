//! Manifests and layers that people write with common programs.

use std::fs::{self, File};
use std::process::Command;

use super::mounted::{Mounted, attribute, hex};

/// A manifest over the stock of a repository.
pub(crate) fn manifest(note: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{}","size":5}}],"annotations":{{"note":"{note}"}}}}"#,
        hex(b"{}"),
        hex(b"layer")
    )
}

fn current(mounted: &Mounted, tag: &str) -> String {
    fs::read_to_string(mounted.repository(&format!("_manifests/tags/{tag}/current/link"))).unwrap()
}

fn names(mounted: &Mounted, path: &str) -> Vec<String> {
    let rows = fs::read_dir(mounted.repository(path)).unwrap();
    let mut names: Vec<_> = rows
        .map(|row| row.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A manifest copied into `_manifests`, or onto a tag, a tag's directory, a tag's current link or a
/// revision, is stored byte for byte and linked, and its own name is gone.
#[test]
fn cp_stores_a_manifest_in_every_form() {
    let mounted = Mounted::new();
    mounted.stock();
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("m.json");
    let cp = |note: &str, to: &str| {
        fs::write(&source, manifest(note)).unwrap();
        let status = Command::new("cp")
            .arg(&source)
            .arg(mounted.repository(to))
            .status()
            .unwrap();
        assert!(status.success(), "cp to {to}");
        let hex = hex(manifest(note).as_bytes());
        let revision = format!("_manifests/revisions/sha256/{hex}/link");
        let link = fs::read_to_string(mounted.repository(&revision)).unwrap();
        assert_eq!(link, format!("sha256:{hex}"));
        let blob = mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        assert_eq!(fs::read_to_string(blob).unwrap(), manifest(note));
        link
    };
    cp("untagged", "_manifests/");
    assert_eq!(names(&mounted, "_manifests"), ["revisions", "tags"]);
    let link = cp("new tag", "_manifests/tags/v1");
    assert!(mounted.repository("_manifests/tags/v1").is_dir());
    assert_eq!(current(&mounted, "v1"), link);
    let link = cp("moved", "_manifests/tags/v1/");
    assert_eq!(current(&mounted, "v1"), link);
    assert_eq!(names(&mounted, "_manifests/tags/v1"), ["current", "index"]);
    let link = cp("through the link", "_manifests/tags/v1/current/link");
    assert_eq!(current(&mounted, "v1"), link);
    assert_eq!(names(&mounted, "_manifests/tags/v1/index/sha256").len(), 3);
    let exact = hex(manifest("exact").as_bytes());
    fs::create_dir_all(mounted.repository("_manifests/revisions/sha256")).unwrap();
    cp("exact", &format!("_manifests/revisions/sha256/{exact}"));
    cp(
        "exact",
        &format!("_manifests/revisions/sha256/{exact}/link"),
    );
    assert_eq!(names(&mounted, "_manifests/tags"), ["v1"]);
    assert_eq!(names(&mounted, "_manifests/revisions/sha256").len(), 5);
    let revision = mounted.repository(&format!("_manifests/revisions/sha256/{exact}/link"));
    let media_type = attribute(&revision, "user.regfs.media_type").unwrap();
    assert_eq!(media_type, "application/vnd.oci.image.manifest.v1+json");
}

/// Writing the same manifest again changes nothing.
#[test]
fn the_same_again_changes_nothing() {
    let mounted = Mounted::new();
    mounted.stock();
    let tag = mounted.repository("_manifests/tags/v1");
    fs::write(&tag, manifest("same")).unwrap();
    let before = super::mounted::tree(&mounted.v2(""));
    fs::write(tag.join("again.json"), manifest("same")).unwrap();
    fs::write(
        mounted.repository("_manifests/again.json"),
        manifest("same"),
    )
    .unwrap();
    assert_eq!(super::mounted::tree(&mounted.v2("")), before);
}

/// An index is refused with `ENOENT` until its repository has the manifests that it names.
#[test]
fn an_index_needs_its_manifests_first() {
    let mounted = Mounted::new();
    mounted.stock();
    let child = manifest("child");
    let (hex, size) = (hex(child.as_bytes()), child.len());
    for (tag, index, list) in [
        (
            "oci",
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.manifest.v1+json",
        ),
        (
            "docker",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.oci.image.manifest.v1+json",
        ),
    ] {
        let document = format!(
            r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[{{"mediaType":"{list}","digest":"sha256:{hex}","size":{size},"platform":{{"architecture":"amd64","os":"linux"}}}}]}}"#
        );
        let path = mounted.repository("_manifests/tags").join(tag);
        if !mounted.repository("_manifests/revisions").exists() {
            // `fs::write` ignores the result of close; cp does not.
            let source = mounted.store().with_file_name("index.json");
            fs::write(&source, &document).unwrap();
            let output = Command::new("cp").arg(&source).arg(&path).output().unwrap();
            assert!(String::from_utf8_lossy(&output.stderr).contains("No such file"));
            assert!(!path.exists());
            fs::write(mounted.repository("_manifests/child.json"), &child).unwrap();
        }
        fs::write(&path, &document).unwrap();
        assert!(path.is_dir());
    }
}

/// A file copied into `_layers` is stored as a blob and linked, whatever its size.
#[test]
fn a_layer_is_stored_and_linked() {
    let mounted = Mounted::new();
    mounted.stock();
    let bytes = vec![3; 5_000_000];
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("big.tar"), &bytes).unwrap();
    let layers = mounted.repository("_layers/");
    let status = Command::new("cp")
        .arg(work.path().join("big.tar"))
        .arg(&layers)
        .status()
        .unwrap();
    assert!(status.success());
    let name = hex(&bytes);
    let link = mounted.repository(&format!("_layers/sha256/{name}/link"));
    assert_eq!(fs::read_to_string(link).unwrap(), format!("sha256:{name}"));
    let blob = mounted.v2(&format!("blobs/sha256/{}/{name}/data", &name[..2]));
    assert_eq!(fs::read(blob).unwrap(), bytes);
    assert_eq!(names(&mounted, "_layers"), ["sha256"]);
    let wrong = mounted.repository(&format!("_layers/sha256/{}", hex(b"wrong")));
    let copied = Command::new("cp")
        .arg(work.path().join("big.tar"))
        .arg(&wrong)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&copied.stderr).contains("Bad message"));
    assert!(!wrong.exists());
}

#[test]
fn programs_that_rename_store_manifests_too() {
    let mounted = Mounted::new();
    mounted.stock();
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("m.json");
    for (tag, program, arguments) in [
        ("rsync", "rsync", &["-a"][..]),
        ("install", "install", &["-m", "644"]),
        ("archive", "cp", &["-a"]),
        ("moved", "mv", &[]),
    ] {
        fs::write(&source, manifest(tag)).unwrap();
        let to = mounted.repository(&format!("_manifests/tags/{tag}"));
        let output = Command::new(program)
            .args(arguments)
            .arg(&source)
            .arg(&to)
            .output()
            .unwrap();
        let link = format!("sha256:{}", hex(manifest(tag).as_bytes()));
        assert_eq!(current(&mounted, tag), link, "{program}: {output:?}");
    }
    let to = mounted.repository("_manifests/tags/shell");
    fs::write(&source, manifest("shell")).unwrap();
    let script = format!("cat {} > {}", source.display(), to.display());
    assert!(
        Command::new("sh")
            .args(["-c", &script])
            .status()
            .unwrap()
            .success()
    );
    assert!(to.is_dir());
}

#[test]
fn two_writers_of_one_tag_leave_one_of_them() {
    let mounted = Mounted::new();
    mounted.stock();
    let tag = mounted.repository("_manifests/tags/v1");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let tag = &tag;
            scope.spawn(move || {
                for round in 0..20 {
                    let path = if tag.is_dir() {
                        tag.join("drop.json")
                    } else {
                        tag.clone()
                    };
                    // A program that is too late to create the tag finds a directory.
                    let _late = fs::write(path, manifest(&format!("{writer}-{round}")));
                    let link = tag.join("current/link");
                    let hex = fs::read_to_string(link).unwrap()[7..].to_owned();
                    assert_eq!(hex.len(), 64);
                }
            });
        }
    });
}

#[test]
fn a_name_that_is_used_again_at_once_takes_nothing_of_what_was_stored_under_it() {
    let mounted = Mounted::new();
    mounted.stock();
    let path = mounted.repository("_layers/layer");
    let write = |bytes: &[u8]| {
        let mut file = File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        // Closed and stored for the program, still open for the kernel.
        file.try_clone().unwrap()
    };
    let kept: Vec<File> = (0..5_u8).map(|seed| write(&vec![seed; 40_000])).collect();
    for seed in 0..5_u8 {
        let link = format!("_layers/sha256/{}/link", hex(&vec![seed; 40_000]));
        assert!(mounted.repository(&link).exists(), "layer {seed} is gone");
    }
    drop(kept);
}
