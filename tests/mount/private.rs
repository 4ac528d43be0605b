//! Privacy: what other users can reach of a store and of `.regfs`, and that a store of another user
//! cannot lead to files of the host.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::mounted::{Mounted, hex, regfs};
use super::store::must_be_clean;
use super::user::{STRANGER, User};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Every path of a store but those in its plain files, which have their own modes.
fn all(directory: &Path, into: &mut Vec<std::path::PathBuf>) {
    for row in fs::read_dir(directory).unwrap() {
        let path = row.unwrap().path();
        let plain = path.file_name().is_some_and(|name| name == "files");
        into.push(path.clone());
        if path.is_dir() && !plain {
            all(&path, into);
        }
    }
}

#[test]
fn nobody_else_reaches_anything_in_a_store() {
    let mounted = Mounted::new();
    mounted.stock();
    let layer = vec![7; 100_000];
    fs::write(mounted.repository("_layers/large.tar"), &layer).unwrap();
    fs::File::open(mounted.repository(""))
        .unwrap()
        .sync_all()
        .unwrap();
    let store = mounted.store();
    assert_eq!(mode(&store), 0o700);
    let (mut paths, blob) = (Vec::new(), hex(&layer));
    all(&store, &mut paths);
    let mut blobs = 0;
    for path in paths.iter().filter(|path| !path.ends_with("files")) {
        if path
            .parent()
            .is_some_and(|parent| parent.ends_with("staging"))
        {
            // It may be the second name of a blob for a short time.
            assert_eq!(mode(path) & 0o177, 0, "{}", path.display());
            continue;
        }
        let expected = if path.is_dir() {
            0o700
        } else if path.ends_with(&blob) {
            blobs += 1;
            0o400
        } else {
            0o600
        };
        assert_eq!(mode(path), expected, "{}", path.display());
    }
    assert_eq!(blobs, 1);
    let socket = fs::symlink_metadata(store.join("socket")).unwrap();
    assert!(socket.file_type().is_socket());
}

#[test]
fn a_store_that_others_could_read_is_closed_at_once_and_its_blobs_by_scrub() {
    let work = tempfile::tempdir().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/1.tar.gz");
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(archive).arg("-C").arg(work.path());
    assert!(unpack.status().unwrap().success());
    let store = work.path().join("closed");
    fs::set_permissions(&store, Permissions::from_mode(0o755)).unwrap();
    let shard = store.join("blobs/sha256/62");
    let blob = fs::read_dir(shard).unwrap().next().unwrap().unwrap().path();
    assert_eq!(mode(&blob), 0o644);
    must_be_clean(&store);
    assert_eq!(mode(&store), 0o700);
    assert_eq!(mode(&blob), 0o644);
    let scrub = |expected: u32| {
        let scrub = regfs().arg("scrub").arg("--age=0s").arg(&store).output();
        let scrub = scrub.unwrap();
        assert!(scrub.status.success(), "{scrub:?}");
        assert_eq!(mode(&blob), expected);
    };
    // The mode of a file with other names may be needed there.
    let other = work.path().join("other");
    fs::hard_link(&blob, &other).unwrap();
    scrub(0o644);
    fs::remove_file(&other).unwrap();
    scrub(0o400);
}

/// `.regfs` is readable by the user who mounted, and by the group of `-o control_gid`.
#[test]
fn the_control_files_are_for_who_mounted_and_one_group() {
    let friend = User {
        groups: &[20_300],
        ..STRANGER
    };
    let mut mounted = Mounted::with(&["-o", "allow_other,uid=20001,gid=20001"]);
    let parent = mounted.top().parent().unwrap().to_owned();
    fs::set_permissions(parent, Permissions::from_mode(0o755)).unwrap();
    let status = mounted.top().join(".regfs/status");
    let shown = fs::metadata(&status).unwrap();
    assert_eq!((shown.uid(), shown.mode() & 0o7777), (0, 0o400));
    assert_eq!(mode(&mounted.top().join(".regfs")), 0o500);
    // Not even for the owner of everything else.
    assert!(STRANGER.run(|| fs::read(&status)).is_err());
    mounted.unmount();
    mounted.mount(&["-o", "allow_other,control_gid=20300"]);
    let shown = fs::metadata(&status).unwrap();
    assert_eq!((shown.gid(), shown.mode() & 0o7777), (20_300, 0o440));
    assert_eq!(mode(&mounted.top().join(".regfs")), 0o550);
    assert!(STRANGER.run(|| fs::read(&status)).is_err());
    assert!(friend.run(|| fs::read(&status)).is_ok());
}

#[test]
fn what_a_store_of_somebody_else_leads_to_is_neither_read_nor_written() {
    let work = tempfile::tempdir().unwrap();
    let victim = work.path().join("victim");
    for name in ["lock", "regfs.log", "index.redb", "blobs", "staging"] {
        let mut mounted = Mounted::new();
        mounted.stock();
        mounted.unmount();
        fs::write(&victim, "precious").unwrap();
        let (path, aside) = (mounted.store().join(name), mounted.store().join("aside"));
        let _absent = fs::rename(&path, &aside);
        symlink(&victim, &path).unwrap();
        let mut command = regfs();
        command.arg("mount").arg(mounted.store()).arg(mounted.top());
        let refused = command.output().unwrap();
        assert!(!refused.status.success(), "{name}: {refused:?}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{name}");
    }
    // The socket belongs to the daemon: a link in its place is replaced, and not its target.
    let mut mounted = Mounted::new();
    mounted.unmount();
    symlink(&victim, mounted.store().join("socket")).unwrap();
    must_be_clean_after_refusal(&mounted);
    mounted.mount(&[]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

/// A command that finds no socket but a link says so, and does nothing.
fn must_be_clean_after_refusal(mounted: &Mounted) {
    let output = regfs().arg("ls").arg(mounted.store()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("not a socket"), "{output:?}");
}

#[test]
fn what_root_makes_in_the_store_of_a_user_is_that_users() {
    let mut mounted = Mounted::new();
    mounted.stock();
    mounted.unmount();
    let mut chown = Command::new("chown");
    chown.args(["-R", "20001:20001"]).arg(mounted.store());
    assert!(chown.status().unwrap().success());
    mounted.mount(&[]);
    let layer = vec![7; 100_000];
    fs::write(mounted.repository("_layers/large.tar"), &layer).unwrap();
    mounted.unmount();
    must_be_clean(&mounted.store());
    let mut paths = vec![mounted.store()];
    all(&mounted.store(), &mut paths);
    for path in paths {
        let owner = fs::symlink_metadata(&path).unwrap().uid();
        assert_eq!(owner, STRANGER.uid, "{}", path.display());
    }
    // A file with a second name may be one that only root may write.
    let (victim, lock) = (mounted.store().join("victim"), mounted.store().join("lock"));
    fs::write(&victim, "precious").unwrap();
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&victim, &lock).unwrap();
    let refused = regfs().arg("fsck").arg(mounted.store()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("other names"), "{refused:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}
