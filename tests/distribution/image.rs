//! Images built by the tests: bytes with their digests, and manifests that reference them.

use regfs::digest::{Algorithm, Digest};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The sha256 digest of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

/// Bytes that look random and are the same every time.
pub(crate) fn layer(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> String {
    let (digest, size) = (digest(bytes), bytes.len());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

/// A manifest of this type over a configuration and layers.
pub(crate) fn manifest(media_type: &str, config: &[u8], layers: &[&[u8]]) -> Vec<u8> {
    let (config_type, layer_type) = if media_type == DOCKER {
        (
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        )
    } else {
        (
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.v1.tar+gzip",
        )
    };
    let layers: Vec<String> = layers
        .iter()
        .map(|layer| descriptor(layer_type, layer))
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{},"layers":[{}]}}"#,
        descriptor(config_type, config),
        layers.join(",")
    )
    .into_bytes()
}

/// An index over manifests.
pub(crate) fn index(manifests: &[&[u8]]) -> Vec<u8> {
    let children: Vec<String> = manifests
        .iter()
        .zip(["amd64", "arm64", "s390x"])
        .map(|(manifest, architecture)| {
            let descriptor = descriptor(MANIFEST, manifest);
            let head = descriptor.trim_end_matches('}');
            format!(r#"{head},"platform":{{"architecture":"{architecture}","os":"linux"}}}}"#)
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
        children.join(",")
    )
    .into_bytes()
}

/// Bytes as a gzip stream that holds them as they are: clients compress what is not.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let len = u16::try_from(block.len()).unwrap();
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(len.to_le_bytes());
        stream.extend((!len).to_le_bytes());
        stream.extend(block);
    }
    let crc = bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    });
    stream.extend((!crc).to_le_bytes());
    stream.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    stream
}

/// Writes an image of two architectures as an OCI layout, tagged `v1`; the index's digest.
pub(crate) fn write_layout(directory: &std::path::Path, seed: u64, layer_len: usize) -> String {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let write = |bytes: &[u8]| {
        let name = digest(bytes).replace("sha256:", "");
        std::fs::write(blobs.join(name), bytes).unwrap();
    };
    let manifests: Vec<Vec<u8>> = ["amd64", "arm64"]
        .into_iter()
        .zip(seed * 2..)
        .map(|(architecture, seed)| {
            let raw = layer(seed, layer_len);
            let (diff, layer) = (digest(&raw), gzip(&raw));
            let config = format!(
                r#"{{"architecture":"{architecture}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{diff}"]}}}}"#
            );
            let manifest = manifest(MANIFEST, config.as_bytes(), &[&layer]);
            [&layer[..], config.as_bytes(), &manifest].into_iter().for_each(&write);
            manifest
        })
        .collect();
    let index = index(&manifests.iter().map(Vec::as_slice).collect::<Vec<_>>());
    write(&index);
    let descriptor = descriptor(INDEX, &index);
    let named = format!(
        r#"{},"annotations":{{"org.opencontainers.image.ref.name":"v1"}}}}"#,
        descriptor.trim_end_matches('}')
    );
    let top = format!(r#"{{"schemaVersion":2,"manifests":[{named}]}}"#);
    std::fs::write(directory.join("index.json"), top).unwrap();
    std::fs::write(
        directory.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    digest(&index)
}
