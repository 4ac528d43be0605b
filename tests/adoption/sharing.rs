//! Who can change a blob after an import or an export: only the owner of the store, unless the
//! caller allows more; and nothing large is copied or shared unless the output says so.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Output;

use regfs::digest::{Algorithm, Digest};

use super::plain::{SMALL, blob, layer};
use super::site::{Site, regfs};
use super::small_disk::SmallDisk;
use super::store::must_be_clean;

/// Another ordinary user.
const NOBODY: u32 = 65534;

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, &layer(0, SMALL.layer_bytes))
}

/// The file of a layer in the plain tree.
fn plain_file(site: &Site) -> PathBuf {
    site.v2().join(blob(&digest())).join("data")
}

/// The file of the same layer in a store.
fn stored_file(store: &Path) -> PathBuf {
    let hex = digest().hex();
    store.join(format!("blobs/sha256/{}/{hex}", &hex[..2]))
}

fn import_into(site: &Site, store: &Path, words: &[&str]) -> Output {
    let mut command = regfs();
    command
        .arg("import")
        .args(words)
        .arg(site.plain())
        .arg(store);
    command.output().unwrap()
}

/// Fails unless an import was refused by a check, and took nothing; what it said.
fn must_be_refused(output: &Output, store: &Path) -> String {
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.contains("nothing was imported"), "{text}");
    assert!(!stored_file(store).exists(), "a blob was taken: {text}");
    let listed = regfs().arg("ls").arg(store).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(!listed.contains("app"), "facts were taken: {listed}");
    text
}

