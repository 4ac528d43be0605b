//! The structure of the crate, kept by tests: which module may use which, what stands in one place
//! only, how large files and types may be, and that no files use each other in circles.
//!
//! Each rule is a function from sources to violations. It finds none in the sources, and it finds
//! the violation that its test adds to them.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources must fail"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "an index out of range must fail the test"
)]

use std::fs;
use std::path::Path;

use picture::Picture;
use sources::{Source, sources, text_of, with};

mod circles;
mod picture;
mod sources;
mod types;

/// Fails if a rule finds anything in the sources, or does not find a violation.
fn keeps(rule: impl Fn(&[Source]) -> Vec<String>, violation: &[Source], expected: &str) {
    let found = rule(&sources());
    assert!(found.is_empty(), "{found:#?}");
    let caught = rule(violation);
    assert!(
        caught.iter().any(|one| one.contains(expected)),
        "{caught:#?}"
    );
}

#[test]
fn modules_use_only_what_the_picture_says() {
    let rule = |all: &[Source]| Picture::of(all).violations(all);
    let text = text_of("digest.rs") + "use crate::registry::Registry;\n";
    keeps(rule, &with("digest.rs", &text), "digest.rs uses registry");
    // A module that commands may not use, written as a path and not as an import.
    let text = text_of("commands/mount.rs") + "fn run() { crate::cli::run(); }\n";
    keeps(rule, &with("commands/mount.rs", &text), "mount.rs uses cli");
    keeps(
        rule,
        &with("helpers.rs", "//! Helpers.\n"),
        "helpers.rs is not in the picture",
    );
}

#[test]
fn the_picture_is_the_one_that_the_code_needs() {
    let rule = |all: &[Source]| Picture::of(all).violations(all);
    let library = text_of("lib.rs");
    let line = library
        .lines()
        .find(|line| line.contains("<- layout"))
        .unwrap();
    let more = library.replace(line, &line.replacen("//! ", "//! dir, ", 1));
    keeps(rule, &with("lib.rs", &more), "no code of layout uses dir");
    let upwards = library.replace(line, &line.replacen("//! ", "//! tree, ", 1));
    keeps(
        rule,
        &with("lib.rs", &upwards),
        "tree <- layout before tree",
    );
    let less = library.replace(line, &line.replacen("digest, ", "", 1));
    keeps(rule, &with("lib.rs", &less), "layout.rs uses digest");
}

#[test]
fn no_files_use_each_other() {
    let text = text_of("registry/references.rs") + "use super::link::link;\n";
    let violation = with("registry/references.rs", &text);
    keeps(
        circles::circles,
        &violation,
        "registry/link, registry/references",
    );
}

#[test]
fn a_type_name_is_defined_once() {
    let text = text_of("tree.rs") + "pub(crate) struct Registry;\n";
    let expected = "Registry is defined in registry.rs and tree.rs";
    keeps(types::doubles, &with("tree.rs", &text), expected);
}

#[test]
fn no_type_has_many_public_methods() {
    let methods = |count: usize, word: &str| -> String {
        let method = |number| format!("    {word} fn method_{number}(&self) {{}}\n");
        let methods: String = (0..count).map(method).collect();
        format!("//! Many.\nimpl Many {{\n{methods}}}\n")
    };
    let violation = with("tree/many.rs", &methods(26, "pub"));
    keeps(types::crowded, &violation, "Many has 26 public methods");
    let registry = methods(41, "pub(super)").replace("impl Many", "impl Registry");
    let violation = with("tree/many.rs", &registry);
    keeps(types::crowded, &violation, "Registry has");
    let facade = "impl Deref for Facade {\n    type Target = Many;\n}\n";
    let violation = with("tree/many.rs", &(methods(26, "pub") + facade));
    keeps(types::crowded, &violation, "Facade has 26 public methods");
}

