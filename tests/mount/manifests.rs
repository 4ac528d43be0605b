//! The tables of wrong manifests, copied into a mount: each is refused with its own errno and
//! reason, and nothing changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::mounted::{Mounted, attribute, hex, tree};

/// Reads a table's rows and fills in its marks, as `src/manifest/tests.rs` does.
fn table(name: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/manifests")
        .join(name);
    let sha256 = |text: &str| format!("sha256:{}", hex(text.as_bytes()));
    let descriptor = |kind: &str, content: &str| {
        let (digest, size) = (sha256(content), content.len());
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
    };
    let marks = [
        (
            "@C",
            descriptor("application/vnd.oci.image.config.v1+json", "{}"),
        ),
        (
            "@L",
            descriptor("application/vnd.oci.image.layer.v1.tar", "layer"),
        ),
        ("@c", sha256("{}")),
        ("@l", sha256("layer")),
        ("@X", sha256("nowhere")),
        ("@M", "application/vnd.oci.image.manifest.v1+json".into()),
        ("@I", "application/vnd.oci.image.index.v1+json".into()),
        (
            "@D",
            "application/vnd.docker.distribution.manifest.v2+json".into(),
        ),
        (
            "@T",
            "application/vnd.docker.distribution.manifest.list.v2+json".into(),
        ),
    ];
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let row = marks
            .iter()
            .fold(row.to_owned(), |row, (mark, with)| row.replace(mark, with));
        row.split('\t').map(str::to_owned).collect()
    })
    .collect()
}

#[test]
fn every_wrong_manifest_is_refused_with_its_reason_and_nothing_changes() {
    let mounted = Mounted::new();
    mounted.stock();
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
        let expected = if row[0] == "reference-missing" {
            "No such file"
        } else {
            "Invalid argument"
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

#[test]
fn every_right_manifest_is_stored_byte_for_byte() {
    let mounted = Mounted::new();
    mounted.stock();
    for (number, row) in table("valid.txt").iter().enumerate() {
        fs::write(
            mounted.repository(&format!("_manifests/tags/t{number}")),
            &row[1],
        )
        .unwrap();
        let link = mounted.repository(&format!("_manifests/tags/t{number}/current/link"));
        let hex = hex(row[1].as_bytes());
        assert_eq!(
            fs::read_to_string(&link).unwrap(),
            format!("sha256:{hex}"),
            "{}",
            row[1]
        );
        assert_eq!(attribute(&link, "user.regfs.media_type").unwrap(), row[0]);
        let blob = mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        assert_eq!(fs::read_to_string(blob).unwrap(), row[1]);
    }
}

#[test]
fn more_than_a_manifest_may_have_is_too_large() {
    let mounted = Mounted::new();
    mounted.stock();
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("m.json");
    fs::write(&source, vec![b' '; (4 << 20) + 1]).unwrap();
    let to = mounted.repository("_manifests/tags/big");
    let output = Command::new("cp").arg(&source).arg(&to).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("File too large"));
    assert!(!to.exists());
}
