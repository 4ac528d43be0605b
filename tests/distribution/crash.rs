//! Crashes: the daemon is killed during pushes. Everything acknowledged to a client is there
//! afterwards, and nothing incomplete is visible.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use super::clients::run;
use super::http;
use super::image::{self, MANIFEST, digest};
use super::registry::{Registry, Setup, Version};
use super::root::{Root, wait};
use super::store::must_be_clean;

/// Pushes at once.
pub(crate) const PUSHERS: u64 = 4;
/// Rounds, unless the environment says how many.
const ROUNDS: u64 = 5;

/// Lengths of layers, in bytes: each is made durable in its own way.
const LENGTHS: [usize; 3] = [200_000, 30_000, 1_000];

/// What a client was told is stored: a tag and its manifest.
pub(crate) type Told = (String, Vec<u8>);

fn rounds() -> u64 {
    std::env::var("REGFS_CRASH_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap())
}

/// Pushes images until the registry fails; what it confirmed.
pub(crate) fn push(port: u16, pusher: u64, round: u64, told: &Mutex<Vec<Told>>) {
    for number in 0.. {
        let seed = round * 1_000_000 + pusher * 10_000 + number;
        let len = LENGTHS[usize::try_from(number).unwrap() % LENGTHS.len()];
        let layer = image::layer(seed, len);
        let config = format!(r#"{{"architecture":"amd64","os":"linux","seed":{seed}}}"#);
        let repository = format!("team/app{pusher}");
        for blob in [&layer[..], config.as_bytes()] {
            let start = format!("/v2/{repository}/blobs/uploads/");
            let Some(answer) = http::request(port, "POST", &start, &[], b"") else {
                return;
            };
            let Some(location) = answer.header("Location") else {
                return;
            };
            let (_, path) = location.split_once("/v2/").unwrap();
            let path = format!("/v2/{path}&digest={}", digest(blob));
            let stored = http::request(port, "PUT", &path, &[], blob);
            if stored.is_none_or(|answer| answer.status != 201) {
                return;
            }
        }
        let manifest = image::manifest(MANIFEST, config.as_bytes(), &[&layer]);
        let tag = format!("r{round}n{number}");
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = http::request(port, "PUT", &path, &[("Content-Type", MANIFEST)], &manifest);
        if answer.is_none_or(|answer| answer.status != 201) {
            return;
        }
        told.lock().unwrap().push((path, manifest));
    }
}

/// Every link is whole, every blob is what its name says.
pub(crate) fn check_tree(directory: &Path) {
    for row in fs::read_dir(directory).unwrap() {
        let path = row.unwrap().path();
        if path.is_dir() {
            check_tree(&path);
            continue;
        }
        let content = fs::read(&path).unwrap();
        match path.file_name().unwrap().to_str().unwrap() {
            "link" => {
                let link = String::from_utf8(content).unwrap();
                assert!(
                    link.len() == 71 && link.starts_with("sha256:"),
                    "{}",
                    path.display()
                );
                if path.to_str().unwrap().contains("_manifests") {
                    let hex = &link[7..];
                    let root = path.ancestors().find(|one| one.ends_with("v2")).unwrap();
                    let blob = root
                        .join("blobs/sha256")
                        .join(&hex[..2])
                        .join(hex)
                        .join("data");
                    assert!(blob.exists(), "{} names {link}", path.display());
                }
            }
            "data" if path.components().any(|one| one.as_os_str() == "blobs") => {
                let hex = path
                    .parent()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap();
                assert_eq!(digest(&content), format!("sha256:{hex}"));
            }
            _ => {}
        }
    }
}

pub(crate) fn check_told(port: u16, told: &[Told]) {
    for (path, manifest) in told {
        let answer = http::request(port, "GET", path, &[("Accept", MANIFEST)], b"").unwrap();
        assert_eq!((answer.status, &answer.body), (200, manifest), "{path}");
        let text = String::from_utf8_lossy(manifest);
        let (repository, _) = path.split_once("/manifests/").unwrap();
        for digest in text.split('"').filter(|word| word.starts_with("sha256:")) {
            let path = format!("{repository}/blobs/{digest}");
            let blob = http::request(port, "GET", &path, &[], b"").unwrap();
            assert_eq!(image::digest(&blob.body), digest, "{path}");
        }
    }
}

fn crash(version: Version) {
    let mut root = Root::mounted();
    let mut all = Vec::new();
    for round in 0..rounds() {
        let told = Mutex::new(Vec::new());
        let registry = Registry::start(version, &root.path(), &Setup::default());
        std::thread::scope(|scope| {
            for pusher in 0..PUSHERS {
                let (port, told) = (registry.port, &told);
                scope.spawn(move || push(port, pusher, round, told));
            }
            // A random time before the kill; this waits for no event.
            std::thread::park_timeout(Duration::from_millis(300 + round * 137 % 700));
            root.kill();
        });
        drop(registry);
        root.mount();
        must_be_clean(&root.store());
        check_tree(&root.path().join("docker/registry/v2"));
        let registry = Registry::start(version, &root.path(), &Setup::default());
        let told = told.into_inner().unwrap();
        check_told(registry.port, &told);
        all.extend(told);
        check_told(registry.port, &all[all.len().saturating_sub(40)..]);
    }
    println!(
        "{version:?}: {} rounds, {} images confirmed, all there",
        rounds(),
        all.len()
    );
    assert!(!all.is_empty(), "nothing was ever confirmed");
}

#[test]
fn what_registry_2_8_confirmed_survives_a_killed_daemon() {
    crash(Version::V2_8);
}

/// What a registry confirmed survives the killing of the daemon.
#[test]
fn what_registry_3_1_confirmed_survives_a_killed_daemon() {
    crash(Version::V3_1);
}

/// What is done to a daemon in the middle of pushes, other than to kill it.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Stopped for a while, as by a debugger or a laptop's lid.
    Stopped,
    /// Asked to unmount while it is used, and then unmounted lazily.
    Unmounted,
}

fn signal(root: &Root, name: &str) {
    let mut kill = Command::new("kill");
    run(kill.arg(format!("-{name}")).arg(root.pid().to_string()));
}

/// Troubles a daemon in the middle of pushes; what was confirmed is there afterwards.
fn trouble(trouble: Trouble) {
    let mut root = Root::mounted();
    let told = Mutex::new(Vec::new());
    let mut registry = Registry::start(Version::V3_1, &root.path(), &Setup::default());
    let port = registry.port;
    let mut before = Vec::new();
    let confirmed = |count: usize| {
        wait("confirmed images", || told.lock().unwrap().len() >= count);
    };
    std::thread::scope(|scope| {
        for pusher in 0..PUSHERS {
            let told = &told;
            scope.spawn(move || push(port, pusher, 0, told));
        }
        confirmed(4);
        match trouble {
            Trouble::Stopped => {
                signal(&root, "STOP");
                std::thread::park_timeout(Duration::from_millis(500));
                signal(&root, "CONT");
                let so_far = told.lock().unwrap().len();
                confirmed(so_far + 4);
            }
            Trouble::Unmounted => {
                let busy = Command::new("umount").arg(root.path()).output().unwrap();
                assert!(!busy.status.success(), "a mount in use went away");
                // Pushes acknowledged from here on may be in the directory below the mount.
                before.extend(told.lock().unwrap().iter().cloned());
                run(Command::new("umount").arg("-l").arg(root.path()));
            }
        }
        // Without a registry the pushers end.
        registry.stop();
    });
    drop(registry);
    match trouble {
        Trouble::Stopped => root.kill_and_unmount(),
        Trouble::Unmounted => root.ended(),
    }
    root.mount();
    let registry = Registry::start(Version::V3_1, &root.path(), &Setup::default());
    if let Trouble::Stopped = trouble {
        before = told.into_inner().unwrap();
    }
    check_told(registry.port, &before);
    check_tree(&root.path().join("docker/registry/v2"));
}

#[test]
fn a_daemon_that_was_stopped_goes_on() {
    trouble(Trouble::Stopped);
}

#[test]
fn a_mount_in_use_stays_and_one_unmounted_lazily_ends_with_its_last_user() {
    trouble(Trouble::Unmounted);
}
