//! Coherence of the kernel's caches: after changes from every side, cached answers equal those
//! after all caches are dropped.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::drops::manifest;
use super::fuzz::Numbers;
use super::mounted::{Mounted, forget, hex, regfs, tree};

/// Changes between two looks; `REGFS_CHANGES` says how many there are in all.
const STEP: usize = 8;

const REPOSITORIES: [&str; 3] = ["team/app", "team/other", "alone"];
const TAGS: [&str; 3] = ["v1", "v2", "v3"];

fn layer(number: usize, times: usize) -> String {
    format!("layer {number}").repeat(times)
}

/// A small file, as a registry before 3.1 writes it, or since.
fn put(path: &Path, content: &[u8], renamed: bool) -> std::io::Result<()> {
    let parent = path.parent().unwrap();
    fs::create_dir_all(parent)?;
    if !renamed {
        return fs::write(path, content);
    }
    let temporary = parent.join("link.01890a5d-ac96-774b-bcce-b302099a8057.tmp");
    fs::write(&temporary, content)?;
    fs::rename(&temporary, path)
}

/// An upload, published.
fn upload(mounted: &Mounted, repository: &Path, content: &[u8]) -> std::io::Result<()> {
    let upload = repository.join("_uploads/01890a5d-ac96-774b-bcce-b302099a8057");
    fs::create_dir_all(&upload)?;
    fs::write(upload.join("data"), content)?;
    let hex = hex(content);
    let blob = mounted.v2(&format!("blobs/sha256/{}/{hex}", &hex[..2]));
    fs::create_dir_all(&blob)?;
    fs::rename(upload.join("data"), blob.join("data"))?;
    fs::remove_dir_all(upload)
}

/// A command that changes the mounted store behind the kernel's back; what it refuses is no
/// matter.
fn command(words: &[&OsStr], mounted: &Mounted, blobs: &[&str]) -> std::io::Result<()> {
    let digests = blobs.iter().map(|hex| format!("sha256:{hex}"));
    let mut command = regfs();
    command.args(words).arg(mounted.store()).args(digests);
    command.output().map(drop)
}

/// A plain tree with an image and a layer of a repository, imported into the mounted store.
fn adopt(
    mounted: &Mounted,
    repository: &Path,
    tag: &Path,
    layer: &str,
    document: &str,
) -> std::io::Result<()> {
    let plain = mounted.store().with_file_name("plain");
    let v2 = plain.join("docker/registry/v2");
    let at = |path: &Path| v2.join(path.strip_prefix(mounted.v2("")).unwrap());
    for bytes in [layer, document] {
        let hex = hex(bytes.as_bytes());
        let blob = v2.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        put(&blob, bytes.as_bytes(), false)?;
    }
    let link = |directory: &Path, bytes: &str| {
        let hex = hex(bytes.as_bytes());
        let link = at(directory).join("sha256").join(&hex).join("link");
        put(&link, format!("sha256:{hex}").as_bytes(), false)
    };
    link(&repository.join("_layers"), layer)?;
    link(&repository.join("_manifests/revisions"), document)?;
    link(&tag.join("index"), document)?;
    let current = format!("sha256:{}", hex(document.as_bytes()));
    put(&at(tag).join("current/link"), current.as_bytes(), false)?;
    command(&[OsStr::new("import"), plain.as_os_str()], mounted, &[])?;
    fs::remove_dir_all(plain)
}

