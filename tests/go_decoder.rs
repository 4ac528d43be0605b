//! References of stored manifests, compared with Go's `encoding/json`, which registries use: both
//! must find the same in thousands of random documents.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regfs::manifest::{ReferenceRole, Requirement, parse_lenient};
use serde_json::{Value, json};

use support::{table, tool};

use tool::tool;

/// Documents that are compared at once, unless `REGFS_FUZZ_SECONDS` asks for more rounds.
const AT_ONCE: usize = 10_000;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

const TOP: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "config",
    "config",
    "layers",
    "layers",
    "layers",
    "manifests",
    "manifests",
    "blobs",
    "fsLayers",
    "subject",
    "subject",
    "annotations",
    "history",
    "x",
];
const WITHIN: &[&str] = &[
    "mediaType",
    "digest",
    "digest",
    "digest",
    "size",
    "urls",
    "blobSum",
    "platform",
    "data",
    "x",
];
const DIGESTS: &[&str] = &[
    "@c",
    "@l",
    "@n",
    "@X",
    "sha256:",
    "",
    "md5:00",
    "\\u0073ha256:x",
];
const TYPES: &[&str] = &[
    "@M",
    "@I",
    "@D",
    "@T",
    "@F",
    "a/b",
    "",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
];
const NUMBERS: &[&str] = &[
    "0",
    "2",
    "5",
    "-0",
    "-7",
    "2.0",
    "2e0",
    "1e3",
    "1e999",
    "9223372036854775807",
    "9223372036854775808",
    "123456789012345678901234567890",
    "0.1e-7",
];
const ODD: &[&str] = &[
    "null",
    "true",
    "false",
    "\"\"",
    "[]",
    "{}",
    "\"\\ud800\"",
    "[null]",
    "[[]]",
    "[{}]",
    "7",
    "\"\\ud83d\\ude00\"",
    "{\"digest\":\"@X\"}",
    "[{\"digest\":\"@X\"}]",
    "\"a\u{fffd}b\"",
];
const SPACE: &[&str] = &["", "", "", " ", "\n", "\t ", "\r\n"];

/// A name as it stands, or one that is folded to it, or is like it.
fn name(random: &mut Random, name: &str) -> String {
    let mut text = String::new();
    let odd = random.once_in(4);
    for one in name.chars() {
        let choice = if odd { random.below(6) } else { 5 };
        match (choice, one) {
            (0, _) => text.push(one.to_ascii_uppercase()),
            (1, _) => write!(text, "\\u{:04x}", u32::from(one)).unwrap(),
            (2, 's' | 'S') => text.push('\u{17f}'),
            (3, 's' | 'S') => text.push_str("\\u017F"),
            (4, 'k' | 'K') => text.push('\u{212a}'),
            _ => text.push(one),
        }
    }
    if random.once_in(30) {
        text.push_str(random.pick(&["\\ud800", " ", "\u{130}", "s", "\\u0000"]));
    }
    text
}

fn members(random: &mut Random, names: &[&str], value: fn(&mut Random, &str) -> String) -> String {
    let count = random.below(7);
    let members = (0..count).map(|_| {
        let known = random.pick(names);
        let (name, space) = (name(random, known), random.pick(SPACE));
        let value = if random.once_in(6) {
            random.pick(ODD).to_owned()
        } else {
            value(random, known)
        };
        format!("{space}\"{name}\"{space}:{space}{value}{space}")
    });
    let members: Vec<_> = members.collect();
    format!("{{{}}}", members.join(","))
}

fn within(random: &mut Random, name: &str) -> String {
    match name {
        "mediaType" => format!("\"{}\"", random.pick(TYPES)),
        "digest" | "blobSum" => format!("\"{}\"", random.pick(DIGESTS)),
        "size" => random.pick(NUMBERS).to_owned(),
        "urls" => random
            .pick(&["[]", "[\"https://a/\"]", "[null]", "[7]", "null", "\"a\""])
            .to_owned(),
        _ => random.pick(ODD).to_owned(),
    }
}

fn at_top(random: &mut Random, name: &str) -> String {
    match name {
        "schemaVersion" => random.pick(NUMBERS).to_owned(),
        "mediaType" => format!("\"{}\"", random.pick(TYPES)),
        "config" | "subject" => members(random, WITHIN, within),
        "layers" | "manifests" | "blobs" | "fsLayers" => {
            let count = random.below(4);
            let elements = (0..count).map(|_| {
                if random.once_in(8) {
                    random.pick(ODD).to_owned()
                } else {
                    members(random, WITHIN, within)
                }
            });
            format!("[{}]", elements.collect::<Vec<_>>().join(","))
        }
        _ => random.pick(ODD).to_owned(),
    }
}

