//! Backups: consistent, incremental, complete after an interruption, and usable as stores.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::plain::{SMALL, layer, manifest, put};
use super::site::{Site, json, regfs};
use super::store::{must_be_clean, must_be_sound};

fn back_up(site: &Site) -> Value {
    let target = site.top().join("backup");
    let mut command = regfs();
    command
        .args(["backup", "--json"])
        .arg(site.store())
        .arg(target);
    json(&command.output().unwrap())
}

fn restore(site: &Site, store: &str) {
    let mut command = regfs();
    command.arg("restore").arg(site.top().join("backup"));
    let output = command.arg(site.top().join(store)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Exports a store beside the site's own.
fn export(site: &Site, store: &str, target: &str) {
    let mut command = regfs();
    command.arg("export").arg(site.top().join(store));
    let output = command.arg(site.top().join(target)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A backup is restored to the same content, and a second backup copies only what is new.
#[test]
fn a_backup_is_restored_to_the_same_and_brings_only_what_is_new() {
    let site = Site::with(&SMALL);
    put(&site.plain().join("scheduler-state.json"), b"{}");
    site.import(&[]);
    let first = back_up(&site);
    assert_eq!((&first["blobs"], &first["new"]), (&12.into(), &12.into()));
    let again = back_up(&site);
    assert_eq!((&again["blobs"], &again["new"]), (&12.into(), &0.into()));
    restore(&site, "restored");
    export(&site, "restored", "back");
    site.must_be_the_same("plain", "back");
    must_be_clean(&site.top().join("restored"));
    // A backup is a store that can be inspected; it stays a backup.
    must_be_clean(&site.top().join("backup"));
    assert_eq!(back_up(&site)["new"], 0);
    fs::create_dir(site.top().join("mnt")).unwrap();
    let text = site.refused(&["mount", "backup", "mnt"]);
    assert!(text.contains("is a backup: mount it with -o ro"), "{text}");
}

/// Ends the storm with whoever holds it.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Drops images until told to stop; each is named by all that it needs.
fn storm(v2: &Path, pusher: usize, stop: &AtomicBool) -> usize {
    let repository = v2.join(format!("repositories/storm/app{pusher}"));
    fs::create_dir_all(repository.join("_layers")).unwrap();
    fs::create_dir_all(repository.join("_manifests/tags")).unwrap();
    let mut images = 0;
    // If one thread fails, all end.
    let ends = Ends(stop);
    while !stop.load(Ordering::Relaxed) {
        let bytes = layer(1_000_000 * (pusher + 1) + images, 40_000);
        put(&repository.join("_layers/layer"), &bytes);
        put(&repository.join("_layers/config"), b"{}");
        let digest =
            |bytes: &[u8]| regfs::digest::Digest::of(regfs::digest::Algorithm::Sha256, bytes);
        let layers = [(digest(&bytes), bytes.len())];
        let image = manifest((&digest(b"{}"), 2), &layers, &format!("{pusher} {images}"));
        put(
            &repository.join(format!("_manifests/tags/t{images}")),
            &image,
        );
        images += 1;
        // Some are removed while they are copied.
        if images % 5 == 0 {
            let old = images - 5;
            let tag = repository.join(format!("_manifests/tags/t{old}"));
            let link = fs::read_to_string(tag.join("current/link")).unwrap();
            fs::remove_dir_all(&tag).unwrap();
            fs::remove_dir_all(
                repository
                    .join("_manifests/revisions/sha256")
                    .join(&link[7..]),
            )
            .unwrap();
            let layer = digest(&layer(1_000_000 * (pusher + 1) + old, 40_000));
            fs::remove_dir_all(repository.join("_layers/sha256").join(layer.hex())).unwrap();
            fs::remove_file(v2.join(super::plain::blob(&layer)).join("data")).unwrap();
        }
    }
    drop(ends);
    images
}

/// A backup during pushes is consistent: it holds every blob that its facts name.
#[test]
fn a_backup_in_the_middle_of_a_storm_is_consistent() {
    let mut site = Site::with(&SMALL);
    site.import(&[]);
    // Without a trash, removed blobs are kept for running backups only.
    let v2 = site.mount_with("trash=0").join("docker/registry/v2");
    let stop = AtomicBool::new(false);
    let (backups, pushed) = std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..4)
            .map(|pusher| {
                let (v2, stop) = (&v2, &stop);
                scope.spawn(move || storm(v2, pusher, stop))
            })
            .collect();
        let (mut backups, ends) = (0, Ends(&stop));
        for round in 0..4 {
            // With pauses, so that the storm is in another state each time.
            std::thread::park_timeout(std::time::Duration::from_millis(150));
            // A snapshot of the store at a random time.
            must_be_clean(&site.store());
            let told = back_up(&site);
            assert_eq!(told["missing"], 0, "{told}");
            backups += 1;
            let restored = format!("restored{round}");
            restore(&site, &restored);
            // Every tagged image in it is complete.
            must_be_clean(&site.top().join(&restored));
            let scrubbed = regfs()
                .arg("scrub")
                .arg(site.top().join(&restored))
                .output()
                .unwrap();
            assert!(scrubbed.status.success(), "{scrubbed:?}");
        }
        drop(ends);
        let pushed: usize = pushers.into_iter().map(|one| one.join().unwrap()).sum();
        (backups, pushed)
    });
    println!("{backups} backups while {pushed} images were pushed");
    assert!(pushed > 20);
    must_be_sound(&site.store());
    let trash = fs::read_dir(site.store().join("trash")).unwrap().count();
    assert_eq!(trash, 0, "what was kept for the backups has stayed");
}

#[test]
fn a_backup_that_was_killed_leaves_the_one_before() {
    let site = Site::with(&SMALL);
    site.import(&[]);
    back_up(&site);
    for number in 0..200 {
        super::plain::put_blob(&site.v2(), &layer(7_000 + number, 60_000));
    }
    site.import(&[]);
    for kill in 1..6 {
        let mut command = regfs();
        command.arg("backup").arg(site.store());
        let mut backup = command.arg(site.top().join("backup")).spawn().unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(4 * kill));
        backup.kill().unwrap();
        backup.wait().unwrap();
        let restored = format!("restored{kill}");
        restore(&site, &restored);
        must_be_clean(&site.top().join(restored));
    }
    assert_eq!(back_up(&site)["blobs"], 212);
}

