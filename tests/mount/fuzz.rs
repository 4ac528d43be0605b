//! Random names and contents through the mount: no panic, no hang, no invalid link visible.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::drops::manifest;
use super::mounted::{Mounted, hex};

/// Seconds, unless the environment says how many.
const SECONDS: u64 = 5;

/// A stream of numbers that look random.
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The same stream for the same seed.
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed))
    }

    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % below
    }

    pub(crate) fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.next(choices.len())]
    }
}

const UUID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn name(numbers: &mut Numbers) -> String {
    let digest = hex(&[u8::try_from(numbers.next(4)).unwrap()]);
    let shard = digest[..2].to_owned();
    let fixed = [
        "_layers",
        "_manifests",
        "_uploads",
        "tags",
        "revisions",
        "sha256",
        "current",
        "index",
        "link",
        "data",
        "startedat",
        "hashstates",
        "blobs",
        "repositories",
        "a",
        "b",
        "v1",
        "0",
        UUID,
        &digest,
        &shard,
        "signatures",
        "x.json",
        ".tmp",
        "",
        "..",
        "UPPER",
        "é",
        "link~",
    ];
    let chosen = numbers.of(&fixed).to_owned();
    match numbers.next(12) {
        0 => format!("{chosen}.{UUID}.tmp"),
        1 => format!(".{chosen}.AbCdEf"),
        2 => "z".repeat(numbers.next(260)),
        _ => chosen,
    }
}

fn path(numbers: &mut Numbers, top: &Path) -> PathBuf {
    // Most walks begin in a directory that has entries.
    let begun = [
        "",
        "repositories/a",
        "repositories/a/_manifests",
        "repositories/a/_layers",
        "repositories/a/_manifests/tags",
        "repositories/a/_uploads",
        "blobs/sha256",
    ];
    let mut path = top.join(numbers.of(&begun));
    for _ in 0..numbers.next(5) {
        path.push(name(numbers).replace("..", "dots"));
    }
    path
}

fn content(numbers: &mut Numbers) -> Vec<u8> {
    match numbers.next(6) {
        0 => Vec::new(),
        1 => format!("sha256:{}", hex(&[u8::try_from(numbers.next(4)).unwrap()])).into_bytes(),
        2 => manifest("fuzz").into_bytes(),
        3 => vec![u8::try_from(numbers.next(4)).unwrap()],
        4 => (0..numbers.next(300))
            .map(|_| u8::try_from(numbers.next(256)).unwrap())
            .collect(),
        _ => {
            let mut bytes = manifest("fuzz").into_bytes();
            let at = numbers.next(bytes.len());
            bytes[at] = u8::try_from(numbers.next(256)).unwrap();
            bytes
        }
    }
}

/// Does something; whether it may is not the question.
fn act(numbers: &mut Numbers, top: &Path) {
    let (one, two) = (path(numbers, top), path(numbers, top));
    let _any: Result<(), std::io::Error> = match numbers.next(10) {
        0 | 1 => fs::create_dir_all(&one),
        2..=4 => File::create(&one).and_then(|mut file| {
            file.write_all(&content(numbers))?;
            if numbers.next(2) == 0 {
                file.sync_all()
            } else {
                Ok(())
            }
        }),
        5 => fs::rename(&one, &two),
        6 => fs::remove_file(&one),
        7 => fs::remove_dir(&one),
        8 => fs::read_dir(&one).map(|rows| assert!(rows.count() < 10_000)),
        _ => File::options()
            .write(true)
            .open(&one)
            .and_then(|file| file.set_len(numbers.next(200) as u64)),
    };
}

fn check(directory: &Path) {
    let Ok(rows) = fs::read_dir(directory) else {
        return;
    };
    for row in rows {
        let path = row.unwrap().path();
        if path.is_dir() {
            check(&path);
        } else if path.ends_with("link") {
            // It may have been removed meanwhile; a link that exists is complete.
            let Ok(link) = fs::read_to_string(&path) else {
                continue;
            };
            assert!(
                link.len() == 71 && link.starts_with("sha256:"),
                "{}: {link}",
                path.display()
            );
        }
    }
}

/// Whatever is tried at random through the mount, it goes on and shows no invalid link.
#[test]
fn whatever_is_tried_the_mount_goes_on_and_shows_no_invalid_link() {
    let seconds = std::env::var("REGFS_FUZZ_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let mounted = Mounted::new();
    fs::create_dir_all(mounted.v2("repositories/a/_manifests/tags")).unwrap();
    fs::create_dir_all(mounted.v2("repositories/a/_layers")).unwrap();
    let end = Instant::now() + Duration::from_secs(seconds);
    let top = mounted.v2("");
    std::thread::scope(|scope| {
        for seed in 1..5 {
            let top = &top;
            scope.spawn(move || {
                let mut numbers = Numbers::of_seed(seed);
                while Instant::now() < end {
                    (0..200).for_each(|_| act(&mut numbers, top));
                    if seed == 1 {
                        check(top);
                    }
                }
            });
        }
    });
    check(&top);
    assert!(
        fs::read_to_string(mounted.top().join(".regfs/status"))
            .unwrap()
            .contains("version")
    );
}
