//! Copies of a plain tree into the mount, by programs that stop at files that exist already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::mounted::{Mounted, regfs};

/// A plain tree of some repositories, as a registry has written it.
fn plain(work: &Path) -> PathBuf {
    let mounted = Mounted::new();
    for name in ["team/app", "team/other", "alone"] {
        let repository = mounted.v2("repositories").join(name);
        fs::create_dir_all(repository.join("_layers")).unwrap();
        fs::create_dir_all(repository.join("_manifests/tags")).unwrap();
        fs::create_dir_all(repository.join("_uploads")).unwrap();
        fs::write(repository.join("_layers/config"), "{}").unwrap();
        fs::write(repository.join("_layers/layer"), "layer").unwrap();
        let manifest = super::drops::manifest(name);
        fs::write(repository.join("_manifests/tags/v1"), manifest).unwrap();
    }
    let plain = work.join("plain");
    let store = mounted.store();
    let exported = regfs().arg("export").arg(store).arg(&plain).output();
    assert!(exported.unwrap().status.success());
    plain
}

/// Copies as cp does: makes every directory itself, and stops where one is there that it did not
/// know of. `last` says of the children of a directory which come last.
fn copy(from: &Path, to: &Path, last: &[&str]) {
    let rows = fs::read_dir(from).unwrap();
    let mut rows: Vec<PathBuf> = rows.map(|row| row.unwrap().path()).collect();
    let place = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        last.iter()
            .position(|one| *one == name)
            .map_or(0, |at| at + 1)
    };
    rows.sort_by_key(place);
    for row in rows {
        let to = to.join(row.file_name().unwrap());
        if row.is_dir() {
            let is_there = to.exists();
            if !is_there {
                let made = fs::create_dir(&to);
                assert!(made.is_ok(), "{}: {made:?}", to.display());
            }
            copy(&row, &to, last);
        } else {
            fs::write(&to, fs::read(&row).unwrap()).unwrap();
        }
    }
}

fn must_be_the_same(one: &Path, other: &Path) {
    let compared = Command::new("diff").arg("-r").args([one, other]).output();
    let compared = compared.unwrap();
    assert!(compared.status.success(), "{compared:?}");
}

fn must_be_whole(mounted: &Mounted, plain: &Path) {
    must_be_the_same(&plain.join("docker"), &mounted.top().join("docker"));
    let checked = regfs().arg("fsck").arg(mounted.store()).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

/// A copy of a plain tree into the mount is whole in whatever order its directories come.
#[test]
fn a_copy_is_whole_in_whatever_order_directories_come() {
    let work = tempfile::tempdir().unwrap();
    let plain = plain(work.path());
    let orders: [&[&str]; 4] = [
        &["_manifests", "_layers", "_uploads"],
        &["repositories", "blobs", "_layers"],
        &["blobs", "_layers", "_manifests"],
        &["tags", "revisions", "_layers", "blobs"],
    ];
    for options in ["audit=warn", "audit=enforce"] {
        for order in orders {
            let mounted = Mounted::with(&["-o", options]);
            copy(&plain, &mounted.top(), order);
            must_be_whole(&mounted, &plain);
        }
    }
}

#[test]
fn programs_copy_a_tree_whose_manifests_come_first() {
    let work = tempfile::tempdir().unwrap();
    let exported = plain(work.path());
    // Copied in this order, so that manifests come first by inode number and in readdir order.
    let plain = work.path().join("manifests-first");
    fs::create_dir(&plain).unwrap();
    copy(&exported, &plain, &["_manifests", "_layers", "blobs"]);
    for program in [&["cp", "-a"][..], &["cp", "-r"], &["rsync", "-a"]] {
        let mounted = Mounted::new();
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(plain.join("docker"));
        let output = command.arg(mounted.top()).output().unwrap();
        assert!(output.status.success(), "{program:?}: {output:?}");
        must_be_whole(&mounted, &plain);
    }
    let mounted = Mounted::new();
    let script = "import shutil,sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(plain.join("docker"));
    let output = python.arg(mounted.top().join("docker")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    must_be_whole(&mounted, &plain);
    // mv finds an existing target, which it would have to remove: nothing changes.
    let mounted = Mounted::new();
    let mut moved = Command::new("mv");
    moved.arg(plain.join("docker")).arg(mounted.top());
    assert!(!moved.output().unwrap().status.success());
    must_be_the_same(&plain.join("docker"), &exported.join("docker"));
    assert!(
        mounted
            .v2("repositories")
            .read_dir()
            .unwrap()
            .next()
            .is_none()
    );
    let mut moved = Command::new("mv");
    let repositories = plain.join("docker/registry/v2/repositories");
    let blobs = plain.join("docker/registry/v2/blobs/sha256");
    moved.args([repositories.join("team"), repositories.join("alone")]);
    let output = moved.arg(mounted.v2("repositories")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut moved = Command::new("mv");
    let output = moved.arg(blobs).arg(mounted.v2("blobs")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    must_be_whole(&mounted, &exported);
}

/// A repository that holds a manifest shows `_layers` after the next mount, even if nobody made it.
#[test]
fn a_repository_shows_its_layers_after_the_next_mount_though_nobody_made_them() {
    let mut mounted = Mounted::new();
    let repository = mounted.v2("repositories/team/app");
    let hex = super::mounted::hex(b"{}");
    let revision = repository.join(format!("_manifests/revisions/sha256/{hex}"));
    fs::create_dir_all(&revision).unwrap();
    fs::write(revision.join("link"), format!("sha256:{hex}")).unwrap();
    let names = || {
        let rows = fs::read_dir(&repository).unwrap();
        let mut names: Vec<_> = rows.map(|row| row.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["_manifests"]);
    assert!(!repository.join("_layers").exists());
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(names(), ["_layers", "_manifests"]);
    // It stays although more files come.
    fs::create_dir(repository.join("_manifests/tags")).unwrap();
    let other = super::mounted::hex(b"other");
    let revision = repository.join(format!("_manifests/revisions/sha256/{other}"));
    fs::create_dir(&revision).unwrap();
    assert_eq!(names(), ["_layers", "_manifests"]);
    assert!(repository.join("_layers").is_dir());
}
