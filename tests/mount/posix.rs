//! Directories and names as POSIX and the layout define them.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::mounted::{Mounted, attribute, errno, hex};

/// A directory stays until it is removed, whether anything is in it or not, also across mounts.
#[test]
fn directories_are_kept_until_they_are_removed() {
    let mut mounted = Mounted::new();
    let kept = [
        "_layers/sha256",
        "_manifests/tags/v1/index/sha256",
        "_manifests/revisions",
    ];
    for path in kept {
        fs::create_dir_all(mounted.repository(path)).unwrap();
    }
    fs::create_dir_all(mounted.v2("blobs/sha256/ab")).unwrap();
    fs::create_dir_all(mounted.v2("repositories/a/b")).unwrap();
    mounted.unmount();
    mounted.mount(&[]);
    for path in kept {
        assert!(mounted.repository(path).is_dir(), "{path}");
    }
    assert!(mounted.v2("blobs/sha256/ab").is_dir());
    fs::remove_dir_all(mounted.v2("repositories/team")).unwrap();
    fs::remove_dir_all(mounted.v2("repositories/a")).unwrap();
    assert_eq!(fs::read_dir(mounted.v2("repositories")).unwrap().count(), 0);
    assert!(!mounted.repository("_uploads").exists());
}

/// Directories answer with the errors of a plain disk: `EEXIST`, `ENOENT`, `ENOTDIR`, `EISDIR` and
/// `ENOTEMPTY`.
///
/// Removing a link leaves its directory.
///
/// `blobs` cannot be removed: `rmdir` fails with `EPERM`.
#[test]
fn directories_answer_as_on_a_plain_disk() {
    let mounted = Mounted::new();
    mounted.stock();
    let link = mounted.repository(&format!("_layers/sha256/{}/link", hex(b"layer")));
    assert_eq!(
        errno(fs::create_dir(mounted.repository("_layers"))),
        libc::EEXIST
    );
    assert_eq!(
        errno(fs::create_dir(mounted.v2("repositories/x/y"))),
        libc::ENOENT
    );
    assert_eq!(
        errno(fs::remove_dir(mounted.repository("_layers"))),
        libc::ENOTEMPTY
    );
    assert_eq!(errno(fs::remove_dir(&link)), libc::ENOTDIR);
    assert_eq!(
        errno(fs::remove_file(mounted.repository("_layers"))),
        libc::EISDIR
    );
    assert_eq!(
        errno(fs::remove_file(mounted.repository("_layers/nothing"))),
        libc::ENOENT
    );
    assert_eq!(errno(File::open(link.join("below"))), libc::ENOTDIR);
    assert_eq!(errno(fs::read(mounted.repository("_layers"))), libc::EISDIR);
    fs::remove_file(&link).unwrap();
    assert!(link.parent().unwrap().is_dir());
    assert_eq!(errno(fs::remove_file(&link)), libc::ENOENT);
    fs::remove_dir(link.parent().unwrap()).unwrap();
    assert_eq!(errno(fs::remove_dir(mounted.v2("blobs"))), libc::EPERM);
    let (old, new) = (
        mounted.v2("repositories/old"),
        mounted.v2("repositories/new"),
    );
    fs::create_dir(&old).unwrap();
    fs::rename(&old, &new).unwrap();
    assert!(new.is_dir() && !old.exists());
    assert_eq!(
        errno(fs::rename(mounted.repository("_layers"), &new)),
        libc::EXDEV
    );
}

/// A name that the layout does not have is absent on lookup and cannot be made.
#[test]
fn names_outside_the_layout_are_absent_and_cannot_be_made() {
    let mounted = Mounted::new();
    mounted.stock();
    let long = "x".repeat(200);
    for path in [
        "repositories/UPPER/x/_bad",
        "repositories/team/app/_file",
        "blobs/md5",
        "repositories/team/app/_manifests/tags/.hidden/x",
        "repositories/a b",
        "repositories/team/app/_layers/sha256/short",
        &format!("repositories/team/app/_manifests/tags/{long}"),
    ] {
        let path = mounted.v2(path);
        assert_eq!(
            errno(fs::metadata(&path)),
            libc::ENOENT,
            "{}",
            path.display()
        );
        let made = fs::create_dir(&path).unwrap_err();
        let expected = [io::ErrorKind::InvalidInput, io::ErrorKind::NotFound];
        assert!(
            expected.contains(&made.kind()),
            "{}: {made}",
            path.display()
        );
    }
    let odd = mounted
        .v2("repositories")
        .join(Path::new(std::ffi::OsStr::from_bytes(b"\xff\xfe")));
    assert_eq!(errno(fs::metadata(&odd)), libc::ENOENT);
    assert_eq!(errno(fs::create_dir(&odd)), libc::EINVAL);
    assert_eq!(errno(File::create(mounted.v2("stray"))), libc::EINVAL);
    assert_eq!(
        errno(File::create(mounted.v2("repositories/stray"))),
        libc::EINVAL
    );
}