/// One change; what is not there or not admitted is no matter.
fn change(mounted: &Mounted, numbers: &mut Numbers) -> std::io::Result<()> {
    let name = numbers.of(&REPOSITORIES);
    let repository = mounted.v2("repositories").join(name);
    let layer = layer(numbers.next(3), 1 + numbers.next(2) * 3_000);
    let document = manifest(&numbers.next(6).to_string());
    let (layer_hex, manifest_hex) = (hex(layer.as_bytes()), hex(document.as_bytes()));
    let tag = repository.join("_manifests/tags").join(numbers.of(&TAGS));
    let link = |set: &str, hex: &str| repository.join(set).join("sha256").join(hex).join("link");
    let renamed = numbers.next(2) == 0;
    let blob = |hex: &str| mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
    match numbers.next(18) {
        0 | 1 => {
            fs::create_dir_all(repository.join("_manifests/tags"))?;
            fs::create_dir_all(repository.join("_layers"))?;
            fs::write(repository.join("_layers/config.json"), "{}")?;
            fs::write(repository.join("_layers/layer.tar"), "layer")
        }
        2 => fs::write(repository.join("_layers/other.tar"), &layer),
        3 => fs::write(&tag, &document).or_else(|_| fs::write(tag.join("m.json"), &document)),
        4 => fs::write(repository.join("_manifests/m.json"), &document),
        5 => fs::write(tag.join("current/link"), &document),
        6 => upload(mounted, &repository, layer.as_bytes()),
        7 => put(
            &link("_layers", &layer_hex),
            format!("sha256:{layer_hex}").as_bytes(),
            renamed,
        ),
        8 => {
            let content = format!("sha256:{manifest_hex}");
            put(
                &link("_manifests/revisions", &manifest_hex),
                content.as_bytes(),
                renamed,
            )?;
            let index = tag.join("index/sha256").join(&manifest_hex).join("link");
            put(&index, content.as_bytes(), renamed)?;
            put(&tag.join("current/link"), content.as_bytes(), renamed)
        }
        9 => fs::remove_dir_all(tag),
        10 => fs::remove_dir_all(link("_layers", &layer_hex).parent().unwrap()),
        11 => fs::remove_dir_all(
            link("_manifests/revisions", &manifest_hex)
                .parent()
                .unwrap(),
        ),
        12 => fs::remove_dir_all(blob(&layer_hex).parent().unwrap()),
        13 if numbers.next(6) == 0 => fs::remove_dir_all(repository),
        13 => fs::remove_dir_all(blob(&manifest_hex).parent().unwrap()),
        15 => adopt(mounted, &repository, &tag, &layer, &document),
        16 => command(&[OsStr::new("fsck"), OsStr::new("--repair")], mounted, &[]),
        17 => command(
            &[OsStr::new("undelete")],
            mounted,
            &[&layer_hex, &manifest_hex],
        ),
        _ => fs::create_dir_all(link("_layers", &layer_hex).parent().unwrap()),
    }
}

/// Every path that a change may bring or take.
fn paths(mounted: &Mounted) -> Vec<PathBuf> {
    let layers = (0..3).flat_map(|number| [1, 3_001].map(|times| layer(number, times)));
    let layers: Vec<String> = layers.map(|layer| hex(layer.as_bytes())).collect();
    let manifests = (0..6).map(|number| hex(manifest(&number.to_string()).as_bytes()));
    let manifests: Vec<String> = manifests.collect();
    let links = |set: PathBuf, digests: &[String]| -> Vec<PathBuf> {
        let links = digests.iter().map(|hex| set.join("sha256").join(hex));
        links.map(|directory| directory.join("link")).collect()
    };
    let mut paths = Vec::new();
    for repository in REPOSITORIES.map(|name| mounted.v2("repositories").join(name)) {
        paths.extend(links(repository.join("_layers"), &layers));
        paths.extend(links(repository.join("_manifests/revisions"), &manifests));
        for tag in TAGS.map(|tag| repository.join("_manifests/tags").join(tag)) {
            paths.extend(links(tag.join("index"), &manifests));
            paths.push(tag.join("current/link"));
        }
    }
    for hex in layers.iter().chain(&manifests) {
        paths.push(mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2])));
    }
    paths
}

/// What is there: paths, lengths, contents; and which of the paths that are asked for are not.
fn shown(mounted: &Mounted) -> Vec<(String, Vec<u8>, u64)> {
    let rows = tree(&mounted.v2("")).into_iter();
    let rows = rows.map(|(path, content)| {
        let file = fs::metadata(PathBuf::from(&path)).unwrap();
        let len = if file.is_dir() { 0 } else { file.len() };
        (path, content, len)
    });
    let missing = paths(mounted).into_iter().filter(|path| !path.exists());
    let missing = missing.map(|path| (path.display().to_string(), b"missing".into(), 0));
    rows.chain(missing).collect()
}

/// What the kernel caches of names, attributes and listings is what a fresh lookup would show.
#[test]
fn what_the_kernel_keeps_is_what_there_is() {
    let changes = std::env::var("REGFS_CHANGES").ok();
    let changes = changes.map_or(400, |text| text.parse().unwrap());
    let mounted = Mounted::with(&["-o", "delete=permissive"]);
    let mut numbers = Numbers::of_seed(u64::from(std::process::id()));
    let (mut done, mut largest) = (0, 0);
    for round in 0..changes / STEP {
        for _ in 0..STEP {
            done += usize::from(change(&mounted, &mut numbers).is_ok());
            // Make the kernel cache it.
            let kept = shown(&mounted);
            largest = largest.max(kept.len());
        }
        let kept = shown(&mounted);
        forget("3");
        let there = shown(&mounted);
        for (kept, there) in kept.iter().zip(&there) {
            assert_eq!(kept, there, "after {round} rounds of {numbers:?}");
        }
        assert_eq!(kept.len(), there.len(), "after {round} rounds");
    }
    assert!(
        done > changes / 4 && largest > 50,
        "{done} changes were made, of {largest}"
    );
}
