//! The tables of documents in `tests/manifests`, with their placeholders filled in. Shared by the
//! tests of the manifest module and those of the mount.

use std::fs;
use std::path::PathBuf;

/// Returns the text that a placeholder stands for.
const MARKS: [(&str, &str); 15] = [
    // Descriptors: the configuration `{}`, the layer `layer`, and the manifest over both.
    (
        "@C",
        r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"@c","size":2}"#,
    ),
    (
        "@L",
        r#"{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"@l","size":5}"#,
    ),
    ("@N", r#"{"mediaType":"@M","digest":"@n","size":392}"#),
    // Digests: of those three, and of blobs that no repository holds.
    (
        "@c",
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    ),
    (
        "@l",
        "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85",
    ),
    (
        "@n",
        "sha256:a3aa9a6043e00956389f9e9ac582e89b5acda67f142cb2b9f4ca1ab146b651d7",
    ),
    (
        "@X",
        "sha256:20aeff0494e828d188c704e1f488a589b15ae01d11f6cb129f62129caa6cc543",
    ),
    // Media types.
    ("@M", "application/vnd.oci.image.manifest.v1+json"),
    ("@I", "application/vnd.oci.image.index.v1+json"),
    ("@D", "application/vnd.docker.distribution.manifest.v2+json"),
    (
        "@T",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ),
    ("@S", "application/vnd.docker.distribution.manifest.v1+json"),
    ("@E", "application/vnd.oci.empty.v1+json"),
    (
        "@F",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ),
    ("@Z", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
];

/// Returns the manifest whose digest is `@n`.
pub const STOCK: &str = r#"{"schemaVersion":2,"mediaType":"@M","config":@C,"layers":[@L]}"#;

/// Returns a text with its placeholders filled in.
pub fn filled(text: &str) -> String {
    MARKS.iter().fold(text.to_owned(), |text, (mark, with)| {
        text.replace(mark, with)
    })
}

/// Returns the bytes of a file of these tables.
pub fn bytes(name: &str) -> Vec<u8> {
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = top.join("../manifests").join(name);
    fs::read(path).unwrap()
}

/// Returns the rows of a table, each as its columns.
pub fn table(name: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(bytes(name)).unwrap();
    let rows = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|row| filled(row).split('\t').map(str::to_owned).collect())
        .collect()
}
