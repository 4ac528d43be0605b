//! The tables below `tests/manifests`, and documents that no table could hold.

use proptest::prelude::*;

use super::*;
use crate::digest::Algorithm;

/// Reads a table's rows and fills in its marks.
fn table(name: &str) -> Vec<Vec<String>> {
    let path = format!("{}/tests/manifests/{name}", env!("CARGO_MANIFEST_DIR"));
    let sha256 = |text: &str| Digest::of(Algorithm::Sha256, text.as_bytes()).to_string();
    let descriptor = |kind: &str, content: &str| {
        let size = content.len();
        let digest = sha256(content);
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
        ("@M", Kind::OciManifest.media_type().into()),
        ("@I", Kind::OciIndex.media_type().into()),
        ("@D", Kind::DockerManifest.media_type().into()),
        ("@T", Kind::DockerManifestList.media_type().into()),
    ];
    let text = std::fs::read_to_string(path).unwrap();
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
fn every_invalid_document_is_refused_by_its_rule_at_its_place() {
    let rows = table("invalid.txt");
    assert!(rows.len() >= 40);
    for row in rows {
        let refusal = parse(row[2].as_bytes()).expect_err(&row[2]);
        assert_eq!(
            (refusal.rule.name(), &*refusal.pointer),
            (&*row[0], &*row[1]),
            "{}",
            row[2]
        );
        assert!(refusal.to_string().contains("expected"), "{refusal}");
    }
}

#[test]
fn every_valid_document_is_of_its_kind() {
    for row in table("valid.txt") {
        let manifest = parse(row[1].as_bytes()).unwrap_or_else(|why| panic!("{}: {why}", row[1]));
        assert_eq!(manifest.media_type(), row[0], "{}", row[1]);
        assert_eq!(recognise(row[1].as_bytes()), Some(manifest.kind()));
    }
    for row in table("missing.txt") {
        let manifest = parse(row[2].as_bytes()).unwrap();
        assert!(
            manifest
                .references()
                .iter()
                .any(|one| one.pointer == row[1]),
            "{}",
            row[2]
        );
    }
}

#[test]
fn references_say_what_they_need() {
    let needs = |row: usize| -> Vec<(Role, Need)> {
        let manifest = parse(table("valid.txt")[row][1].as_bytes()).unwrap();
        manifest
            .references()
            .iter()
            .map(|one| (one.role, one.need))
            .collect()
    };
    assert_eq!(
        needs(0),
        [(Role::Config, Need::Blob), (Role::Layer, Need::Blob)]
    );
    assert_eq!(needs(6)[2], (Role::Subject, Need::Nothing));
    assert_eq!(needs(10)[1], (Role::Layer, Need::Nothing));
    assert_eq!(needs(14), [(Role::Child, Need::Blob)]);
    let index = table("missing.txt")[2][2].clone();
    assert_eq!(
        parse(index.as_bytes()).unwrap().references()[0].need,
        Need::Manifest
    );
}

#[test]
fn an_empty_configuration_without_artifact_type_is_only_unwise() {
    let warnings = |row: usize| {
        parse(table("valid.txt")[row][1].as_bytes())
            .unwrap()
            .warnings()
            .len()
    };
    assert_eq!((warnings(4), warnings(5)), (0, 1));
}

#[test]
fn large_and_odd_bytes_are_refused() {
    let rule = |bytes: &[u8]| parse(bytes).unwrap_err().rule;
    assert_eq!(rule(&vec![b' '; MANIFEST_BYTES_MAX + 1]), Rule::TooLarge);
    assert_eq!(rule(&[0xff, 0xfe]), Rule::NotJson);
    assert_eq!(rule(b"\xef\xbb\xbf{}"), Rule::NotJson);
    assert_eq!(rule("[".repeat(100_000).as_bytes()), Rule::TooDeep);
    assert_eq!(
        rule(format!("{{\"a\":{}}}", "[".repeat(100)).as_bytes()),
        Rule::NotJson
    );
}

#[test]
fn a_schema_1_document_is_recognised_though_refused() {
    let document = br#"{"schemaVersion":1,"signatures":[{}]}"#;
    assert_eq!(recognise(document), Some(Kind::Schema1Signed));
    assert_eq!(parse(document).unwrap_err().rule, Rule::Schema1Refused);
    assert_eq!(recognise(b"{}"), None);
}

#[test]
fn a_refusal_reads_as_one_sentence() {
    let refusal = parse(br#"{"schemaVersion":2,"mediaType":"text/plain"}"#).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "unknown-media-type: /mediaType is \"text/plain\", expected the media type of a Docker or \
         OCI manifest or index"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(parse(&bytes), parse(&bytes));
    }

    #[test]
    fn a_damaged_manifest_is_judged(row in 0..17_usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = table("valid.txt")[row][1].clone().into_bytes();
        *at.get_mut(&mut bytes) = byte;
        prop_assert_eq!(parse(&bytes), parse(&bytes));
    }
}
