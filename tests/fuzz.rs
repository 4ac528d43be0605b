//! Random documents and paths without a mount: no panic, a deterministic verdict, no slow input.
//! `scripts/fuzz SECONDS` runs this for longer and prints how long inputs took.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::time::{Duration, Instant};

use regfs::layout::Node;
use regfs::manifest::{ManifestSummary, ReferenceRole, ReferencedDigest, parse_lenient};
use regfs::registry::{Policy, Schema1};

use support::table;

/// Largest document that is judged, in bytes.
const LARGEST: usize = Policy::MANIFEST_BYTES_MOST;

/// How long each of the tests goes on.
fn duration() -> Duration {
    let seconds = std::env::var("REGFS_FUZZ_SECONDS").ok();
    Duration::from_secs(seconds.map_or(2, |text| text.parse().unwrap()))
}

/// How long this thread has been at work: time in which others had the processor is not ours.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// Numbers without order, the same in every run that begins with the same.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var("REGFS_FUZZ_SEED").ok();
        let seed = seed.map_or_else(
            || u64::from(std::process::id()),
            |text| text.parse().unwrap(),
        );
        println!("REGFS_FUZZ_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What documents are made of.
const TOKENS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "2",
    "-1",
    "1e308",
    "\\u0000",
    "\\ud800",
    "\"mediaType\":",
    "\"schemaVersion\":1,",
    "\"manifests\":[],",
    "\"config\":{},",
    "\"layers\":[",
    "\"data\":\"e30=\",",
    "\"signatures\":[{}],",
    "\"digest\":\"sha256:\",",
    "\"urls\":[\"http://\"],",
    "\u{feff}",
    "é",
];

/// Changes bytes a little.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let len = random.below(bytes.len() - at + 1).min(1 + random.below(64));
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            1 => drop(bytes.drain(at..at + len)),
            2 => drop(bytes.splice(at..at, random.pick(&TOKENS).bytes())),
            3 => {
                let copied = bytes[at..at + len].to_vec();
                bytes.splice(at..at, copied);
            }
            4 => {
                let other = random.pick(corpus);
                let from = random.below(other.len());
                let piece = other[from..].iter().take(1 + random.below(200)).copied();
                bytes.splice(at..at + len, piece.collect::<Vec<_>>());
            }
            5 => {
                // Many repetitions of one piece, which quadratic parsers are slow at.
                let piece = bytes[at..at + len].to_vec();
                let most = (LARGEST - bytes.len().min(LARGEST)) / piece.len().max(1);
                let times = if random.below(200) == 0 {
                    most
                } else {
                    most.min(random.below(50))
                };
                bytes.splice(at..at, piece.repeat(times));
            }
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(LARGEST);
}

/// How long inputs took: the slowest, and how many were below each bound.
#[derive(Default)]
struct Times {
    sorted: Vec<Duration>,
}

impl Times {
    fn print(mut self, what: &str) {
        self.sorted.sort();
        let at = |part: usize| self.sorted[(self.sorted.len() - 1) * part / 1000];
        println!(
            "{what}: {} inputs, median {:?}, 99 % {:?}, 99.9 % {:?}, slowest {:?}",
            self.sorted.len(),
            at(500),
            at(990),
            at(999),
            at(1000)
        );
    }
}

/// What a manifest names, and as what.
fn named(manifest: &ManifestSummary) -> Vec<(ReferenceRole, &ReferencedDigest)> {
    let references = manifest.references.iter();
    references.map(|one| (one.role, &one.digest)).collect()
}

#[test]
fn documents_made_at_random_are_judged() {
    let policy = Policy {
        schema1: Schema1::Accept,
        ..Policy::default()
    };
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for name in ["valid.txt", "invalid.txt", "missing.txt", "schema1.txt"] {
        corpus.extend(
            table::table(name)
                .into_iter()
                .map(|row| row[2].clone().into_bytes()),
        );
    }
    for row in table::table("real.txt") {
        corpus.push(table::bytes(&format!("real/{}", row[0])));
    }
    corpus.push(table::bytes("schema1/two.json"));
    corpus.push(table::filled(table::STOCK).into_bytes());
    let mut random = Random::new();
    let mut times = Times::default();
    let (end, mut admitted) = (Instant::now() + duration(), 0);
    while Instant::now() < end {
        let mut document = random.pick(&corpus).clone();
        mutate(&mut random, &mut document, &corpus);
        let start = used();
        let verdict = policy.validate(&document);
        times.sorted.push(used().saturating_sub(start));
        if let Ok(manifest) = &verdict {
            admitted += 1;
            // The stored payload is admitted as well.
            let payload = manifest.payload(&document);
            assert!(policy.validate(payload).is_ok());
            assert_eq!(
                named(&parse_lenient(payload).unwrap()),
                named(manifest.summary())
            );
        }
        if random.below(100) == 0 {
            assert_eq!(verdict, policy.validate(&document));
        }
    }
    println!("{admitted} of them were admitted");
    assert!(admitted > 0 && times.sorted.len() > admitted);
    times.print("documents");
}

/// What paths are made of.
const NAMES: [&str; 22] = [
    "blobs",
    "repositories",
    "_layers",
    "_manifests",
    "_uploads",
    "tags",
    "revisions",
    "current",
    "index",
    "link",
    "data",
    "startedat",
    "hashstates",
    "signatures",
    "sha256",
    "sha512",
    "da",
    "dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85",
    "team",
    "v1.0",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "108",
];

#[test]
fn paths_made_at_random_are_nodes_or_nothing() {
    let mut random = Random::new();
    let mut times = Times::default();
    let (end, mut nodes) = (Instant::now() + duration(), 0);
    while Instant::now() < end {
        let parts: Vec<String> = (0..random.below(10))
            .map(|_| {
                let mut name = (*random.pick(&NAMES)).to_owned();
                if random.below(8) == 0 {
                    let odd = [
                        "", ".", "..", "A", "é", "-", "_", "\0", "//", " ", "~", ".tmp",
                    ];
                    let at = random.below(name.len() + 1);
                    name.insert_str(at, random.pick::<&str>(&odd));
                }
                name
            })
            .collect();
        let path = parts.join("/");
        let start = used();
        let node = Node::parse(&path);
        times.sorted.push(used().saturating_sub(start));
        if let Some(node) = node {
            nodes += 1;
            assert_eq!(node.to_string(), path);
            assert_eq!(Node::parse(&node.to_string()), Some(node.clone()));
            if let Some(parent) = node.parent() {
                assert_eq!(parent.child(&node.name()), Some(node));
            }
        }
    }
    println!("{nodes} of them were nodes");
    assert!(nodes > 0 && times.sorted.len() > nodes);
    times.print("paths");
}