/// A blob is removed even if a manifest names it, as on a plain disk, and its bytes go to
/// `STORE/trash`.
///
/// With `-o delete=guarded` a blob that a manifest names cannot be removed: `unlink` fails with
/// `EPERM`, and `user.regfs.error` of the blob says which manifest needs it.
#[test]
fn a_blob_that_a_manifest_needs_is_removed_unless_guarded() {
    let mounted = Mounted::with(&["-o", "delete=guarded"]);
    mounted.stock();
    let manifest = super::drops::manifest("guard");
    fs::write(mounted.repository("_manifests/tags/v1"), &manifest).unwrap();
    let hex = hex(b"layer");
    let layer = mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
    assert_eq!(errno(fs::remove_file(&layer)), libc::EPERM);
    let reason = attribute(&layer, "user.regfs.error").unwrap();
    assert!(reason.contains("is needed by manifest"), "{reason}");
    let rejected = mounted.top().join(".regfs/rejected");
    assert!(fs::read_to_string(rejected).unwrap().contains(&reason));
    fs::remove_dir_all(mounted.repository("_manifests")).unwrap();
    fs::remove_file(&layer).unwrap();
    drop(mounted);
    let mounted = Mounted::new();
    mounted.stock();
    fs::write(mounted.repository("_manifests/tags/v1"), &manifest).unwrap();
    fs::remove_file(mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]))).unwrap();
    let trash = mounted.store().join("trash").join(format!("sha256-{hex}"));
    assert_eq!(fs::read(trash).unwrap(), b"layer");
}

#[test]
fn removal_races_with_creation_and_neither_hangs_nor_lies() {
    let mounted = Mounted::new();
    mounted.stock();
    let repository = mounted.v2("repositories/race");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 0..60 {
                    let tag = repository.join(format!("_manifests/tags/t{}", round % 5));
                    if fs::create_dir_all(tag.join("current")).is_ok() {
                        let link = format!("sha256:{}", hex(b"layer"));
                        let _removed = fs::write(tag.join("current/link"), link);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..60 {
                let _raced = fs::remove_dir_all(&repository);
            }
        });
    });
    if repository.exists() {
        fs::remove_dir_all(&repository).unwrap();
    }
    assert!(!repository.exists());
}

/// `v2` cannot be removed, and no directory above it can be renamed: both fail with `EPERM`.
///
/// Files outside the registry root are plain files, and stay across mounts.
#[test]
fn files_outside_the_root_are_plain_files_and_stay() {
    let mut mounted = Mounted::new();
    let schedule = mounted.top().join("scheduler-state.json");
    fs::write(&schedule, "{\"a\":1}").unwrap();
    let locks = mounted.top().join("docker/registry/lockfiles");
    fs::create_dir(&locks).unwrap();
    fs::write(locks.join("database-in-use"), "{}").unwrap();
    fs::rename(&schedule, mounted.top().join("renamed.json")).unwrap();
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(
        fs::read_to_string(mounted.top().join("renamed.json")).unwrap(),
        "{\"a\":1}"
    );
    assert_eq!(
        fs::read_to_string(locks.join("database-in-use")).unwrap(),
        "{}"
    );
    let names = fs::read_dir(mounted.top().join("docker/registry")).unwrap();
    let mut names: Vec<_> = names.map(|row| row.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["lockfiles", "v2"]);
    assert_eq!(
        errno(fs::rename(
            mounted.top().join("docker"),
            mounted.top().join("x")
        )),
        libc::EPERM
    );
    assert_eq!(errno(fs::remove_dir(mounted.v2(""))), libc::EPERM);
    fs::remove_dir_all(&locks).unwrap();
}

/// `chown -R` and `chmod -R`, which containers run at their start, succeed.
#[test]
fn what_containers_do_at_start_succeeds() {
    let mounted = Mounted::new();
    mounted.stock();
    for program in [
        &["chown", "-R", "10000:10000"][..],
        &["chmod", "-R", "u+rwX"],
    ] {
        let mut command = std::process::Command::new(program[0]);
        assert!(
            command
                .args(&program[1..])
                .arg(mounted.top())
                .status()
                .unwrap()
                .success()
        );
    }
}
