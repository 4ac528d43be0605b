//! Round trips: an imported tree is exported byte for byte, however it was transferred and however
//! often.

use std::fs;
use std::os::unix::fs::MetadataExt;

use regfs::digest::{Algorithm, Digest};

use super::plain::{SMALL, layer, manifest, put, put_blob, put_link};
use super::site::{Site, regfs};
use super::store::{fsck, must_be_sound};

/// Everything that a registry's tree may hold besides images.
fn odds_and_ends(site: &Site) {
    let v2 = site.v2();
    let repository = v2.join("repositories/library/app0");
    let upload = repository.join("_uploads/01890a5d-ac96-774b-bcce-b302099a8057");
    put(&upload.join("startedat"), b"2026-11-21T10:00:00Z");
    put(&upload.join("data"), &layer(1, 100_000));
    put(&upload.join("hashstates/sha256/0"), b"sha\x03 state");
    put(&upload.join("hashstates/sha256/100000"), b"sha\x03 other");
    // The remains of a deleted manifest and a deleted layer.
    let gone = Digest::of(Algorithm::Sha256, b"gone").hex();
    for set in [
        "_manifests/revisions",
        "_layers",
        "_manifests/tags/v0/index",
    ] {
        fs::create_dir_all(repository.join(set).join("sha256").join(&gone)).unwrap();
    }
    fs::create_dir_all(v2.join("blobs/sha256/00")).unwrap();
    fs::create_dir_all(v2.join(format!("blobs/sha256/{}/{gone}", &gone[..2]))).unwrap();
    fs::create_dir_all(repository.join("_manifests/tags/empty/current")).unwrap();
    fs::create_dir_all(v2.join("repositories/on/the/way")).unwrap();
    fs::create_dir_all(v2.join("repositories/bare/_layers")).unwrap();
    fs::create_dir_all(v2.join("repositories/Host.example/app/_manifests/tags")).unwrap();
    // A blob pushed with another algorithm, and the signature of an old manifest.
    let bytes = layer(2, 50_000);
    let blob = put_blob(&v2, &bytes);
    let alias = Digest::of(Algorithm::Sha512, &bytes);
    let link = format!("_layers/sha512/{}/link", alias.hex());
    put(&repository.join(link), blob.to_string().as_bytes());
    put_link(&repository.join("_layers"), &blob);
    let signature = put_blob(&v2, b"a signature");
    let revision = put_blob(&v2, &manifest((&blob, bytes.len()), &[], "signed"));
    put_link(&repository.join("_manifests/revisions"), &revision);
    let signatures = format!("_manifests/revisions/sha256/{}/signatures", revision.hex());
    put_link(&repository.join(signatures), &signature);
    // Files beside the layout.
    put(&site.plain().join("scheduler-state.json"), b"{}");
    put(
        &site
            .plain()
            .join("docker/registry/lockfiles/database-in-use"),
        b"{\"version\":1}",
    );
}

/// An imported tree is exported byte for byte.
#[test]
fn what_was_imported_is_exported_byte_for_byte() {
    for (way, back) in [("--hardlink", "--hardlink"), ("--copy", "--copy")] {
        let site = Site::with(&SMALL);
        odds_and_ends(&site);
        let report = site.import(&[way, "--verify"]);
        assert_eq!(report["odd"].as_array().unwrap().len(), 0, "{report:#}");
        assert_eq!(
            (&report["repositories"], &report["tags"]),
            (&8.into(), &31.into())
        );
        assert_eq!(report["revisions"], 31);
        must_be_sound(&site.store());
        let exported = site.export("back", &[back]);
        assert_eq!(exported["missing"], 0);
        assert_eq!(exported["shared"] == 0, back == "--copy", "{exported}");
        site.must_be_the_same("plain", "back");
    }
}

#[test]
fn times_are_kept() {
    let site = Site::with(&SMALL);
    let link = site
        .v2()
        .join("repositories/library/app0/_manifests/tags/v0/current/link");
    let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    fs::File::open(&link).unwrap().set_modified(when).unwrap();
    site.import(&[]);
    site.export("back", &[]);
    let path = "back/docker/registry/v2/repositories/library/app0/_manifests/tags/v0/current/link";
    let written = fs::metadata(site.top().join(path)).unwrap();
    assert_eq!(written.modified().unwrap(), when);
}

