//! The structure, kept by a test: which module may use which, what stands in one place only,
//! and what every file looks like.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources must fail"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use, besides itself: its line in the picture of `src/lib.rs`.
const ARROWS: [(&str, &[&str]); 16] = [
    ("dir", &[]),
    ("printable", &[]),
    ("digest", &[]),
    ("name", &["digest"]),
    ("layout", &["digest", "name"]),
    // Schema 1 manifests say a repository and a tag.
    ("manifest", &["digest", "name"]),
    ("index", &["dir", "digest", "name"]),
    ("blobs", &["dir", "digest"]),
    (
        "registry",
        &[
            "dir",
            "printable",
            "digest",
            "name",
            "layout",
            "manifest",
            "index",
            "blobs",
        ],
    ),
    (
        "maintenance",
        &[
            "dir", "digest", "name", "layout", "manifest", "index", "blobs", "registry",
        ],
    ),
    (
        "tree",
        &[
            "dir",
            "printable",
            "digest",
            "name",
            "layout",
            "manifest",
            "registry",
        ],
    ),
    // Errno is told from the errors of every layer, in one place.
    (
        "fuse",
        &["dir", "tree", "registry", "manifest", "index", "blobs"],
    ),
    (
        "adoption",
        &[
            "dir",
            "printable",
            "digest",
            "name",
            "layout",
            "registry",
            "maintenance",
            "tree",
        ],
    ),
    (
        "commands",
        &[
            "dir",
            "printable",
            "digest",
            "name",
            "manifest",
            "registry",
            "maintenance",
            "tree",
            "fuse",
            "adoption",
        ],
    ),
    ("cli", &["printable", "name", "commands"]),
    ("main", &["cli"]),
];

/// Words, and the files in which they may stand.
const CONFINED: [(&str, &[&str]); 10] = [
    (
        "unsafe ",
        &[
            "fuse/transport/ring/queue.rs",
            "fuse/connection.rs",
            "blobs/local/lease.rs",
        ],
    ),
    ("io_uring::", &["fuse/transport/ring/queue.rs"]),
    ("\"_layers\"", &["layout.rs"]),
    ("\"_manifests\"", &["layout.rs"]),
    ("\"_uploads\"", &["layout.rs"]),
    ("fuser::", &["fuse.rs", "fuse/"]),
    ("libc::", &["fuse/", "blobs/local/lease.rs"]),
    ("ReadOnlyTable", &["index/redb/view.rs"]),
    (
        ".sync_data()",
        &[
            "blobs/local/staged.rs",
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
            "tree/plain.rs",
        ],
    ),
];

/// Lines of a file without its tests.
const LINES_MAX: usize = 400;
const LONGER: [(&str, usize); 1] = [("layout.rs", 440)];

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for row in fs::read_dir(directory).unwrap() {
        let path = row.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// Every source file: its path below `src`, and its text without its tests.
fn files() -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&top, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let text = text
                .split("#[cfg(test)]")
                .next()
                .unwrap_or_default()
                .to_owned();
            (path.strip_prefix(&top).unwrap().display().to_string(), text)
        })
        .filter(|(name, _)| !name.ends_with("tests.rs") && !name.ends_with("contract.rs"))
        .collect()
}

/// The code of a file, without what its comments say.
fn code(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn modules_use_only_what_stands_left_of_them() {
    for (name, text) in files() {
        let module = name.split(['/', '.']).next().unwrap_or_default().to_owned();
        if module == "lib" {
            continue;
        }
        let arrows = ARROWS.iter().find(|(from, _)| *from == module);
        let (_, admitted) = arrows.unwrap_or_else(|| panic!("{name} is in no picture"));
        let code = code(&text).replace("regfs::", "crate::");
        for used in code.split("crate::").skip(1) {
            let used: String = used.chars().take_while(char::is_ascii_lowercase).collect();
            assert!(
                used == module || admitted.contains(&used.as_str()) || used.is_empty(),
                "{name} uses {used}, which is not left of {module}"
            );
        }
    }
}

#[test]
fn what_stands_in_one_place_stands_nowhere_else() {
    for (name, text) in files() {
        let code = code(&text);
        for (word, places) in CONFINED {
            let admitted = places.iter().any(|place| name.starts_with(place));
            assert!(admitted || !code.contains(word), "{name} says {word}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_no_place_for_everything() {
    for (name, text) in files() {
        assert!(text.starts_with("//! "), "{name} does not say what it is");
        let stem = Path::new(&name)
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            !["util", "utils", "common", "helpers", "misc", "mod"].contains(&&*stem),
            "{name}"
        );
        let longer = LONGER.iter().find(|(file, _)| *file == name);
        let most = longer.map_or(LINES_MAX, |(_, most)| *most);
        let lines = text.lines().count();
        assert!(lines <= most, "{name} has {lines} lines, more than {most}");
        assert!(
            !text.contains("TODO") && !text.contains("todo!"),
            "{name} is not finished"
        );
    }
}

#[test]
fn seams_are_the_only_objects_behind_dyn() {
    for (name, text) in files() {
        for used in code(&text).split("dyn ").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric()).collect();
            let seams = [
                "Store", "Blobs", "Content", "Draft", "Fn", "FnMut", "FnOnce",
            ];
            assert!(seams.contains(&used.as_str()), "{name} has dyn {used}");
        }
    }
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
