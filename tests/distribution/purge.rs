//! Upload purging: a registry's own removal of uploads that were never finished.

use std::fs;
use std::time::{Duration, Instant};

use super::http;
use super::registry::{Registry, Setup, Version};
use super::root::{Root, wait};

/// A registry purges first after a random number of minutes, which it logs: it is started until
/// that number is none. Up to 2.8 the number depends on the second of the start.
fn start_purging(version: Version, root: &Root) -> Registry {
    let deadline = Instant::now() + Duration::from_mins(10);
    let setup = Setup {
        purge: true,
        ..Setup::default()
    };
    loop {
        let registry = Registry::start(version, &root.path(), &setup);
        wait("the purge to be announced", || {
            registry.log().contains("Starting upload purge in")
        });
        if registry.log().contains("Starting upload purge in 0s") {
            return registry;
        }
        assert!(Instant::now() < deadline, "no start was ever at once");
    }
}

fn purges(version: Version) {
    let root = Root::mounted();
    let repository = root.path().join("docker/registry/v2/repositories/team/app");
    let registry = Registry::start(version, &root.path(), &Setup::default());
    for _ in 0..2 {
        let started = http::request(
            registry.port,
            "POST",
            "/v2/team/app/blobs/uploads/",
            &[],
            b"",
        );
        assert_eq!(started.unwrap().status, 202);
    }
    drop(registry);
    let uploads: Vec<_> = fs::read_dir(repository.join("_uploads")).unwrap().collect();
    let old = uploads[0].as_ref().unwrap().path();
    fs::write(old.join("startedat"), "2020-01-01T00:00:00Z").unwrap();
    // The rest of a cancelled upload, as distribution leaves it: never purged.
    let ghost = repository.join("_uploads/01890a5d-ac96-774b-bcce-b302099a8057");
    fs::create_dir_all(ghost.join("hashstates/sha256")).unwrap();
    let young = uploads[1].as_ref().unwrap().path();
    fs::write(young.join("startedat"), "2099-01-01T00:00:00Z").unwrap();
    let registry = start_purging(version, &root);
    wait("the old upload to be purged", || !old.exists());
    drop(registry);
    assert!(young.join("data").exists() && ghost.exists());
    assert_eq!(
        fs::read_dir(repository.join("_uploads")).unwrap().count(),
        2
    );
}

#[test]
fn distribution_3_1_purges_old_uploads_and_no_others() {
    purges(Version::V3_1);
}

#[test]
fn distribution_2_8_purges_old_uploads_and_no_others() {
    purges(Version::V2_8);
}
