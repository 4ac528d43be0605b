//! The tables of invalid manifests, copied into a mount: each is refused with its own errno and
//! reason, and changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use super::mounted::{Mounted, attribute, hex, regfs, tree};
use super::table::{STOCK, filled, table};

/// A manifest that is refused changes nothing, and its reason names the rule and the place in the
/// document.
#[test]
fn every_wrong_manifest_is_refused_with_its_reason_and_nothing_changes() {
    let mounted = Mounted::new();
    mounted.stock();
    mounted.stock_manifest();
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("m.json");
    let before = tree(&mounted.v2(""));
    let mut reasons = BTreeSet::new();
    let rows: Vec<_> = table("invalid.txt")
        .into_iter()
        .chain(table("missing.txt"))
        .collect();
    for row in &rows {
        fs::write(&source, &row[2]).unwrap();
        let to = mounted.repository("_manifests/tags/bad");
        let output = Command::new("cp").arg(&source).arg(&to).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        let expected = match &*row[0] {
            "reference-missing" => "No such file",
            "unknown-algorithm" => "Operation not supported",
            _ => "Invalid argument",
        };
        assert!(
            !output.status.success() && printed.contains(expected),
            "{}: {printed}",
            row[2]
        );
        let reason = attribute(&mounted.repository("_manifests"), "user.regfs.error").unwrap();
        assert!(
            reason.contains(&row[0]) && reason.contains(&row[1]),
            "{reason}"
        );
        reasons.insert(reason);
        assert!(!to.exists());
    }
    assert!(reasons.len() >= 40, "{} different reasons", reasons.len());
    assert_eq!(tree(&mounted.v2("")), before);
    let rejected = fs::read_to_string(mounted.top().join(".regfs/rejected")).unwrap();
    assert!(rejected.lines().count() >= rows.len());
}

/// Every valid manifest is stored byte for byte, with its media type.
#[test]
fn every_right_manifest_is_stored_byte_for_byte() {
    let mounted = Mounted::new();
    mounted.stock();
    mounted.stock_manifest();
    for (number, row) in table("valid.txt").iter().enumerate() {
        fs::write(
            mounted.repository(&format!("_manifests/tags/t{number}")),
            &row[2],
        )
        .unwrap();
        let link = mounted.repository(&format!("_manifests/tags/t{number}/current/link"));
        let hex = hex(row[2].as_bytes());
        assert_eq!(
            fs::read_to_string(&link).unwrap(),
            format!("sha256:{hex}"),
            "{}",
            row[2]
        );
        assert_eq!(attribute(&link, "user.regfs.media_type").unwrap(), row[0]);
        let blob = mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        assert_eq!(fs::read_to_string(blob).unwrap(), row[2]);
    }
}

/// A manifest of more than 4 MiB is refused with `EFBIG`.
#[test]
fn more_than_a_manifest_may_have_is_too_large() {
    let mounted = Mounted::new();
    mounted.stock();
    mounted.stock_manifest();
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("m.json");
    fs::write(&source, vec![b' '; (4 << 20) + 1]).unwrap();
    let to = mounted.repository("_manifests/tags/big");
    let output = Command::new("cp").arg(&source).arg(&to).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("File too large"));
    assert!(!to.exists());
}

/// Stores a manifest as a registry does: the blob, the revision's link and the tag's.
fn push(mounted: &Mounted, tag: &str, document: &[u8]) {
    let name = hex(document);
    let write = |directory: PathBuf, file: &str, content: &[u8]| {
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), content).unwrap();
    };
    write(
        mounted.v2(&format!("blobs/sha256/{}/{name}", &name[..2])),
        "data",
        document,
    );
    let link = format!("sha256:{name}");
    for path in [
        format!("_manifests/revisions/sha256/{name}"),
        format!("_manifests/tags/{tag}/index/sha256/{name}"),
        format!("_manifests/tags/{tag}/current"),
    ] {
        write(mounted.repository(&path), "link", link.as_bytes());
    }
}

/// What `rm` of a layer's or configuration's bytes says.
fn remove(mounted: &Mounted, digest: &str) -> Result<(), ErrorKind> {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let path = mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
    fs::remove_file(path).map_err(|error| error.kind())
}

fn fsck(mounted: &Mounted) -> (Option<i32>, String) {
    let output = regfs().arg("fsck").arg(mounted.store()).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// What a stored manifest references is known, guarded and checked, even if it would not be
/// admitted.
#[test]
fn what_a_manifest_names_is_known_guarded_and_checked_though_it_would_not_be_admitted() {
    for row in table("understood.txt") {
        let mounted = Mounted::with(&["-o", "delete=guarded"]);
        mounted.stock();
        mounted.stock_manifest();
        push(&mounted, "v1", row[2].as_bytes());
        let tag = mounted.repository("_manifests/tags/v1");
        let named = attribute(&tag, "user.regfs.references").unwrap_or_default();
        assert_eq!(
            named.replace(", ", ","),
            row[1].replace(' ', ",").replace(":sha256", " sha256"),
            "{}",
            row[2]
        );
        assert_eq!(attribute(&tag, "user.regfs.media_type").unwrap(), row[0]);
        let image = filled(STOCK);
        fs::remove_dir_all(mounted.repository(&format!(
            "_manifests/revisions/sha256/{}",
            hex(image.as_bytes())
        )))
        .unwrap();
        for needed in ["config", "layer"] {
            for digest in [filled("@c"), filled("@l")] {
                if row[1].contains(&format!("{needed}:{digest}")) {
                    let refused = Err(ErrorKind::PermissionDenied);
                    assert_eq!(remove(&mounted, &digest), refused, "{}", row[2]);
                }
            }
        }
        let missing = row[1].contains(&filled("layer:@X")) || row[1].contains("manifest:");
        let (code, said) = fsck(&mounted);
        assert_eq!(code == Some(0), !missing, "{}: {said}", row[2]);
        assert_eq!(said.contains("missing-reference"), missing, "{said}");
    }
}

#[test]
fn what_an_index_names_beside_manifests_is_guarded_checked_and_listed() {
    let mounted = Mounted::with(&["-o", "delete=guarded"]);
    mounted.stock();
    let cache = filled(
        r#"{"schemaVersion":2,"mediaType":"@I","manifests":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"@l","size":5},{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"@c","size":2}]}"#,
    );
    fs::write(mounted.repository("_manifests/tags/cache"), &cache).unwrap();
    let (code, said) = fsck(&mounted);
    assert_eq!(code, Some(0), "{said}");
    for digest in [filled("@l"), filled("@c")] {
        assert_eq!(remove(&mounted, &digest), Err(ErrorKind::PermissionDenied));
        let listed = regfs()
            .arg("ls")
            .arg(mounted.store())
            .arg("team/app:cache")
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(&format!("blob\t{digest}\t")), "{listed}");
    }
    // Without its layer it cannot be pulled.
    fs::remove_dir_all(mounted.repository(&format!("_layers/sha256/{}", hex(b"layer")))).unwrap();
    let (code, said) = fsck(&mounted);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("missing-reference"), "{said}");
    // Nothing references the layer once the cache manifest is gone.
    fs::remove_dir_all(mounted.repository("_manifests")).unwrap();
    assert_eq!(remove(&mounted, &filled("@l")), Ok(()));
}