/// Words, and the files in which they may stand.
const CONFINED: [(&str, &[&str]); 10] = [
    (
        "unsafe ",
        &[
            "fuse/transport/queue.rs",
            "fuse/connection.rs",
            "blobs/local/lease.rs",
        ],
    ),
    ("io_uring::", &["fuse/transport/queue.rs"]),
    ("\"_layers\"", &["layout.rs"]),
    ("\"_manifests\"", &["layout.rs"]),
    ("\"_uploads\"", &["layout.rs"]),
    ("fuser::", &["fuse.rs", "fuse/"]),
    ("libc::", &["fuse/", "blobs/local/lease.rs"]),
    ("ReadOnlyTable", &["index/redb/view.rs"]),
    (
        ".sync_data()",
        &[
            "blobs/local/draft.rs",
            "index/journal/segment.rs",
            "index/redb/file.rs",
        ],
    ),
    (
        ".sync_all()",
        &[
            "blobs/local.rs",
            "index/redb/open.rs",
            "index/journal/segment.rs",
            "tree/plain_files.rs",
        ],
    ),
];

/// Lines of a file without its tests.
const LINES_MAX: usize = 400;
const LONGER: [(&str, usize); 1] = [("layout.rs", 440)];

#[test]
fn what_stands_in_one_place_stands_nowhere_else() {
    let rule = |all: &[Source]| {
        let mut found = Vec::new();
        for source in all {
            let code = source.code();
            for (word, places) in CONFINED {
                let admitted = places.iter().any(|place| source.path.starts_with(place));
                if !admitted && code.contains(word) {
                    found.push(format!("{} says {word}", source.path));
                }
            }
        }
        found
    };
    let text = text_of("tree.rs") + "const LAYERS: &str = \"_layers\";\n";
    keeps(rule, &with("tree.rs", &text), "tree.rs says \"_layers\"");
}

#[test]
fn every_file_says_what_it_is_and_is_of_one_noun() {
    let rule = |all: &[Source]| all.iter().filter_map(fault_of_file).collect();
    keeps(
        rule,
        &with("tree/util.rs", "//! Anything.\n"),
        "tree/util.rs has no noun",
    );
    keeps(
        rule,
        &with("tree/a.rs", "use std::fs;\n"),
        "tree/a.rs does not say what it is",
    );
    let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
    keeps(rule, &with("tree/a.rs", &long), "tree/a.rs has 401 lines");
    keeps(
        rule,
        &with("tree/a.rs", "//! A.\n// TODO\n"),
        "tree/a.rs is not finished",
    );
}

fn fault_of_file(source: &Source) -> Option<String> {
    let path = &source.path;
    let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
    let longer = LONGER.iter().find(|(file, _)| file == path);
    let most = longer.map_or(LINES_MAX, |(_, most)| *most);
    let lines = source.text.lines().count();
    if !source.text.starts_with("//! ") {
        Some(format!("{path} does not say what it is"))
    } else if ["util", "utils", "common", "helpers", "misc", "mod"].contains(&stem) {
        Some(format!("{path} has no noun"))
    } else if lines > most {
        Some(format!("{path} has {lines} lines, more than {most}"))
    } else if source.text.contains("TODO") || source.text.contains("todo!") {
        Some(format!("{path} is not finished"))
    } else {
        None
    }
}

#[test]
fn seams_are_the_only_objects_behind_dyn() {
    let seams = [
        "Store",
        "Blobs",
        "StoredBytes",
        "Draft",
        "Fn",
        "FnMut",
        "FnOnce",
    ];
    let rule = |all: &[Source]| {
        let mut found = Vec::new();
        for source in all {
            for used in source.code().split("dyn ").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric()).collect();
                if !seams.contains(&used.as_str()) {
                    found.push(format!("{} has dyn {used}", source.path));
                }
            }
        }
        found
    };
    let text = text_of("tree.rs") + "type Shown = Box<dyn Display>;\n";
    keeps(rule, &with("tree.rs", &text), "tree.rs has dyn Display");
}

#[test]
fn dependencies_say_why_they_are_there() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = fs::read_to_string(manifest).unwrap();
    let mut explained = false;
    let mut within = false;
    for line in text.lines() {
        if line.starts_with('[') {
            within = line.contains("dependencies");
        } else if within && line.starts_with('#') {
            explained = true;
        } else if within && line.contains('=') {
            assert!(explained, "{line} does not say why it is there");
        } else {
            explained = false;
        }
    }
}
