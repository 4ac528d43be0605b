//! Open files while they are written, replaced, removed or mapped.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::mounted::Mounted;
use super::passthrough::{blob, upload};

#[test]
fn a_plain_file_that_is_replaced_stays_for_who_has_it_open() {
    let mounted = Mounted::new();
    let (old, new) = (mounted.top().join("old"), mounted.top().join("new"));
    fs::write(&old, vec![b'A'; 5000]).unwrap();
    let mut options = File::options();
    let mut open = options.read(true).write(true).open(&old).unwrap();
    fs::write(&new, "new").unwrap();
    fs::rename(&new, &old).unwrap();
    let shown = open.metadata().unwrap();
    assert_eq!((shown.len(), shown.nlink()), (5000, 0));
    open.write_all_at(b"B", 0).unwrap();
    open.set_len(4000).unwrap();
    let mut content = Vec::new();
    open.read_to_end(&mut content).unwrap();
    assert_eq!((content.len(), content[0]), (4000, b'B'));
    assert_eq!(fs::read_to_string(&old).unwrap(), "new");
    // Even if a directory has the name now.
    fs::remove_file(&old).unwrap();
    fs::create_dir(&old).unwrap();
    assert_eq!(open.metadata().unwrap().len(), 4000);
    open.write_all(b"more").unwrap();
}

#[test]
fn what_was_removed_has_no_name_left() {
    let mounted = Mounted::new();
    mounted.stock();
    let plain = mounted.top().join("lock");
    let file = File::create(&plain).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 1);
    fs::remove_file(&plain).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    // Changes still apply to the removed file.
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(5))
        .unwrap();
    assert_eq!(file.metadata().unwrap().mtime(), 5);
    let (file, path) = upload(&mounted, 1);
    fs::remove_file(&path).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
}

