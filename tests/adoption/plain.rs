//! Plain trees as registries write them, generated in any size.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use regfs::digest::{Algorithm, Digest};

/// How large a tree is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Repositories.
    pub(crate) repositories: usize,
    /// Tags, and images, of each.
    pub(crate) tags: usize,
    /// Layers of each image; every repository's are its own links to blobs that all share.
    pub(crate) layers: usize,
    /// Layer blobs that there are.
    pub(crate) pool: usize,
    /// Bytes of each layer blob.
    pub(crate) layer_bytes: usize,
}

/// A small one, of which every part is there.
pub(crate) const SMALL: Shape = Shape {
    repositories: 6,
    tags: 5,
    layers: 3,
    pool: 12,
    layer_bytes: 20_000,
};

/// The directory of a registry's tree below its rootdirectory.
pub(crate) fn v2(root: &Path) -> PathBuf {
    root.join("docker/registry/v2")
}

/// The directory of a blob below `v2`.
pub(crate) fn blob(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/{}/{}/{hex}", digest.algorithm(), &hex[..2])
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Writes a file and the directories that lead to it.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    let mut file = fs::File::create(path)
        .or_else(|_| {
            fs::create_dir_all(path.parent().unwrap())?;
            fs::File::create(path)
        })
        .unwrap();
    file.write_all(bytes).unwrap();
}

/// Writes a blob; its digest.
pub(crate) fn put_blob(v2: &Path, bytes: &[u8]) -> Digest {
    let digest = sha256(bytes);
    put(&v2.join(blob(&digest)).join("data"), bytes);
    digest
}

/// Writes a link to a digest in a directory of links.
pub(crate) fn put_link(links: &Path, digest: &Digest) {
    let path = links.join(format!("{}/{}/link", digest.algorithm(), digest.hex()));
    put(&path, digest.to_string().as_bytes());
}

/// Bytes of a layer that are the same whenever they are made.
pub(crate) fn layer(number: usize, len: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut bytes = format!("layer {number}\n").into_bytes();
    while bytes.len() < len {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(len.max(16));
    bytes
}

/// A manifest that names a configuration and layers.
pub(crate) fn manifest(
    config: (&Digest, usize),
    layers: &[(Digest, usize)],
    note: &str,
) -> Vec<u8> {
    let layers: Vec<String> = layers
        .iter()
        .map(|(digest, size)| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{digest}","size":{size}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{}],"annotations":{{"note":"{note}"}}}}"#,
        config.0,
        config.1,
        layers.join(",")
    )
    .into_bytes()
}

/// The name of a repository of a generated tree.
pub(crate) fn repository(number: usize) -> String {
    match number % 3 {
        0 => format!("library/app{number}"),
        1 => format!("team{}/group/app{number}", number % 7),
        _ => format!("app{number}"),
    }
}

/// Writes a tree.
pub(crate) fn write(root: &Path, shape: &Shape) {
    let v2 = v2(root);
    fs::create_dir_all(v2.join("blobs")).unwrap();
    let pool: Vec<(Digest, usize)> = (0..shape.pool)
        .map(|number| {
            let bytes = layer(number, shape.layer_bytes);
            (put_blob(&v2, &bytes), bytes.len())
        })
        .collect();
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = (put_blob(&v2, config), config.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= shape.repositories {
                        return;
                    }
                    write_repository(&v2, shape, number, &pool, config);
                }
            });
        }
    });
}

fn write_repository(
    v2: &Path,
    shape: &Shape,
    number: usize,
    pool: &[(Digest, usize)],
    config: (Digest, usize),
) {
    let name = repository(number);
    let repository = v2.join("repositories").join(&name);
    let layers = repository.join("_layers");
    fs::create_dir_all(repository.join("_uploads")).unwrap();
    put_link(&layers, &config.0);
    for tag in 0..shape.tags {
        let first = number * 31 + tag * shape.layers;
        let ours: Vec<_> = (0..shape.layers)
            .map(|layer| pool[(first + layer) % pool.len()])
            .collect();
        for (digest, _) in &ours {
            let link = layers.join(format!("sha256/{}/link", digest.hex()));
            if !link.exists() {
                put_link(&layers, digest);
            }
        }
        let note = format!("{name}:{tag}");
        let digest = put_blob(v2, &manifest((&config.0, config.1), &ours, &note));
        put_link(&repository.join("_manifests/revisions"), &digest);
        let tag = repository.join(format!("_manifests/tags/v{tag}"));
        put_link(&tag.join("index"), &digest);
        put(&tag.join("current/link"), digest.to_string().as_bytes());
    }
}
