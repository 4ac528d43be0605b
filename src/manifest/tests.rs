//! Tests: the tables in `tests/manifests`, and documents too large for a table.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::digest::Algorithm;

use support::table;

use table::{STOCK, bytes, filled, table};

const SCHEMA1: ParseOptions = ParseOptions {
    bytes_max: MANIFEST_BYTES_MAX,
    schema1: true,
};

fn validate(document: &str) -> Result<Manifest, Refusal> {
    parse(document.as_bytes(), &ParseOptions::default())
}

/// References in the form of the tables.
fn references(manifest: &Manifest) -> String {
    let shown = manifest.references().iter().map(|one| {
        let role = match one.role {
            ReferenceRole::Config => "config",
            ReferenceRole::Layer => "layer",
            ReferenceRole::Child => "manifest",
            ReferenceRole::Subject => "subject",
        };
        let requirement = match one.requirement {
            Requirement::Blob => "b",
            Requirement::Manifest => "m",
            Requirement::Either => "e",
            Requirement::Nothing => "n",
        };
        let size = one.size.map_or("-".into(), |size| size.to_string());
        format!("{role}:{requirement}:{}:{size}", one.digest)
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Media type and references in the form of the table for the lenient parser.
fn named(manifest: &ManifestSummary) -> (String, String) {
    let shown = manifest.references.iter().map(|one| {
        let role = match one.role {
            ReferenceRole::Config => "config",
            ReferenceRole::Layer => "layer",
            ReferenceRole::Child => "manifest",
            ReferenceRole::Subject => "subject",
        };
        format!("{role}:{}", one.digest)
    });
    let shown = shown.collect::<Vec<_>>().join(" ");
    (manifest.media_type.clone().into_owned(), shown)
}

fn lenient(document: &[u8]) -> (String, String) {
    named(&parse_lenient(document).expect("a manifest"))
}

fn refused_as(row: &[String], result: Result<Manifest, Refusal>) {
    let refusal = result.expect_err(&row[2]);
    let found = (refusal.rule.name(), &*refusal.pointer);
    assert_eq!(found, (&*row[0], &*row[1]), "{}: {refusal}", row[2]);
    assert!(refusal.to_string().contains("expected"), "{refusal}");
}

#[test]
fn the_sample_has_the_digest_of_its_placeholder() {
    let digest = Digest::of(Algorithm::Sha256, filled(STOCK).as_bytes());
    assert_eq!(digest.to_string(), filled("@n"));
    assert_eq!(filled(STOCK).len(), 392);
}

#[test]
fn the_tables_hold_enough() {
    let count = [
        "valid.txt",
        "invalid.txt",
        "missing.txt",
        "schema1.txt",
        "real.txt",
        "understood.txt",
    ]
    .map(|name| table(name).len());
    assert!(count.iter().sum::<usize>() >= 500, "{count:?}");
}

#[test]
fn every_invalid_document_is_refused_by_its_rule_at_its_place() {
    for row in table("invalid.txt") {
        refused_as(&row, validate(&row[2]));
    }
}

#[test]
fn every_valid_document_has_its_kind_and_references() {
    for row in table("valid.txt") {
        let manifest = validate(&row[2]).unwrap_or_else(|why| panic!("{}: {why}", row[2]));
        assert_eq!(manifest.media_type(), row[0], "{}", row[2]);
        assert_eq!(references(&manifest), row[1], "{}", row[2]);
        assert_eq!(lenient(row[2].as_bytes()), named(manifest.summary()));
        assert_eq!(manifest.payload(row[2].as_bytes()), row[2].as_bytes());
    }
    for row in table("missing.txt") {
        let manifest = validate(&row[2]).unwrap();
        let pointers: Vec<_> = manifest
            .references()
            .iter()
            .map(|one| &one.pointer)
            .collect();
        assert!(pointers.contains(&&row[1]), "{}", row[2]);
    }
}

#[test]
fn every_document_of_a_real_program_is_admitted() {
    for row in table("real.txt") {
        let document = bytes(&format!("real/{}", row[0]));
        let manifest = parse(&document, &ParseOptions::default()).unwrap();
        assert_eq!(manifest.media_type(), row[1], "{}", row[0]);
        assert_eq!(references(&manifest), row[2], "{}", row[0]);
        assert_eq!(lenient(&document), named(manifest.summary()));
    }
}

#[test]
fn refused_documents_are_parsed_leniently() {
    for row in table("understood.txt") {
        let named = (row[0].clone(), row[1].clone());
        assert_eq!(lenient(row[2].as_bytes()), named, "{}", row[2]);
        assert!(validate(&row[2]).is_err(), "{}", row[2]);
    }
    // Invalid UTF-8 hides nothing beside it.
    let mut document = filled(r#"{"a":"?","config":@C,"layers":[@L]}"#).into_bytes();
    let at = document.iter().position(|byte| *byte == b'?').unwrap();
    document[at] = 0xff;
    assert_eq!(lenient(&document).1, filled("config:@c layer:@l"));
    assert!(parse(&document, &ParseOptions::default()).is_err());
    for none in ["{}", "[]", "7", "{", "", r#"{"a":[{"layers":[]}]}"#] {
        assert_eq!(parse_lenient(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn unfetchable_urls_are_warnings_only() {
    let with = |url: &str| {
        filled(&format!(
            r#"{{"schemaVersion":2,"mediaType":"@M","config":@C,"layers":[{{"mediaType":"a/b","digest":"@l","size":5,"urls":["https://example.com/",{url:?}]}}]}}"#
        ))
    };
    let warnings = |url: &str| validate(&with(url)).unwrap().warnings().join("; ");
    assert_eq!(warnings("https://example.com/a"), "");
    assert!(warnings("ipfs://bafkreidy").starts_with("/layers/0/urls/1 is ipfs://bafkreidy: "));
    assert!(warnings("https://example.com/#a").contains("without a fragment"));
    let layer = filled(r#"{"mediaType":"a/b","digest":"@l","size":5,"urls":["ipfs://a"]}"#);
    let many = vec![layer; 1_000].join(",");
    let many = filled(&format!(
        r#"{{"schemaVersion":2,"config":@C,"layers":[{many}]}}"#
    ));
    assert_eq!(validate(&many).unwrap().warnings().len(), WARNINGS_MAX);
}

#[test]
fn work_is_bounded_by_length_and_depth_and_not_by_a_count_of_values() {
    let with = |extension: &str| {
        filled(&format!(
            r#"{{"schemaVersion":2,"mediaType":"@M","config":@C,"layers":[@L],"x":{extension}}}"#
        ))
    };
    let nested = |levels: usize| with(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    validate(&nested(9_999)).unwrap();
    let refusal = validate(&nested(10_000)).unwrap_err();
    assert_eq!(
        (refusal.rule, &*refusal.pointer),
        (ManifestRule::TooDeep, "/x")
    );
    assert_eq!(parse_lenient(nested(10_000).as_bytes()), None);
    let objects = with(&format!(
        "{}1{}",
        "{\"a\":".repeat(9_999),
        "}".repeat(9_999)
    ));
    validate(&objects).unwrap();
    validate(&with(&format!("[{}1]", "1,".repeat(1_900_000)))).unwrap();
    let members: Vec<_> = (0..300_000).map(|at| format!("\"{at}\":1")).collect();
    validate(&with(&format!("{{{}}}", members.join(",")))).unwrap();
    let twice = with(&format!("{{{},\"77\":2}}", members.join(",")));
    let refusal = validate(&twice).unwrap_err();
    assert_eq!(
        (refusal.rule, &*refusal.pointer),
        (ManifestRule::DuplicateKey, "/x/77")
    );
}

#[test]
fn schema_1_is_refused_unless_the_options_accept_it() {
    for row in table("schema1.txt") {
        let result = parse(row[2].as_bytes(), &SCHEMA1);
        match &*row[0] {
            "admitted" => {
                let manifest = result.unwrap_or_else(|why| panic!("{}: {why}", row[2]));
                assert_eq!(references(&manifest), row[1], "{}", row[2]);
                assert_eq!(manifest.kind(), Kind::Schema1);
                assert_eq!(
                    validate(&row[2]).unwrap_err().rule,
                    ManifestRule::Schema1Refused
                );
            }
            "reference-missing" => assert!(result.is_ok()),
            _ => refused_as(&row, result),
        }
    }
}

#[test]
fn valid_signatures_are_split_and_reassembled() {
    for (name, count) in [
        ("es256", 1),
        ("es384", 1),
        ("rs256", 1),
        ("two", 2),
        ("compact256", 1),
        ("skopeo-v2s1", 1),
    ] {
        let document = bytes(&format!("schema1/{name}.json"));
        let manifest = parse(&document, &SCHEMA1).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(manifest.kind(), Kind::Schema1Signed);
        assert_eq!(manifest.signatures().len(), count, "{name}");
        let payload = manifest.payload(&document);
        let plain = parse(payload, &SCHEMA1).unwrap();
        assert_eq!(plain.kind(), Kind::Schema1, "{name}");
        assert_eq!(plain.references(), manifest.references());
        let again = assemble(payload, manifest.signatures()).unwrap();
        let again = (parse(&again, &SCHEMA1).unwrap(), again);
        assert_eq!(again.0.payload(&again.1), payload, "{name}");
        assert_eq!(again.0.signatures(), manifest.signatures());
    }
    // As distribution up to 2.4 stored it and libtrust wrote it.
    let document = bytes("schema1/es256.json");
    let manifest = parse(&document, &SCHEMA1).unwrap();
    assert_eq!(manifest.signatures()[0], bytes("schema1/es256.signature"));
}

#[test]
fn a_damaged_signed_document_is_refused() {
    let document = String::from_utf8(bytes("schema1/es256.json")).unwrap();
    for (from, to, says) in [
        ("\"old\"", "\"new\"", "does not verify"),
        (
            "\"signature\": \"1",
            "\"signature\": \"2",
            "does not verify",
        ),
        (
            "\"alg\": \"ES256\"",
            "\"alg\": \"none\"",
            "supported are ES256",
        ),
        (
            "\"alg\": \"ES256\"",
            "\"alg\": \"RS256\"",
            "supported are ES256",
        ),
        ("\"jwk\"", "\"key\"", "without a key"),
        ("\"protected\": \"", "\"protected\": \"!", "base64url"),
        ("\"P-256\"", "\"P-384\"", "supported are ES256"),
        (
            "   \"signatures\"",
            "   \"extra\": 1,\n   \"signatures\"",
            "differs from the document",
        ),
    ] {
        assert!(document.contains(from), "{from}");
        let damaged = document.replacen(from, to, 1);
        let refusal = parse(damaged.as_bytes(), &SCHEMA1).expect_err(from);
        assert_eq!(refusal.rule, ManifestRule::BadSignature, "{refusal}");
        assert!(refusal.value.contains(says), "{refusal}");
    }
    // skopeo writes a directory's manifest without a name; registries require one.
    let nameless = parse(&bytes("schema1/skopeo-dir-v2s1.json"), &SCHEMA1).unwrap_err();
    assert_eq!(nameless.rule, ManifestRule::BadName);
    let es512 = parse(&bytes("schema1/es512.json"), &SCHEMA1).unwrap_err();
    assert!(es512.value.contains("ES512"), "{es512}");
    assert_eq!(assemble(b"{}", &[b"x".to_vec()]), None);
    assert_eq!(assemble(b"{}", &[]), None);
}

#[test]
fn an_empty_configuration_without_artifact_type_is_a_warning_only() {
    let with = |more: &str| {
        filled(&format!(
            r#"{{"schemaVersion":2,{more}"config":{{"mediaType":"@E","digest":"@c","size":2}},"layers":[]}}"#
        ))
    };
    assert_eq!(validate(&with("")).unwrap().warnings().len(), 1);
    let typed = validate(&with("\"artifactType\":\"a/b\",")).unwrap();
    assert!(typed.warnings().is_empty());
    assert_eq!(typed.artifact_type(), Some("a/b"));
    assert!(typed.references()[0].is_empty_object());
}

#[test]
fn oversized_and_malformed_bytes_are_refused() {
    let rule = |bytes: &[u8]| parse(bytes, &ParseOptions::default()).unwrap_err().rule;
    assert_eq!(
        rule(&vec![b' '; MANIFEST_BYTES_MAX + 1]),
        ManifestRule::TooLarge
    );
    assert_eq!(rule(&[0xff, 0xfe]), ManifestRule::NotJson);
    assert_eq!(rule(b"\xef\xbb\xbf{}"), ManifestRule::NotJson);
    assert_eq!(rule("[".repeat(100_000).as_bytes()), ManifestRule::TooDeep);
    let stock = filled(STOCK);
    let wide = |bytes: fn(u16) -> [u8; 2]| stock.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    assert_eq!(rule(&wide(u16::to_le_bytes)), ManifestRule::NotJson);
    assert_eq!(rule(&wide(u16::to_be_bytes)), ManifestRule::NotJson);
    for odd in [
        b"\0".as_slice(),
        b"\x0b",
        b"\x0c",
        b"\x01",
        b"\xc2\xa0",
        b"\xff",
    ] {
        assert_eq!(
            rule(&[odd, stock.as_bytes()].concat()),
            ManifestRule::NotJson
        );
        assert_eq!(
            rule(&[stock.as_bytes(), odd].concat()),
            ManifestRule::NotJson
        );
    }
    for byte in ['\0', '\u{1}', '\n', '\u{1f}'] {
        let document = stock.replacen('{', &format!("{{\"a\":\"{byte}\","), 1);
        assert_eq!(rule(document.as_bytes()), ManifestRule::NotJson);
    }
    let unclosed = format!("{{\"a\":{}}}", "[".repeat(100));
    assert_eq!(rule(unclosed.as_bytes()), ManifestRule::NotJson);
    let small = ParseOptions {
        bytes_max: 10,
        schema1: false,
    };
    let refusal = parse(filled(STOCK).as_bytes(), &small).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "too-large: the document is 392 bytes, expected at most 10 bytes"
    );
}

#[test]
fn a_refused_schema_1_document_is_parsed_leniently() {
    for document in ["schema1/es256.json", "schema1/skopeo-dir-v2s1.json"].map(bytes) {
        let refusal = parse(&document, &ParseOptions::default()).unwrap_err();
        assert_eq!(refusal.rule, ManifestRule::Schema1Refused);
        let (media_type, named) = lenient(&document);
        assert_eq!(media_type, Kind::Schema1.media_type());
        assert!(named.starts_with("layer:sha256:"), "{named}");
    }
}

#[test]
fn a_refusal_is_one_printable_sentence() {
    let refusal = validate(r#"{"schemaVersion":2,"mediaType":"text/plain"}"#).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "unknown-media-type: /mediaType is \"text/plain\", expected the media type of a Docker or \
         OCI manifest or index"
    );
    let odd =
        filled(r#"{"schemaVersion":2,"config":@C,"layers":[],"annotations":{"\u001b[2J\n":7}}"#);
    let refusal = validate(&odd).unwrap_err();
    assert!(
        !refusal.to_string().contains(char::is_control),
        "{refusal:?}"
    );
}

/// Documents of 4 MiB that are most expensive to read. `cargo test --release -- --ignored
/// --nocapture slowest` shows how long the slowest takes.
#[test]
#[ignore = "a measurement, not a test"]
fn the_slowest_documents() {
    let fill = |unit: &dyn Fn(usize) -> String, before: &str, after: &str| {
        let mut text = before.to_owned();
        for unit in (0..).map(unit) {
            if text.len() + unit.len() + after.len() > MANIFEST_BYTES_MAX {
                break;
            }
            text.push_str(&unit);
        }
        text + after
    };
    let index = |item: &str| {
        let item = filled(item);
        let unit = move |at: usize| format!("{}{item}", if at == 0 { "" } else { "," });
        fill(&unit, r#"{"schemaVersion":2,"manifests":["#, "]}")
    };
    for (name, document) in [
        ("numbers", fill(&|_| "1,".into(), r#"{"a":["#, "1]}")),
        ("empty objects", fill(&|_| "{},".into(), r#"{"a":["#, "1]}")),
        ("keys", fill(&|at| format!("\"{at:x}\":1,"), "{", "\"\":1}")),
        ("nested", fill(&|_| "[[[[]]]],".into(), r#"{"a":["#, "1]}")),
        ("escapes", fill(&|_| "\\u00e9".into(), "{\"a\":\"", "\"}")),
        ("floats", fill(&|_| "1.5e300,".into(), r#"{"a":["#, "1]}")),
        (
            "small objects",
            fill(&|_| "{\"a\":\"\"},".into(), r#"{"a":["#, "1]}"),
        ),
        ("manifests", index("@N")),
        (
            "annotations",
            fill(
                &|at| format!("\"{at:x}\":\"\","),
                &filled(r#"{"schemaVersion":2,"config":@C,"layers":[],"annotations":{"#),
                "\"\":\"\"}}",
            ),
        ),
    ] {
        let mut times: Vec<Duration> = (0..11)
            .map(|_| {
                let start = Instant::now();
                let _verdict = std::hint::black_box(validate(&document));
                start.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "{name:14} {:3} MiB  median {:?}  most {:?}",
            document.len() >> 20,
            times[5],
            times[10]
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(parse(&bytes, &SCHEMA1), parse(&bytes, &SCHEMA1));
    }

    #[test]
    fn a_damaged_manifest_is_parsed_without_a_panic(row in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let rows = table("valid.txt");
        let mut bytes = row.get(&rows)[2].clone().into_bytes();
        *at.get_mut(&mut bytes) = byte;
        prop_assert_eq!(parse(&bytes, &SCHEMA1), parse(&bytes, &SCHEMA1));
    }
}