/// A second import brings the difference, and a third one nothing.
#[test]
fn a_second_import_brings_the_difference_and_a_third_nothing() {
    let site = Site::with(&SMALL);
    assert!(site.import(&[])["new"].as_u64().unwrap() > 100);
    assert_eq!(site.import(&[])["new"], 0);
    let v2 = site.v2();
    let repository = v2.join("repositories/library/app0");
    let config = Digest::of(Algorithm::Sha256, b"{}");
    put_blob(&v2, b"{}");
    put_link(&repository.join("_layers"), &config);
    let digest = put_blob(&v2, &manifest((&config, 2), &[], "new"));
    put_link(&repository.join("_manifests/revisions"), &digest);
    let tag = repository.join("_manifests/tags/v0");
    put_link(&tag.join("index"), &digest);
    put(&tag.join("current/link"), digest.to_string().as_bytes());
    // Two blobs, two links, an index entry, and the tag that moved.
    assert_eq!(site.import(&[])["new"], 6);
    assert_eq!(site.import(&[])["new"], 0);
    site.export("back", &[]);
    site.must_be_the_same("plain", "back");
    must_be_sound(&site.store());
}

/// An import does not move a tag back that was moved in the store.
#[test]
fn a_tag_that_was_moved_in_the_store_is_not_moved_back() {
    let mut site = Site::with(&SMALL);
    site.import(&[]);
    let mounted = site.mount();
    let tags = "docker/registry/v2/repositories/library/app0/_manifests/tags";
    let other = fs::read_to_string(mounted.join(tags).join("v1/current/link")).unwrap();
    // Times have the precision of a second.
    let old = std::time::SystemTime::now() - std::time::Duration::from_mins(1);
    let plain = site
        .v2()
        .join("repositories/library/app0/_manifests/tags/v0/current/link");
    fs::File::open(plain).unwrap().set_modified(old).unwrap();
    let link = mounted.join(tags).join("v0/current/link");
    fs::write(&link, &other).unwrap();
    site.import(&[]);
    assert_eq!(fs::read_to_string(&link).unwrap(), other);
}

#[test]
fn an_import_into_a_mounted_store_shows_at_once() {
    let mut site = Site::with(&SMALL);
    let mounted = site.mount();
    let repositories = mounted.join("docker/registry/v2/repositories");
    // The kernel has cached that the names do not exist.
    assert_eq!(fs::read_dir(&repositories).unwrap().count(), 0);
    let report = site.import(&[]);
    assert!(report["new"].as_u64().unwrap() > 100);
    assert!(fs::read_dir(&repositories).unwrap().count() > 2);
    let same = |name: &str| {
        let shown = super::store::listing(&mounted.join("docker/registry/v2").join(name));
        assert_eq!(shown, super::store::listing(&site.v2().join(name)));
    };
    same("repositories");
    same("blobs");
    site.export("back", &[]);
    site.must_be_the_same("plain", "back");
    let inside = regfs()
        .arg("export")
        .arg(site.store())
        .arg(mounted.join("back"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&inside.stderr).into_owned();
    assert!(text.contains("below the store's own mount"), "{text}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let site = Site::with(&SMALL);
    let report = site.import(&["--dry-run"]);
    assert_eq!(
        (&report["dry_run"], &report["tags"]),
        (&true.into(), &30.into())
    );
    assert!(!site.store().exists());
}

#[test]
fn blobs_may_be_shared_or_moved() {
    let site = Site::with(&SMALL);
    let blob = |number| Digest::of(Algorithm::Sha256, &layer(number, SMALL.layer_bytes));
    let plain = |number| {
        site.v2()
            .join(super::plain::blob(&blob(number)))
            .join("data")
    };
    let stored = |number| {
        let hex = blob(number).hex();
        site.store()
            .join(format!("blobs/sha256/{}/{hex}", &hex[..2]))
    };
    site.import(&[]);
    let inode = |path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(plain(0)), inode(stored(0)));
    fs::remove_dir_all(site.store()).unwrap();
    site.import(&["--move"]);
    assert!(!plain(0).exists() && stored(0).exists());
    let (code, _) = fsck(&site.store());
    assert_eq!(code, 0);
}

#[test]
fn what_is_no_registry_is_refused() {
    let site = Site::with(&SMALL);
    fs::create_dir(site.top().join("nothing")).unwrap();
    let text = site.refused(&["import", "nothing", "store"]);
    assert!(text.contains("neither blobs nor repositories"), "{text}");
    assert!(!site.store().exists(), "a store was made for nothing");
    let text = site.refused(&["fsck", "nothing"]);
    assert!(text.contains("is not a store"), "{text}");
    site.import(&[]);
    let text = site.refused(&["export", "store", "plain"]);
    assert!(text.contains("is not empty"), "{text}");
}