/// Writes into a file in place, as its owner can.
fn overwrite(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"EVIL", 0).unwrap();
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn who_owns_the_old_tree_cannot_change_a_blob_of_the_store() {
    let site = Site::with(&SMALL);
    chown(plain_file(&site), Some(NOBODY), None).unwrap();
    let text = must_be_refused(&import_into(&site, &site.store(), &[]), &site.store());
    for word in [
        "--hardlink",
        "--copy",
        "--move",
        "20000 bytes",
        "belongs to user 65534",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    site.import(&["--copy"]);
    overwrite(&plain_file(&site));
    must_be_clean(&site.store());
    let scrubbed = regfs()
        .args(["scrub", "--age", "0s"])
        .arg(site.store())
        .output();
    assert!(scrubbed.unwrap().status.success());
}

#[test]
fn a_mounted_store_refuses_the_same_with_the_same_code() {
    let mut site = Site::with(&SMALL);
    chown(plain_file(&site), Some(NOBODY), None).unwrap();
    site.mount();
    must_be_refused(&import_into(&site, &site.store(), &[]), &site.store());
    site.import(&["--hardlink"]);
    assert_eq!(
        inode(&plain_file(&site)),
        inode(&stored_file(&site.store()))
    );
}

#[test]
fn a_file_that_a_group_or_an_access_control_list_names_is_not_shared_unasked() {
    let site = Site::with(&SMALL);
    let file = plain_file(&site);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    let text = must_be_refused(&import_into(&site, &site.store(), &[]), &site.store());
    assert!(text.contains("mode is 664"), "{text}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    // Version 2; owner rw-, user 65534 r--, group r--, mask r--, others r--.
    let entries: [(u16, u16, u32); 5] = [
        (1, 6, u32::MAX),
        (2, 4, NOBODY),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 4, u32::MAX),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let name = "system.posix_acl_access";
    rustix::fs::setxattr(&file, name, &list, rustix::fs::XattrFlags::empty()).unwrap();
    let text = must_be_refused(&import_into(&site, &site.store(), &[]), &site.store());
    assert!(text.contains("access control list"), "{text}");
}

#[test]
fn what_nobody_else_can_write_is_shared_and_left_as_it_is() {
    let site = Site::with(&SMALL);
    let before = fs::metadata(plain_file(&site)).unwrap();
    let report = site.import(&[]);
    let after = fs::metadata(plain_file(&site)).unwrap();
    let of = |one: &fs::Metadata| (one.ino(), one.mode(), one.uid(), one.gid(), one.mtime());
    assert_eq!(of(&before), of(&after));
    let ways = report["ways"].as_object().unwrap();
    assert!(!ways.contains_key("copy"), "{report:#}");
    assert_eq!(
        ways.values()
            .map(|came| came["blobs"].as_u64().unwrap())
            .sum::<u64>(),
        12
    );
}

#[test]
fn what_was_moved_is_the_stores_own_unless_it_is_shared() {
    let site = Site::with(&SMALL);
    chown(plain_file(&site), Some(NOBODY), None).unwrap();
    let other = Digest::of(Algorithm::Sha256, &layer(1, SMALL.layer_bytes));
    let shared = site.v2().join(blob(&other)).join("data");
    fs::hard_link(&shared, site.top().join("also")).unwrap();
    let report = site.import(&["--move"]);
    assert_eq!(report["ways"]["move"]["blobs"], 12, "{report:#}");
    assert!(!plain_file(&site).exists() && !shared.exists());
    let moved = fs::metadata(stored_file(&site.store())).unwrap();
    assert_eq!((moved.mode() & 0o7777, moved.uid()), (0o400, 0));
    let also = fs::metadata(site.top().join("also")).unwrap();
    assert_eq!((also.mode() & 0o7777, also.nlink()), (0o644, 2));
    must_be_clean(&site.store());
}

#[test]
fn nothing_comes_from_another_filesystem_without_a_word() {
    let site = Site::with(&SMALL);
    let disk = SmallDisk::new(64 << 20);
    let store = disk.path().join("store");
    for words in [&[][..], &["--hardlink"], &["--reflink"]] {
        let text = must_be_refused(&import_into(&site, &store, words), &store);
        assert!(text.contains("filesystem"), "{text}");
    }
    let output = import_into(&site, &store, &["--copy"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("12 blobs of 240000 bytes copied"), "{text}");
    assert!(plain_file(&site).exists() && stored_file(&store).exists());
    fs::remove_dir_all(&store).unwrap();
    let output = import_into(&site, &store, &["--move"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!plain_file(&site).exists() && stored_file(&store).exists());
    must_be_clean(&store);
}

#[test]
fn an_exported_tree_is_its_owners_and_the_store_stays_what_it_is() {
    let site = Site::with(&SMALL);
    site.import(&["--copy"]);
    let stored = stored_file(&site.store());
    let mode = fs::metadata(&stored).unwrap().mode();
    let exported = site.export("back", &[]);
    assert_eq!(exported["shared"], 0, "{exported}");
    let given = |name: &str| {
        let v2 = site.top().join(name).join("docker/registry/v2");
        v2.join(blob(&digest())).join("data")
    };
    assert_ne!(inode(&given("back")), inode(&stored));
    assert_eq!(fs::metadata(given("back")).unwrap().mode() & 0o777, 0o644);
    overwrite(&given("back"));
    must_be_clean(&site.store());
    // Shared files keep the mode that they have.
    let exported = site.export("shared", &["--hardlink"]);
    assert_eq!(exported["shared"], 12, "{exported}");
    assert_eq!(inode(&given("shared")), inode(&stored));
    assert_eq!(fs::metadata(&stored).unwrap().mode(), mode);
}

#[test]
fn an_export_for_which_there_is_no_room_writes_nothing() {
    let site = Site::with(&SMALL);
    site.import(&[]);
    let disk = SmallDisk::new(100_000);
    let mut command = regfs();
    command.arg("export").arg(site.store()).arg(disk.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("240000 bytes of blobs"), "{text}");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
    assert!(disk.free() > 0);
}

#[test]
fn a_backup_in_the_same_hands_is_shared_and_another_is_copied() {
    let site = Site::with(&SMALL);
    site.import(&["--copy"]);
    site.told(&["backup", "store", "backup"]);
    let backed_up = stored_file(&site.top().join("backup"));
    assert_eq!(fs::metadata(&backed_up).unwrap().nlink(), 1);
    let text = site.told(&["restore", "backup", "one"]);
    assert!(text.contains(" 0 of them copied"), "{text}");
    chown(&backed_up, Some(NOBODY), None).unwrap();
    let text = site.told(&["restore", "backup", "two"]);
    assert!(text.contains(" 1 of them copied (20000 bytes)"), "{text}");
    assert_ne!(
        inode(&backed_up),
        inode(&stored_file(&site.top().join("two")))
    );
    must_be_clean(&site.top().join("two"));
}
