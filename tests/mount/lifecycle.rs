//! Mounting and unmounting, by root and by others, and what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};

use super::mounted::{Mounted, errno, is_mounted, regfs, wait};

fn words(store: &Path, mountpoint: &Path) -> Command {
    let mut command = regfs();
    command.arg("mount").arg(store).arg(mountpoint);
    command
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Only one process has a store at a time; another one is refused with exit code 3 and the process
/// that has it.
#[test]
fn in_the_background_it_returns_when_the_mount_answers() {
    let work = tempfile::tempdir().unwrap();
    let (store, top) = (work.path().join("store"), work.path().join("mnt"));
    fs::create_dir(&top).unwrap();
    let output = words(&store, &top).output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    assert!(top.join("docker/registry/v2/blobs").is_dir());
    let again = words(&store, &top).output().unwrap();
    let pid = fs::read_to_string(store.join("lock")).unwrap();
    assert_eq!(again.status.code(), Some(3));
    assert!(
        printed(&again).contains(&format!("in use by process {}", pid.trim())),
        "{again:?}"
    );
    assert!(Command::new("umount").arg(&top).status().unwrap().success());
    let process = Path::new("/proc").join(pid.trim());
    wait("the daemon to end", || !process.exists());
    assert!(words(&store, &top).status().unwrap().success());
    assert!(
        Command::new("fusermount3")
            .arg("-u")
            .arg(&top)
            .status()
            .unwrap()
            .success()
    );
    let process = Path::new("/proc").join(fs::read_to_string(store.join("lock")).unwrap().trim());
    wait("the daemon to end", || !process.exists());
}

#[test]
fn a_signal_unmounts_and_ends_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut mounted = Mounted::new();
        mounted.stock();
        let pid = Pid::from_raw(mounted.pid().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
        let top = mounted.top();
        wait("the mount to go", || !is_mounted(&top));
        mounted.ended();
        mounted.mount(&[]);
        assert!(mounted.repository("_layers/sha256").is_dir());
    }
}

#[test]
fn a_mount_whose_daemon_was_killed_is_mounted_over() {
    let mut mounted = Mounted::new();
    mounted.stock();
    fs::File::open(mounted.repository(""))
        .unwrap()
        .sync_all()
        .unwrap();
    mounted.kill();
    // A registry's health check (stat) must see that the mount is dead.
    let told = errno(fs::metadata(mounted.top()));
    // The kernel aborts pending requests while it takes the rings down.
    assert!(
        [libc::ENOTCONN, libc::ECONNABORTED, libc::ECANCELED].contains(&told),
        "{told}"
    );
    mounted.mount(&[]);
    assert!(mounted.repository("_layers/sha256").is_dir());
}

#[test]
fn what_cannot_be_mounted_is_refused_with_the_reason() {
    let work = tempfile::tempdir().unwrap();
    let (store, top) = (work.path().join("store"), work.path().join("mnt"));
    let refused = |command: &mut Command, code: i32, reason: &str| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", printed(&output));
        assert!(printed(&output).contains(reason), "{}", printed(&output));
    };
    refused(&mut words(&store, &top), 1, "No such file");
    fs::write(&top, "").unwrap();
    refused(&mut words(&store, &top), 2, "not a directory");
    fs::remove_file(&top).unwrap();
    fs::create_dir(&top).unwrap();
    refused(
        &mut words(&top.join("store"), &top),
        2,
        "must not contain each other",
    );
    refused(
        words(&store, &top).args(["-o", "cached"]),
        2,
        "known are ro",
    );
    refused(
        words(&store, &top).args(["--root", "../x"]),
        2,
        "relative path",
    );
    let other = work.path().join("photos");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("holiday.jpg"), "").unwrap();
    refused(&mut words(&other, &top), 1, "not a store of regfs");
    assert!(!store.exists());
    let missing = work.path().join("no/such/store");
    refused(words(&missing, &top).arg("--foreground"), 1, "No such file");
}