#[test]
fn only_a_backup_is_restored_and_only_an_own_place_is_backed_up_into() {
    let site = Site::with(&SMALL);
    site.import(&[]);
    let text = site.refused(&["backup", "store", "plain"]);
    assert!(text.contains("neither empty nor a backup"), "{text}");
    let text = site.refused(&["restore", "store", "other"]);
    assert!(text.contains("holds no backup"), "{text}");
    back_up(&site);
    let text = site.refused(&["restore", "backup", "store"]);
    assert!(text.contains("is not empty"), "{text}");
    let refs = fs::read_dir(site.plain()).unwrap().count();
    assert_eq!(refs, 1, "a refused backup left something behind");
}

#[test]
fn a_backup_into_which_somebody_looked_who_was_killed_is_restored() {
    let site = Site::with(&SMALL);
    site.import(&[]);
    back_up(&site);
    let mountpoint = site.top().join("looked");
    fs::create_dir(&mountpoint).unwrap();
    let mut command = regfs();
    command.arg("mount").arg(site.top().join("backup"));
    command.arg(&mountpoint).args(["-o", "ro", "--foreground"]);
    let mut mount = command.spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while fs::read_dir(&mountpoint).unwrap().next().is_none() {
        assert!(std::time::Instant::now() < deadline, "it is not mounted");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    mount.kill().unwrap();
    mount.wait().unwrap();
    let mut umount = std::process::Command::new("umount");
    assert!(
        umount
            .arg("-l")
            .arg(&mountpoint)
            .status()
            .unwrap()
            .success()
    );
    restore(&site, "restored");
    must_be_clean(&site.top().join("restored"));
}

/// Runs a backup of the site's store; its exit code, and what it said as JSON.
fn told(site: &Site) -> (i32, Value) {
    let mut command = regfs();
    command.args(["backup", "--json"]).arg(site.store());
    let output = command.arg(site.top().join("backup")).output().unwrap();
    let code = output.status.code().unwrap();
    (code, serde_json::from_slice(&output.stdout).unwrap())
}

fn in_words(site: &Site) -> String {
    let mut command = regfs();
    command.arg("backup").arg(site.store());
    let output = command.arg(site.top().join("backup")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Files of blobs in the store.
fn stored(site: &Site) -> Vec<std::path::PathBuf> {
    let shards = fs::read_dir(site.store().join("blobs/sha256")).unwrap();
    let files = shards.flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_backup_of_a_damaged_store_says_so() {
    let site = Site::with(&SMALL);
    site.import(&[]);
    assert_eq!(told(&site).0, 0);
    fs::remove_file(&stored(&site)[0]).unwrap();
    fs::remove_dir_all(site.top().join("backup")).unwrap();
    let (code, answer) = told(&site);
    assert_eq!((code, &answer["missing"]), (5, &1.into()), "{answer:#}");
    assert_eq!(answer["faults"]["blob-missing"], 1, "{answer:#}");
    let text = in_words(&site);
    assert!(text.contains("THE STORE IS DAMAGED"), "{text}");
}

#[test]
fn needed_blobs_in_the_trash_are_a_warning_and_fsck_names_the_way_back() {
    let mut site = Site::with(&SMALL);
    site.import(&[]);
    let file = stored(&site)[0].clone();
    let hex = file.file_name().unwrap().to_str().unwrap().to_owned();
    let path = site.mount_with("delete=permissive");
    let data = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    fs::remove_file(path.join(data)).unwrap();
    site.unmount();
    let (code, answer) = told(&site);
    assert_eq!(code, 0, "{answer:#}");
    assert!(
        answer["in_trash"]["missing-reference"].as_u64() > Some(0),
        "{answer:#}"
    );
    let text = in_words(&site);
    assert!(
        text.contains("warning") && text.contains("regfs undelete"),
        "{text}"
    );
    let checked = regfs().arg("fsck").arg(site.store()).output().unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    let undelete = format!("regfs undelete STORE sha256:{hex}");
    assert!(text.contains(&undelete), "{text}");
    let digest = format!("sha256:{hex}");
    let mut undelete = regfs();
    undelete.arg("undelete").arg(site.store()).arg(digest);
    assert!(undelete.status().unwrap().success());
    must_be_clean(&site.store());
    // It was missing from the store only, so the next backup is complete again.
    let (code, answer) = told(&site);
    assert_eq!((code, &answer["in_trash"]), (0, &serde_json::json!({})));
}

#[test]
fn nothing_is_backed_up_or_exported_into_the_store_itself_or_a_mount_of_it() {
    let mut site = Site::with(&SMALL);
    site.import(&[]);
    let bound = site.top().join("bound");
    fs::create_dir(&bound).unwrap();
    let mount = |words: &[&str], at: &Path| {
        let mut command = std::process::Command::new("mount");
        assert!(command.args(words).arg(at).status().unwrap().success());
    };
    let blobs = site.store().join("blobs").display().to_string();
    mount(&["--bind", &blobs], &bound);
    std::os::unix::fs::symlink("store/blobs", site.top().join("link")).unwrap();
    let before = super::store::listing(&site.store());
    let refused = |site: &Site, target: &str| {
        for word in ["backup", "export"] {
            let text = site.refused(&[word, "store", target]);
            assert!(
                text.contains("lies below the store"),
                "{word} {target}: {text}"
            );
        }
    };
    for target in ["store", "store/new", "link/new", "bound/new", "bound"] {
        refused(&site, target);
    }
    assert!(
        before == super::store::listing(&site.store()),
        "something was written"
    );
    let status = std::process::Command::new("umount").arg(&bound).status();
    assert!(status.unwrap().success());
    let mounted = site.mount();
    mount(&["--bind", &mounted.display().to_string()], &bound);
    for target in ["mnt", "mnt/new", "bound/new", "store/new"] {
        refused(&site, target);
    }
    assert!(!mounted.join("new").exists());
    let status = std::process::Command::new("umount").arg(&bound).status();
    assert!(status.unwrap().success());
    site.unmount();
    back_up(&site);
    let text = site.refused(&["restore", "backup", "backup/store"]);
    assert!(text.contains("lies below"), "{text}");
}
