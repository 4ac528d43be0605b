//! A repository with 100,000 tags: listed correctly while tags are added, with little memory.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::http;
use super::image::{self, MANIFEST};
use super::registry::{Registry, Setup, Version};
use super::root::Root;

const TAGS: usize = 100_000;
const WRITERS: usize = 8;
const MEMORY_KIB_MAX: u64 = 300 << 10;

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_hundred_thousand_tags_are_listed_while_more_are_added() {
    let root = Root::mounted();
    let repository = root.path().join("docker/registry/v2/repositories/big/one");
    let tags = repository.join("_manifests/tags");
    fs::create_dir_all(&tags).unwrap();
    fs::create_dir_all(repository.join("_layers")).unwrap();
    fs::write(repository.join("_layers/config"), "{}").unwrap();
    let manifest = image::manifest(MANIFEST, b"{}", &[]);
    let digest = image::digest(&manifest);
    fs::write(tags.join("first"), &manifest).unwrap();
    // As a registry writes them; a listing needs only the current link.
    let (tags, digest) = (&tags, &digest);
    let tag = move |number: usize| {
        let current = tags.join(format!("t{number:06}")).join("current");
        fs::create_dir_all(&current).unwrap();
        fs::write(current.join("link"), digest).unwrap();
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || (writer..TAGS).step_by(WRITERS).for_each(tag));
        }
    });
    let adding = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = TAGS;
            while adding.load(Ordering::Relaxed) {
                tag(number);
                number += 1;
            }
        });
        for _ in 0..3 {
            let names: Vec<String> = fs::read_dir(tags)
                .unwrap()
                .map(|row| row.unwrap().file_name().into_string().unwrap())
                .collect();
            let distinct: BTreeSet<&String> = names.iter().collect();
            assert_eq!(distinct.len(), names.len(), "a tag was listed twice");
            assert!(names.is_sorted());
            assert!((0..TAGS).all(|number| distinct.contains(&format!("t{number:06}"))));
        }
        adding.store(false, Ordering::Relaxed);
    });
    let count = fs::read_dir(tags).unwrap().count();
    let registry = Registry::start(Version::V2_8, &root.path(), &Setup::default());
    let answer = http::request(registry.port, "GET", "/v2/big/one/tags/list", &[], b"").unwrap();
    let listed = String::from_utf8(answer.body)
        .unwrap()
        .matches("\"t")
        .count()
        - 1;
    assert_eq!((answer.status, listed + 1), (200, count));
    let memory = resident(root.pid());
    println!("{count} tags listed; the daemon holds {} MiB", memory >> 10);
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
}