/// A document, sometimes damaged.
fn document(random: &mut Random) -> Vec<u8> {
    let text = members(random, TOP, at_top);
    let text = format!("{}{text}{}", random.pick(SPACE), random.pick(SPACE));
    let mut bytes = table::filled(&text).into_bytes();
    if random.once_in(10) {
        let at = random.below(bytes.len());
        let odd = [0xff, 0xc3, b'"', b'\\', b'{', b']', 0, b'x', b',', 0x80];
        bytes[at] = odd[random.below(odd.len())];
    }
    bytes
}

/// What we read of a document, as the Go program writes it.
fn ours(bytes: &[u8]) -> Value {
    let Some(understood) = parse_lenient(bytes) else {
        return json!([]);
    };
    let references = understood.references.iter().map(|one| {
        let role = match one.role {
            ReferenceRole::Config => "config",
            ReferenceRole::Layer => "layer",
            ReferenceRole::Child => "manifest",
            ReferenceRole::Subject => "subject",
        };
        let is_schema1 = one.pointer.starts_with("/fsLayers/");
        let media_type = if is_schema1 {
            "schema 1"
        } else {
            &one.media_type
        };
        // Not compared: whether a manifest may be in another repository.
        let elsewhere = one.requirement == Requirement::Nothing;
        json!([
            role,
            one.digest.to_string(),
            media_type,
            one.size.unwrap_or(0),
            elsewhere
        ])
    });
    references.collect()
}

/// Where Go says that something may be elsewhere, of what may be so for us.
fn comparable(mut references: Value) -> Value {
    for one in references.as_array_mut().unwrap() {
        if one[0] == "manifest" || one[0] == "subject" {
            one[4] = Value::Null;
        }
    }
    references
}

/// What the Go program reads of documents.
fn theirs(program: &Path, documents: &[Vec<u8>]) -> Vec<Value> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<_> = documents
        .iter()
        .map(|one| STANDARD.encode(one) + "\n")
        .collect();
    let writer = std::thread::spawn(move || input.write_all(lines.concat().as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn compare(program: &Path, documents: &[Vec<u8>]) -> usize {
    let theirs = theirs(program, documents);
    assert_eq!(theirs.len(), documents.len());
    let mut names_something = 0;
    for (document, theirs) in documents.iter().zip(theirs) {
        names_something += usize::from(theirs != json!([]));
        assert_eq!(
            comparable(ours(document)),
            comparable(theirs),
            "{}",
            String::from_utf8_lossy(document)
        );
    }
    names_something
}

#[test]
fn what_a_manifest_names_is_what_go_decodes() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("references");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/go/references.go");
    let mut go = Command::new(tool("go"));
    go.arg("build").arg("-o").arg(&program).arg(source);
    let output = go.env("GOFLAGS", "-buildvcs=false").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let tables = [
        "valid.txt",
        "invalid.txt",
        "missing.txt",
        "schema1.txt",
        "understood.txt",
    ];
    let rows = tables.into_iter().flat_map(table::table);
    let mut documents: Vec<_> = rows.map(|row| row[2].clone().into_bytes()).collect();
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/real");
    documents.extend(
        fs::read_dir(real)
            .unwrap()
            .map(|row| fs::read(row.unwrap().path()).unwrap()),
    );
    documents.push(table::filled(table::STOCK).into_bytes());
    for levels in [9_999, 10_000] {
        let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        documents.push(table::filled(&format!(r#"{{"layers":[@L],"x":{nested}}}"#)).into_bytes());
    }
    assert!(compare(&program, &documents) > 100);
    let seed = std::env::var("REGFS_FUZZ_SEED").ok();
    let seed = seed.map_or_else(
        || u64::from(std::process::id()),
        |text| text.parse().unwrap(),
    );
    println!("REGFS_FUZZ_SEED={seed}");
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let seconds = std::env::var("REGFS_FUZZ_SECONDS").ok();
    let rounds = seconds.map_or(1, |text| 1 + text.parse::<usize>().unwrap() / 4);
    for _ in 0..rounds {
        let documents: Vec<_> = (0..AT_ONCE).map(|_| document(&mut random)).collect();
        let named = compare(&program, &documents);
        assert!(named > AT_ONCE / 4, "{named} documents name something");
    }
}
