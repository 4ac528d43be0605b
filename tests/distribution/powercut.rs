//! Power cuts: the filesystem below the store is shut down during pushes and cp. Afterwards
//! everything acknowledged or fsynced is there, and nothing incomplete is visible.

use std::fs::{self, File};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::crash::{PUSHERS, Told, check_told, check_tree, push};
use super::disk::Disk;
use super::image::digest;
use super::registry::{Registry, Setup, Version};
use super::root::Root;
use super::store::must_be_clean;

/// Rounds, unless the environment says how many.
const ROUNDS: u64 = 3;
/// Rounds after which a disk is replaced by an empty one.
const ROUNDS_OF_A_DISK: u64 = 10;

fn rounds() -> u64 {
    std::env::var("REGFS_POWERCUT_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap())
}

/// What was fsynced: a tag, and the digest that it is at.
type Dropped = (String, String);

/// A repository in which manifests can be dropped.
fn prepare(v2: &Path) {
    let repository = v2.join("repositories/by/hand");
    fs::create_dir_all(repository.join("_layers")).unwrap();
    fs::create_dir_all(repository.join("_manifests/tags")).unwrap();
    let mut config = File::create(repository.join("_layers/config")).unwrap();
    config.write_all(b"{}").unwrap();
    config.sync_all().unwrap();
}

/// Drops manifests until the disk is gone; those whose fsync succeeded.
fn drop_manifests(v2: &Path, round: u64, dropped: &Mutex<Vec<Dropped>>) {
    for number in 0.. {
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"a/b","digest":"{}","size":2}},"layers":[],"annotations":{{"n":"{round} {number}"}}}}"#,
            digest(b"{}")
        );
        let tag = format!("r{round}n{number}");
        let path = v2.join("repositories/by/hand/_manifests/tags").join(&tag);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(manifest.as_bytes())?;
            file.sync_all()
        });
        if written.is_err() {
            return;
        }
        dropped
            .lock()
            .unwrap()
            .push((tag, digest(manifest.as_bytes())));
    }
}

fn check_dropped(v2: &Path, dropped: &[Dropped]) {
    for (tag, digest) in dropped {
        let path = v2.join("repositories/by/hand/_manifests/tags").join(tag);
        let link = fs::read_to_string(path.join("current/link")).unwrap_or_default();
        assert_eq!(link, *digest, "{tag}");
    }
}

/// Everything that was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    told: Vec<Told>,
    dropped: Vec<Dropped>,
}

/// One round: load, cut, restart, check.
fn round(
    disk: &Disk,
    version: Version,
    options: &'static str,
    number: u64,
    all: &mut Acknowledged,
) {
    let mut root = Root::of_store(&disk.path().join("store"), options);
    let v2 = root.path().join("docker/registry/v2");
    prepare(&v2);
    let (told, dropped) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let registry = Registry::start(version, &root.path(), &Setup::default());
    std::thread::scope(|scope| {
        for pusher in 0..PUSHERS {
            let (port, told) = (registry.port, &told);
            scope.spawn(move || push(port, pusher, number, told));
        }
        scope.spawn(|| drop_manifests(&v2, number, &dropped));
        // A random time before the cut; this waits for no event.
        std::thread::park_timeout(Duration::from_millis(200 + number * 97 % 500));
        disk.cut();
    });
    drop(registry);
    root.kill_and_unmount();
    disk.restart();
    root.mount();
    let registry = Registry::start(version, &root.path(), &Setup::default());
    let (told, dropped) = (told.into_inner().unwrap(), dropped.into_inner().unwrap());
    check_told(registry.port, &told);
    check_dropped(&v2, &dropped);
    all.told.extend(told);
    all.dropped.extend(dropped);
    check_told(
        registry.port,
        &all.told[all.told.len().saturating_sub(20)..],
    );
    check_dropped(&v2, &all.dropped);
    drop(registry);
    check_tree(&v2);
    must_be_clean(&disk.path().join("store"));
}

fn cuts(kind: &str) {
    let mut disk = Disk::new(kind, 600);
    let (mut all, mut images, mut drops) = (Acknowledged::default(), 0, 0);
    for number in 0..rounds() {
        let version = [Version::V2_8, Version::V3_1][usize::try_from(number % 2).unwrap()];
        round(&disk, version, "rw", number, &mut all);
        if (number + 1) % ROUNDS_OF_A_DISK == 0 || number + 1 == rounds() {
            (images, drops) = (images + all.told.len(), drops + all.dropped.len());
            all = Acknowledged::default();
            disk = Disk::new(kind, 600);
        }
    }
    println!(
        "{kind}: {} power cuts, {images} images and {drops} dropped manifests acknowledged, all there",
        rounds()
    );
    assert!(images > 0 && drops > 0, "nothing was ever acknowledged");
}

/// What a registry confirmed survives a power cut.
#[test]
fn what_was_acknowledged_survives_power_cuts_on_ext4() {
    cuts("ext4");
}

#[test]
fn what_was_acknowledged_survives_power_cuts_on_xfs() {
    cuts("xfs");
}

#[test]
fn the_same_check_catches_a_store_that_does_not_sync() {
    let caught = (0..10).any(|number| {
        let disk = Disk::new("ext4", 600);
        let mut all = Acknowledged::default();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            round(&disk, Version::V3_1, "sync=lazy", number, &mut all);
        }));
        checked.is_err()
    });
    assert!(
        caught,
        "ten power cuts without any fsync, and nothing was missed"
    );
}
