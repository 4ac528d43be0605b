//! The examples of the image specification (tests of its JSON schemas, documents in its text),
//! compared with our verdicts. `scripts/install` downloads the specification (v1.1.1).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::fs;

use regfs::registry::Policy;

use support::tool;

use tool::tool;

/// Examples on which we differ, by what is in them, and why.
const DIFFERENT: [(&str, bool, &str); 1] = [(
    "\"layers\": []",
    true,
    "the text of the specification says that manifests should have a layer, not that they \
         must: artifacts have none, and registries take them",
)];

fn specification(path: &str) -> String {
    fs::read_to_string(tool("image-spec").join(path)).unwrap()
}

/// The documents of one of the schemas' tests, and whether each is good.
fn cases(file: &str, field: &str) -> Vec<(String, bool)> {
    let text = specification(&format!("schema/{file}"));
    let mut cases = Vec::new();
    for case in text.split(&format!("{field}: `")).skip(1) {
        let (document, rest) = case.split_once('`').unwrap();
        let fails = rest.split("fail:").nth(1).unwrap_or_default();
        cases.push((document.to_owned(), !fails.trim_start().starts_with("true")));
    }
    cases
}

/// A descriptor within a manifest that is good in all else.
fn around(descriptor: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"sha256:{}","size":2}},"layers":[{descriptor}]}}"#,
        "0".repeat(64)
    )
}

/// Compares our verdicts with theirs; how many examples there were.
fn compare(cases: Vec<(String, bool)>) -> usize {
    let count = cases.len();
    for (document, good) in cases {
        let judged = Policy::default().validate(document.as_bytes());
        let different = DIFFERENT
            .iter()
            .find(|(within, ..)| document.contains(within));
        let expected = different.map_or(good, |(_, ours, _)| *ours);
        assert_eq!(judged.is_ok(), expected, "{document}\n{judged:?}");
    }
    count
}

#[test]
fn the_schemas_examples_of_manifests_and_indexes_are_judged_alike() {
    assert!(compare(cases("manifest_test.go", "manifest")) >= 9);
    assert!(compare(cases("imageindex_test.go", "imageIndex")) >= 12);
}

#[test]
fn the_schemas_examples_of_descriptors_are_judged_alike() {
    let cases = cases("descriptor_test.go", "descriptor");
    let within = cases.into_iter().map(|(one, good)| (around(&one), good));
    assert!(compare(within.collect()) >= 25);
}

#[test]
fn every_difference_is_one() {
    let descriptors = cases("descriptor_test.go", "descriptor").into_iter();
    let descriptors = descriptors.map(|(one, good)| (around(&one), good));
    let manifests = cases("manifest_test.go", "manifest").into_iter();
    let all: Vec<_> = manifests.chain(descriptors).collect();
    for (within, ours, why) in DIFFERENT {
        let mut differing = all
            .iter()
            .filter(|(document, good)| document.contains(within) && *good != ours);
        assert!(differing.next().is_some(), "{within}: {why}");
    }
}

#[test]
fn the_examples_in_the_text_are_good() {
    let mut count = 0;
    for file in ["manifest.md", "image-index.md"] {
        let text = specification(file);
        for block in text.split("\n```json,title=").skip(1) {
            let (head, rest) = block.split_once('\n').unwrap();
            let document = rest.split("\n```").next().unwrap();
            if head.contains("image.manifest") || head.contains("image.index") {
                Policy::default()
                    .validate(document.as_bytes())
                    .unwrap_or_else(|why| panic!("{file}: {why}\n{document}"));
                count += 1;
            }
        }
    }
    assert!(count >= 3, "{count} examples");
}
