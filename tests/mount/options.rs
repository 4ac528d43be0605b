//! Mount options and warnings: new stores, hidden files, and the options that every filesystem has.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::mounted::{Mounted, is_mounted, regfs, wait};

fn mount(store: &Path, top: &Path, options: &str) -> Output {
    let mut command = regfs();
    command.arg("mount").arg(store).arg(top);
    command.args(["-o", options]).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn umount(top: &Path) {
    assert!(Command::new("umount").arg(top).status().unwrap().success());
}

/// How the kernel has it mounted.
fn shown(top: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut rows = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let row = rows.find(|row| row[1] == top.to_str().unwrap()).unwrap();
    row[3].split(',').map(str::to_owned).collect()
}

#[test]
fn a_new_store_is_said_to_be_one_and_can_be_refused() {
    let work = tempfile::tempdir().unwrap();
    let (store, top) = (work.path().join("store"), work.path().join("mnt"));
    fs::create_dir(&top).unwrap();
    let refused = mount(&store, &top, "existing");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("does not exist"));
    assert!(!store.exists());
    // An empty directory: the store's disk may not be mounted yet.
    fs::create_dir(&store).unwrap();
    let refused = mount(&store, &top, "existing");
    assert!(text(&refused.stderr).contains("is empty"), "{refused:?}");
    assert_eq!(fs::read_dir(&store).unwrap().count(), 0);
    let made = mount(&store, &top, "rw");
    assert!(text(&made.stdout).contains("made a new store"), "{made:?}");
    let log = fs::read_to_string(store.join("regfs.log")).unwrap();
    assert!(log.contains("made a new store"), "{log}");
    umount(&top);
    let again = mount(&store, &top, "existing");
    assert!(again.status.success(), "{again:?}");
    assert!(!text(&again.stdout).contains("new store"), "{again:?}");
    umount(&top);
}

#[test]
fn what_a_mount_hides_is_told() {
    let work = tempfile::tempdir().unwrap();
    let (store, top) = (work.path().join("store"), work.path().join("mnt"));
    fs::create_dir(&top).unwrap();
    let made = mount(&store, &top, "rw");
    assert!(made.stderr.is_empty(), "{made:?}");
    umount(&top);
    for number in 0..9 {
        fs::write(top.join(format!("file\n{number}")), "").unwrap();
    }
    let told = mount(&store, &top, "rw");
    assert!(told.status.success(), "{told:?}");
    let said = text(&told.stderr);
    assert!(
        said.contains("hides") && said.contains("and more"),
        "{said}"
    );
    assert!(said.contains("file\\n"), "{said}");
    umount(&top);
    assert_eq!(fs::read_dir(&top).unwrap().count(), 9);
}

#[test]
fn root_mounts_with_the_options_of_every_filesystem() {
    for (options, there, not_there) in [
        ("noexec", "noexec", "sync"),
        ("exec,sync,dirsync", "sync", "noexec"),
        ("relatime,nodiratime,async", "nosuid", "sync"),
        ("dev,suid", "rw", "nosuid"),
        ("dev,suid,nodev,nosuid,atime,strictatime", "nodev", "noexec"),
    ] {
        let mounted = Mounted::with(&["-o", options]);
        let shown = shown(&mounted.top());
        let has = |option: &str| shown.iter().any(|one| one == option);
        assert!(has(there), "{options}: {shown:?}");
        assert!(!has(not_there), "{options}: {shown:?}");
    }
}

#[test]
fn an_ordinary_user_mounts_with_them_but_for_suid_and_dev() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let work = tempfile::tempdir().unwrap();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (user, program) = (work.path().join("user"), work.path().join("regfs"));
    let top = user.join("mnt");
    fs::create_dir_all(&top).unwrap();
    for path in [&user, &top] {
        chown(path, Some(65534), Some(65534)).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_regfs"), &program).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
        command.args(arguments).current_dir(&user).output().unwrap()
    };
    let regfs = program.to_str().unwrap();
    for options in [
        "noexec,sync,dirsync",
        "exec,relatime,nodiratime,nodev,nosuid",
    ] {
        let mounted = run(regfs, &["mount", "store", "mnt", "-o", options]);
        assert!(mounted.status.success(), "{options}: {mounted:?}");
        let first = options.split(',').next().unwrap();
        let noexec = shown(&top).iter().any(|one| one == "noexec");
        assert_eq!(noexec, first == "noexec");
        let pid = fs::read_to_string(user.join("store/lock")).unwrap();
        let unmounted = run("fusermount3", &["-u", "mnt"]);
        assert!(unmounted.status.success(), "{unmounted:?}");
        let process = Path::new("/proc").join(pid.trim());
        wait("the daemon to end", || !process.exists());
    }
    for option in ["suid", "dev"] {
        let refused = run(regfs, &["mount", "store", "mnt", "-o", option]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(text(&refused.stderr).contains("only root"), "{refused:?}");
        assert!(!is_mounted(&top));
    }
}