/// Whoever reads an upload while it is written reads what has been written.
#[test]
fn who_reads_an_upload_while_it_is_written_reads_what_is_there() {
    const PART: usize = 8;
    for options in ["rw", "uring=off,passthrough=off"] {
        let mounted = Mounted::with(&["-o", options]);
        mounted.stock();
        let (file, path) = upload(&mounted, 1);
        let reader = File::open(&path).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Reads past the end, like tail -f.
            scope.spawn(|| {
                let ahead = File::open(&path).unwrap();
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let end = ahead.metadata().unwrap().len();
                    let _any = ahead
                        .read_at(&mut [0; 4096], end.saturating_sub(100))
                        .unwrap();
                }
            });
            for at in 0..3_000_u64 {
                let part = at.wrapping_mul(0x0101_0101_0101_0101) | 1;
                let offset = at * PART as u64;
                file.write_all_at(&part.to_le_bytes(), offset).unwrap();
                let mut found = [0; PART];
                let read = reader.read_at(&mut found, offset);
                if !matches!(read, Ok(PART)) || found != part.to_le_bytes() {
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                    panic!("{options}: {read:?} {found:?} at {offset}");
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}

#[test]
fn an_upload_is_as_old_as_its_last_write() {
    let mounted = Mounted::new();
    mounted.stock();
    let (mut file, path) = upload(&mounted, 1);
    let long_ago = SystemTime::now() - Duration::from_hours(1);
    let modified = || fs::metadata(&path).unwrap().modified().unwrap();
    for _ in 0..2 {
        let before = modified();
        std::thread::sleep(Duration::from_millis(20));
        file.write_all(b"more").unwrap();
        let after = modified();
        assert!(after > before && after > long_ago, "{before:?} {after:?}");
        assert_eq!(file.metadata().unwrap().modified().unwrap(), after);
    }
}

#[test]
fn modes_are_those_that_were_asked_for_and_hold_for_others() {
    // Runs a closure as another user, with the given supplementary groups.
    fn may(mounted: &Mounted, groups: &str, script: &str) -> bool {
        let mut command = Command::new("setpriv");
        let groups = if groups.is_empty() {
            "--clear-groups".to_owned()
        } else {
            format!("--groups={groups}")
        };
        command.args(["--reuid=65534", "--regid=65534", &groups]);
        command
            .args(["sh", "-c", script])
            .current_dir(mounted.top());
        command.output().unwrap().status.success()
    }
    let mounted = Mounted::with(&["-o", "allow_other"]);
    let run = |script: &str| {
        let mut command = Command::new("sh");
        let output = command.args(["-c", script]).current_dir(mounted.top());
        String::from_utf8(output.output().unwrap().stdout).unwrap()
    };
    let shown = run(
        "umask 077; mkdir a; touch b; umask 0; mkdir c; touch d; mkdir -m 750 e; stat -c %a a b c d e",
    );
    assert_eq!(shown, "700\n600\n777\n666\n750\n");
    assert_eq!(
        run("test -x d && echo runs; chmod 755 d; test -x d && echo runs"),
        "runs\n"
    );
    run("chmod 644 d; echo group > g; chmod 660 g; echo all > w; chmod 666 w");
    assert!(may(&mounted, "", "test -r d && ! test -w d && ! test -w ."));
    assert!(may(&mounted, "", "! test -r b && ! test -r g && ! cat g"));
    assert!(may(&mounted, "0", "test -r g && cat g && echo more >> g"));
    // A user with write permission may set the times to now, and to nothing else.
    assert!(may(&mounted, "", "touch w && ! touch -d @5 w && ! touch d"));
    assert!(may(&mounted, "", "cd c && ! cd ../a"));
}

#[test]
fn a_file_dropped_by_one_thread_is_finished_by_another() {
    let mounted = Mounted::new();
    mounted.stock();
    let path = mounted.repository("_manifests/x.json");
    let manifest = super::table::filled(super::table::STOCK);
    std::thread::scope(|scope| {
        let (written, writing) = std::sync::mpsc::channel();
        let (finished, finishing) = std::sync::mpsc::channel::<()>();
        let path = &path;
        scope.spawn(move || {
            fs::write(path, manifest).unwrap();
            written.send(()).unwrap();
            // The daemon finds no process for a thread that has ended.
            finishing.recv().unwrap();
        });
        writing.recv().unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        finished.send(()).unwrap();
    });
}

/// A blob that is opened for writing reads as it is until something is written.
#[test]
fn a_blob_opened_to_be_written_reads_as_it_is() {
    let mounted = Mounted::new();
    mounted.stock();
    let content: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    let (mut file, path) = upload(&mounted, 1);
    file.write_all(&content).unwrap();
    drop(file);
    let blob = blob(&mounted, &content);
    fs::rename(&path, &blob).unwrap();
    let mut options = File::options();
    let mut both = options.read(true).write(true).open(&blob).unwrap();
    let mut read = Vec::new();
    both.read_to_end(&mut read).unwrap();
    assert!(read == content);
    both.set_len(200_000).unwrap();
    drop(both);
    assert!(fs::read(&blob).unwrap() == content);
}

/// Maps an upload, closes it, publishes it and writes by the mapping.
const MAPS: &str = r#"
import mmap, os, sys
upload, blob, content = sys.argv[1], sys.argv[2], open(sys.argv[3], "rb").read()
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
number = os.open(upload, os.O_CREAT | os.O_RDWR)
os.ftruncate(number, len(content))
at = libc.mmap(None, len(content), 3, 1, number, 0)
if at == ctypes.c_void_p(-1).value:
    sys.exit(77)
ctypes.memmove(at, content, len(content))
os.fsync(number)
os.close(number)
os.rename(upload, blob)
ctypes.memmove(at, b"changed", 7)
sys.exit(0 if open(blob, "rb").read() == content else 1)
"#;

#[test]
fn a_blob_does_not_change_by_a_mapping_that_outlives_its_file() {
    let mounted = Mounted::new();
    mounted.stock();
    for (id, len) in [(1, 30_000), (2, 3_000_000)] {
        let content: Vec<u8> = (0..len).map(|at: u32| (at % 253) as u8).collect();
        let (_, upload) = upload(&mounted, id);
        let blob = blob(&mounted, &content);
        let copy = mounted.store().with_file_name("content");
        fs::write(&copy, &content).unwrap();
        let mut python = Command::new("python3");
        python.args(["-c", MAPS]).args([&upload, &blob, &copy]);
        let output = python.output().unwrap();
        // Before Linux 6.6 the kernel cannot map files with direct I/O.
        let refused = output.status.code() == Some(77);
        assert!(
            output.status.success() || refused,
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        if !refused {
            assert!(fs::read(&blob).unwrap() == content);
        }
    }
}
