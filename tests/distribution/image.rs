//! Images made on the spot: bytes with their digests, and manifests that name them.

use sha2::{Digest as _, Sha256};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sha256 digest of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Bytes that look random and are the same every time.
pub fn layer(seed: u64, len: usize) -> Vec<u8> {
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
pub fn manifest(media_type: &str, config: &[u8], layers: &[&[u8]]) -> Vec<u8> {
    let (config_type, layer_type) = if media_type == DOCKER {
        (
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        )
    } else {
        ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip")
    };
    let layers: Vec<String> = layers.iter().map(|layer| descriptor(layer_type, layer)).collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{},"layers":[{}]}}"#,
        descriptor(config_type, config),
        layers.join(",")
    )
    .into_bytes()
}

/// An index over manifests.
pub fn index(manifests: &[&[u8]]) -> Vec<u8> {
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
