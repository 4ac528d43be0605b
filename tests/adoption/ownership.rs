//! Owners and modes of the directories of a plain tree, through import, mount and export.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::program::path;

use super::plain::{SMALL, repository};
use super::site::Site;
use super::store::must_be_sound;

/// The user and the group of a registry in a container.
const REGISTRY: u32 = 10_000;
/// Somebody else.
const STRANGER: u32 = 65_534;
/// Those of one team.
const TEAM: (u32, u32) = (1_234, 5_678);

/// Gives a path, and everything below it, to somebody.
fn give(path: &Path, (uid, gid): (u32, u32)) {
    chown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() {
        for row in fs::read_dir(path).unwrap() {
            give(&row.unwrap().path(), (uid, gid));
        }
    }
}

/// Owner, group and mode of everything below a directory, in the order of the paths.
fn owners(top: &Path, path: &Path, rows: &mut Vec<(PathBuf, u32, u32, u32)>) {
    let stat = fs::symlink_metadata(path).unwrap();
    let below = path.strip_prefix(top).unwrap().to_owned();
    rows.push((below, stat.uid(), stat.gid(), stat.mode() & 0o7777));
    if stat.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|row| row.unwrap().path())
            .filter(|path| !path.ends_with(".regfs"))
            .collect();
        names.sort();
        for name in names {
            owners(top, &name, rows);
        }
    }
}

fn of(top: &Path) -> Vec<(PathBuf, u32, u32, u32)> {
    let mut rows = Vec::new();
    owners(top, top, &mut rows);
    rows
}

/// Fails at the first row that differs.
fn must_equal(found: &[(PathBuf, u32, u32, u32)], expected: &[(PathBuf, u32, u32, u32)]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn owners_and_modes_of_a_tree_are_imported_shown_and_exported() {
    let mut site = Site::with(&SMALL);
    give(&site.plain(), (REGISTRY, REGISTRY));
    let team = site.v2().join("repositories").join(repository(0));
    give(&team, TEAM);
    fs::set_permissions(&team, fs::Permissions::from_mode(0o2750)).unwrap();
    site.import(&["--copy"]);
    assert_eq!(site.import(&["--copy"])["new"], 0);
    let mount = site.mount();
    let shown = of(&mount);
    let expected: Vec<_> = of(&site.plain())
        .into_iter()
        .map(|(path, uid, gid, mode)| {
            // Everything below a repository shows its mode.
            let team = Path::new("docker/registry/v2/repositories").join(repository(0));
            let below = path.strip_prefix(&team).ok();
            let directory = site.plain().join(&path).is_dir();
            let mode = match below {
                Some(_) if directory => 0o2750,
                Some(_) => 0o640,
                None => mode,
            };
            (path, uid, gid, mode)
        })
        .collect();
    must_equal(&shown, &expected);
    site.unmount();
    site.export("back", &[]);
    must_equal(&of(&site.top().join("back")), &shown);
    site.must_be_the_same("plain", "back");
    must_be_sound(&site.store());
}

#[test]
fn files_that_an_export_shares_keep_the_owner_and_mode_of_the_store() {
    let site = Site::with(&SMALL);
    give(&site.plain(), (REGISTRY, REGISTRY));
    site.import(&["--copy"]);
    let exported = site.export("back", &["--hardlink"]);
    assert_ne!(exported["shared"], 0, "{exported}");
    for (path, uid, _, mode) in of(&site.top().join("back")) {
        let stat = fs::metadata(site.top().join("back").join(&path)).unwrap();
        let shared = stat.is_file() && stat.nlink() > 1;
        let (owner, bits) = if shared { (0, 0o400) } else { (REGISTRY, mode) };
        assert_eq!((uid, mode), (owner, bits), "{path:?}");
    }
    must_be_sound(&site.store());
}

#[test]
fn a_tree_is_exported_where_nobody_may_give_files_away() {
    let site = Site::with(&SMALL);
    give(&site.plain(), (REGISTRY, REGISTRY));
    site.import(&["--copy"]);
    fs::set_permissions(site.top(), fs::Permissions::from_mode(0o755)).unwrap();
    // Root in a container without CAP_CHOWN.
    let mut bound = Command::new("setpriv");
    bound.args(["--bounding-set=-chown", "--inh-caps=-chown"]);
    bound.arg(path()).arg("export").arg(site.store());
    let output = bound.arg(site.top().join("bound")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    site.must_be_the_same("plain", "bound");
    // A directory of another user that all users may write.
    let open = site.top().join("open");
    fs::create_dir(&open).unwrap();
    chown(&open, Some(TEAM.0), Some(TEAM.1)).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    give(&site.store(), (STRANGER, STRANGER));
    let mut stranger = Command::new("setpriv");
    stranger.args([
        &format!("--reuid={STRANGER}"),
        &format!("--regid={STRANGER}"),
        "--clear-groups",
    ]);
    // The directory of the tests may be closed to other users.
    let program = site.top().join("regfs");
    fs::copy(path(), &program).unwrap();
    stranger.arg(&program).arg("export").arg(site.store());
    let output = stranger.arg(&open).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    site.must_be_the_same("plain", "open");
    let stat = fs::metadata(&open).unwrap();
    assert_eq!((stat.uid(), stat.mode() & 0o7777), (TEAM.0, 0o777));
}

#[test]
fn a_store_that_was_mounted_before_takes_the_owners_of_a_tree() {
    let mut site = Site::with(&SMALL);
    give(&site.plain(), (REGISTRY, REGISTRY));
    // The mount creates the parent directories of the tree.
    site.mount();
    site.unmount();
    site.import(&["--copy"]);
    let mount = site.mount();
    for (path, uid, gid, _) in of(&mount) {
        assert_eq!((uid, gid), (REGISTRY, REGISTRY), "{path:?}");
    }
}