/// A mount with `-o ro` shows everything and answers changes with `EROFS`.
#[test]
fn read_only_shows_everything_and_changes_nothing() {
    let mut mounted = Mounted::new();
    mounted.stock();
    mounted.unmount();
    mounted.mount(&["-o", "ro"]);
    assert!(mounted.repository("_layers/sha256").is_dir());
    assert_eq!(
        errno(fs::create_dir(mounted.repository("_uploads"))),
        libc::EROFS
    );
    assert_eq!(
        errno(fs::remove_dir_all(mounted.repository("_layers"))),
        libc::EROFS
    );
}

/// The option `--root` moves the registry root, or puts `v2` at the top of the mount.
#[test]
fn the_root_may_be_elsewhere() {
    for (root, path) in [("", "v2"), ("storage", "storage/v2")] {
        let mounted = Mounted::with(&["--root", root]);
        assert!(mounted.top().join(path).join("repositories").is_dir());
    }
}

#[test]
fn an_ordinary_user_may_mount() {
    let work = tempfile::tempdir().unwrap();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (user, nobody) = (work.path().join("user"), 65534);
    fs::create_dir(&user).unwrap();
    fs::create_dir(user.join("mnt")).unwrap();
    chown(&user, Some(nobody), Some(nobody)).unwrap();
    chown(user.join("mnt"), Some(nobody), Some(nobody)).unwrap();
    let program = work.path().join("regfs");
    fs::copy(env!("CARGO_BIN_EXE_regfs"), &program).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(arguments);
        let output = command.current_dir(&user).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            printed(&output)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    as_nobody(&[program.to_str().unwrap(), "mount", "store", "mnt"]);
    as_nobody(&[
        "mkdir",
        "-p",
        "mnt/docker/registry/v2/repositories/a/_layers",
    ]);
    let shown = as_nobody(&[
        "stat",
        "-c",
        "%u %a",
        "mnt/docker/registry/v2/repositories/a",
    ]);
    assert_eq!(shown.trim(), "65534 755");
    let pid = fs::read_to_string(user.join("store/lock")).unwrap();
    as_nobody(&["fusermount3", "-u", "mnt"]);
    let process = Path::new("/proc").join(pid.trim());
    wait("the daemon to end", || !process.exists());
}

/// The option `allow_other` lets other users in as far as modes allow, and `uid` and `gid` name the
/// owner of everything that was given to nobody else.
#[test]
fn others_see_what_they_may_and_everything_belongs_to_one() {
    let mounted = Mounted::with(&["-o", "allow_other,uid=1234,gid=1235"]);
    mounted.stock();
    let parent = mounted.top().parent().unwrap().to_owned();
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
    let layers = mounted.repository("_layers");
    let run = |uid: &str, script: &str| {
        let mut command = Command::new("setpriv");
        command.args([
            &format!("--reuid={uid}"),
            "--regid=1",
            "--clear-groups",
            "sh",
            "-c",
            script,
        ]);
        command
            .current_dir(&layers)
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(run("65534", "ls -R . && cat sha256/*/link"));
    assert!(!run("65534", "mkdir sha512"));
    assert!(!run("65534", "rm -r sha256"));
    assert!(run("1234", "mkdir sha512"));
}

/// A panic in one request is `EIO` of that request alone.
#[test]
fn a_panic_in_a_request_is_that_requests_alone() {
    let mounted = Mounted::new();
    mounted.stock();
    let open = fs::File::open(mounted.repository("_layers")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let asked = fs::metadata(mounted.top().join(".regfs/panic"));
                    assert_eq!(errno(asked), 5);
                    assert_eq!(
                        fs::read_dir(mounted.repository("_layers")).unwrap().count(),
                        1
                    );
                }
            });
        }
    });
    open.sync_all().unwrap();
    fs::write(mounted.repository("_layers/after"), "after").unwrap();
    let names = fs::read_dir(mounted.top().join(".regfs")).unwrap();
    assert_eq!(names.count(), 2);
}
