//! A storm: many writers in every dialect and many readers at once. No link is ever empty, torn, or
//! something that was never written; the memory of the daemon stays flat.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::drops::manifest;
use super::mounted::{Mounted, hex};

/// Writers and readers at once.
const WRITERS: u64 = 24;
const READERS: u64 = 8;
/// Tags that are written and read.
const TAGS: u64 = 12;

fn duration() -> Duration {
    let seconds = std::env::var("REGFS_STORM_SECONDS").ok();
    Duration::from_secs(seconds.map_or(5, |text| text.parse().unwrap()))
}

/// Memory of a process that is its own, in KiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

fn replace(path: &Path, content: &str) -> std::io::Result<()> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = format!("{name}.01890a5d-ac96-774b-bcce-{number:012x}.tmp");
    let temporary = path.with_file_name(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap())?.sync_all()
}

fn rewrite(path: &Path, content: &str) -> std::io::Result<()> {
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.set_len(0)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// One write of a writer.
fn write(mounted: &Mounted, writer: u64, round: u64) -> std::io::Result<()> {
    let tag = mounted.repository(&format!("_manifests/tags/t{}", (writer + round) % TAGS));
    let link = tag.join("current/link");
    match writer % 4 {
        // A manifest written by a person, which moves the tag.
        0 => {
            let mut file = File::create(tag.join(format!("m{writer}.json")))?;
            file.write_all(manifest(&format!("{writer} {}", round % 50)).as_bytes())?;
            file.sync_all()
        }
        // As a registry, in either dialect: the tag moves between existing manifests.
        1 => rewrite(&link, &known(writer, round)),
        2 => replace(&link, &known(writer, round)),
        // Layer links that come and go.
        _ => {
            let hex = hex(&[
                u8::try_from(writer).unwrap(),
                u8::try_from(round % 20).unwrap(),
            ]);
            let directory = mounted.repository(&format!("_layers/sha256/{hex}"));
            fs::create_dir_all(&directory)?;
            replace(&directory.join("link"), &format!("sha256:{hex}"))?;
            if round.is_multiple_of(3) {
                fs::remove_file(directory.join("link"))?;
                fs::remove_dir(&directory)?;
            }
            Ok(())
        }
    }
}

/// The digest of one of the manifests that were stored first.
fn known(writer: u64, round: u64) -> String {
    let document = manifest(&format!("first {}", (writer * 7 + round) % TAGS));
    format!("sha256:{}", hex(document.as_bytes()))
}

/// Reads one link; it is whole, and names a manifest that is there.
fn read(mounted: &Mounted, at: u64) {
    let link = mounted.repository(&format!("_manifests/tags/t{}/current/link", at % TAGS));
    let content = fs::read(&link).unwrap();
    let text = String::from_utf8(content).unwrap();
    assert!(text.len() == 71 && text.starts_with("sha256:"), "{text:?}");
    let revision = text.replace(':', "/");
    let path = mounted.repository(&format!("_manifests/revisions/{revision}/link"));
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        text,
        "{}",
        path.display()
    );
    let hex = &text[7..];
    let blob = mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
    assert_eq!(super::mounted::hex(&fs::read(blob).unwrap()), hex);
}

/// Reads every layer link that is there; each is whole, or has just gone.
fn read_layers(mounted: &Mounted) {
    let Ok(rows) = fs::read_dir(mounted.repository("_layers/sha256")) else {
        return;
    };
    for row in rows {
        let path: PathBuf = row.unwrap().path();
        match fs::read_to_string(path.join("link")) {
            Ok(text) => {
                let hex = path.file_name().unwrap().to_str().unwrap();
                assert_eq!(text, format!("sha256:{hex}"));
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
        }
    }
}

#[test]
fn in_a_storm_every_link_is_whole_and_memory_stays_flat() {
    let mounted = Mounted::new();
    mounted.stock();
    for number in 0..TAGS {
        let tag = mounted.repository(&format!("_manifests/tags/t{number}"));
        fs::write(&tag, manifest(&format!("first {number}"))).unwrap();
    }
    let pid = mounted.pid();
    let (ended, writes, reads) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut memories = Vec::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (mounted, ended, writes) = (&mounted, &ended, &writes);
            scope.spawn(move || {
                for round in 0.. {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let written = write(mounted, writer, round);
                    assert!(
                        written.is_ok(),
                        "writer {writer}, round {round}: {written:?}"
                    );
                    writes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for reader in 0..READERS {
            let (mounted, ended, reads) = (&mounted, &ended, &reads);
            scope.spawn(move || {
                for round in 0.. {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    read(mounted, reader + round);
                    if round % 50 == 0 {
                        read_layers(mounted);
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < duration() {
            memories.push(memory(pid));
            std::thread::park_timeout(Duration::from_millis(250));
        }
        ended.store(true, Ordering::Relaxed);
    });
    let (first, second) = memories.split_at(memories.len() / 2);
    let (before, after) = (first.iter().max().unwrap(), second.iter().max().unwrap());
    println!(
        "{} writes, {} reads; at most {before} KiB in the first half, {after} KiB in the second",
        writes.load(Ordering::Relaxed),
        reads.load(Ordering::Relaxed)
    );
    assert!(
        *after < before * 3 / 2 + 50_000,
        "memory grows: {memories:?}"
    );
    assert!(writes.load(Ordering::Relaxed) > 100 && reads.load(Ordering::Relaxed) > 100);
}
