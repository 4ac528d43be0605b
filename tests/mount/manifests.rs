//! The tables of wrong manifests, copied into a mount: each is refused with its own errno and
//! reason, and nothing changes.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::mounted::{Mounted, attribute, hex, tree};
use super::table::table;

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
