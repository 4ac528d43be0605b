//! After an unmount: any command may follow at once and waits for the daemon, and an error names
//! the process that still holds the store.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::mounted::{Mounted, is_mounted, regfs};

fn ran(arguments: &[&str], mounted: &Mounted) -> Output {
    let mut command = regfs();
    command.arg(arguments[0]).arg(mounted.store());
    command.args(&arguments[1..]).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn umount(arguments: &[&str], mounted: &Mounted) {
    let mut command = Command::new("umount");
    let status = command.args(arguments).arg(mounted.top()).status();
    assert!(status.unwrap().success());
}

#[test]
fn any_command_may_follow_an_unmount_at_once() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let work = tempfile::tempdir().unwrap();
    let backup = work.path().join("backup");
    let backup = backup.to_str().unwrap();
    for round in 0..4 {
        for words in [&["ls"][..], &["fsck"], &["backup", backup], &["stats"]] {
            umount(&[], &mounted);
            let output = ran(words, &mounted);
            assert!(output.status.success(), "{round} {words:?}: {output:?}");
            mounted.ended();
            mounted.mount(&[]);
        }
        umount(&[], &mounted);
        let top = mounted.top();
        let output = ran(&["mount", top.to_str().unwrap()], &mounted);
        assert!(output.status.success(), "{round} mount: {output:?}");
        mounted.ended();
        umount(&[], &mounted);
        mounted.mount(&[]);
    }
}

#[test]
fn a_lazy_unmount_of_what_is_in_use_is_named_and_ends_with_its_last_file() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let open = File::open(mounted.repository("_layers")).unwrap();
    umount(&["-l"], &mounted);
    let began = Instant::now();
    let top = mounted.top();
    let refused = ran(&["mount", top.to_str().unwrap()], &mounted);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(began.elapsed() >= Duration::from_secs(10));
    let text = said(&refused);
    assert!(text.contains("waiting for process"), "{text}");
    assert!(text.contains("umount -l"), "{text}");
    assert!(text.contains(&mounted.pid().to_string()), "{text}");
    drop(open);
    mounted.ended();
    mounted.mount(&[]);
}

#[test]
fn a_copy_of_the_mount_in_another_namespace_is_named() {
    let mut mounted = Mounted::new();
    mounted.stock();
    // The namespace keeps only this mount, not those of other tests.
    let script = r#"awk '$3 ~ /^fuse/ { print $2 }' /proc/self/mounts |
        while read -r top; do [ "$top" = "$0" ] || umount -l "$top"; done
        echo ready; exec sleep 1000"#;
    let mut other = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(mounted.top())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let number = other.id().to_string();
    let mut ready = [0; 6];
    other
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    umount(&[], &mounted);
    let top = mounted.top();
    let refused = ran(&["mount", top.to_str().unwrap()], &mounted);
    let text = said(&refused);
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{text}");
    assert!(text.contains("another mount namespace"), "{text}");
    assert!(text.contains(&number), "{text}");
    mounted.ended();
    mounted.mount(&[]);
}

#[test]
fn who_asks_nothing_does_not_keep_the_daemon() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let mut silent = UnixStream::connect(mounted.store().join("socket")).unwrap();
    let began = Instant::now();
    mounted.unmount();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(silent.read(&mut [0]).unwrap_or_default(), 0);
}

#[test]
fn callers_of_a_dead_mount_whose_connection_lingers_are_let_go_by_the_next_mount() {
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let mut mounted = Mounted::new();
    mounted.stock();
    File::open(mounted.repository(""))
        .unwrap()
        .sync_all()
        .unwrap();
    let process = Pid::from_raw(mounted.pid().cast_signed()).unwrap();
    let process = pidfd_open(process, PidfdFlags::empty()).unwrap();
    let open = fs::read_dir(format!("/proc/{}/fd", mounted.pid())).unwrap();
    let device = open.flatten().find(|row| {
        let path = fs::read_link(row.path()).unwrap_or_default();
        path == std::path::Path::new("/dev/fuse")
    });
    let number = device.unwrap().file_name().to_str().unwrap().parse();
    // Another process holds the daemon's /dev/fuse, as a child of it would.
    let kept = pidfd_getfd(&process, number.unwrap(), PidfdGetfdFlags::empty()).unwrap();
    mounted.kill();
    assert!(is_mounted(&mounted.top()));
    let path = mounted.repository("_layers/not-known-to-the-kernel");
    let waiting = std::thread::spawn(move || fs::metadata(path));
    // Whenever its request is sent, the wait must end.
    mounted.mount(&[]);
    assert!(waiting.join().unwrap().is_err());
    assert!(mounted.repository("_layers/sha256").is_dir());
    drop(kept);
}
