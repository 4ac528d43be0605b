//! Passthrough: blobs and uploads that the kernel reads and writes directly, in every order of
//! opening, writing, renaming and removing.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::mounted::{Mounted, errno, hex, wait};

/// More than is kept in the index.
const LARGE: usize = 3 << 20;

fn bytes(seed: u8) -> Vec<u8> {
    (0..LARGE)
        .map(|at| seed.wrapping_add(u8::try_from(at % 251).unwrap()))
        .collect()
}

/// An upload, open for writing, and its path.
pub(crate) fn upload(mounted: &Mounted, id: u8) -> (File, PathBuf) {
    let id = format!("01890a5d-ac96-774b-bcce-b302099a80{id:02x}");
    let path = mounted.repository(&format!("_uploads/{id}/data"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).open(&path);
    (file.unwrap(), path)
}

/// Where the blob of these bytes is, in a directory that is there.
pub(crate) fn blob(mounted: &Mounted, bytes: &[u8]) -> PathBuf {
    let hex = hex(bytes);
    let path = mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

fn status(mounted: &Mounted) -> String {
    fs::read_to_string(mounted.top().join(".regfs/status")).unwrap()
}

#[test]
fn the_mount_says_how_it_is_served_and_uses_what_there_is() {
    let offered = fs::read_to_string("/sys/module/fuse/parameters/enable_uring");
    let offered = offered.is_ok_and(|text| text.trim() == "Y");
    let off = std::env::var("REGFS_OPTIONS").is_ok_and(|options| options.contains("uring=off"));
    let mounted = Mounted::new();
    let by = if offered && !off {
        "io_uring"
    } else {
        "/dev/fuse"
    };
    // The rings take over shortly after the mount appears.
    let by = format!("requests come by: {by}");
    wait(&by, || status(&mounted).contains(&by));
    let mounted = Mounted::with(&["-o", "uring=off,passthrough=off"]);
    let status = status(&mounted);
    assert!(status.contains("requests come by: /dev/fuse"), "{status}");
    assert!(status.contains("read and written by: us"), "{status}");
}

/// A published blob cannot be changed, not even through a descriptor that was opened before.
#[test]
fn an_upload_becomes_a_blob_that_nobody_can_change() {
    let mounted = Mounted::new();
    mounted.stock();
    let content = bytes(1);
    let (mut file, path) = upload(&mounted, 1);
    for part in content.chunks(32 << 10) {
        file.write_all(part).unwrap();
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), LARGE as u64);
    file.sync_all().unwrap();
    let blob = blob(&mounted, &content);
    // The publisher still has it open for writing.
    fs::rename(&path, &blob).unwrap();
    assert_eq!(fs::read(&blob).unwrap(), content);
    let _perhaps_refused = file.write_all_at(b"changed", 0);
    assert_eq!(fs::read(&blob).unwrap(), content);
    drop(file);
    assert_eq!(fs::read(&blob).unwrap(), content);
    assert!(!path.exists());
}

#[test]
fn what_was_hashed_and_then_changed_is_hashed_again() {
    let mounted = Mounted::new();
    mounted.stock();
    let (right, mut wrong) = (bytes(2), bytes(2));
    wrong[1000] ^= 1;
    // Gives the hasher behind the writer time to read it: there is no event to wait for,
    // and being too early is another case that must work.
    let settle = || std::thread::sleep(std::time::Duration::from_millis(50));
    let (file, path) = upload(&mounted, 1);
    file.write_all_at(&wrong, 0).unwrap();
    settle();
    file.write_all_at(&right[1000..1001], 1000).unwrap();
    drop(file);
    let blob = blob(&mounted, &right);
    fs::rename(&path, &blob).unwrap();
    assert_eq!(fs::read(&blob).unwrap(), right);

    let (file, path) = upload(&mounted, 2);
    let other = bytes(3);
    file.write_all_at(&other, 0).unwrap();
    settle();
    file.write_all_at(b"x", 7).unwrap();
    drop(file);
    let blob = self::blob(&mounted, &other);
    assert_eq!(errno(fs::rename(&path, &blob)), libc::EBADMSG);
    assert!(!blob.exists() && path.exists());
    // Truncated, and written to its end again.
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(5).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 5);
    file.write_all_at(&other[5..], 5).unwrap();
    drop(file);
    fs::rename(&path, &blob).unwrap();
    assert_eq!(fs::read(&blob).unwrap(), other);
}

#[test]
fn what_was_hashed_cannot_be_changed_so_that_nobody_sees() {
    let mounted = Mounted::new();
    mounted.stock();
    let content = bytes(4);
    let (file, path) = upload(&mounted, 1);
    file.write_all_at(&content, 0).unwrap();
    // As above; the hasher looks at least this often.
    std::thread::sleep(std::time::Duration::from_millis(300));
    // The polynomial of CRC-32C: XOR with it preserves a CRC-32C.
    let pattern = (u64::from(0x82f6_3b78_u32) << 1 | 1).to_le_bytes();
    let old = &content[2000..2008];
    let crafted = old.iter().zip(pattern).map(|(old, change)| old ^ change);
    let crafted: Vec<u8> = crafted.collect();
    assert_eq!(crc32c::crc32c(old), crc32c::crc32c(&crafted));
    file.write_all_at(&crafted, 2000).unwrap();
    drop(file);
    let blob = blob(&mounted, &content);
    assert_eq!(errno(fs::rename(&path, &blob)), libc::EBADMSG);
    assert!(!blob.exists() && path.exists());
}

#[test]
fn readers_and_writers_in_any_order_are_never_refused() {
    let mounted = Mounted::new();
    mounted.stock();
    let content = bytes(4);
    let (mut file, path) = upload(&mounted, 1);
    let reader = File::open(&path).unwrap();
    file.write_all(&content).unwrap();
    let mut head = vec![0; 4096];
    reader.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(head, content[..4096]);
    let again = File::options().append(true).open(&path).unwrap();
    drop((file, reader, again));
    let blob = blob(&mounted, &content);
    fs::rename(&path, &blob).unwrap();
    // Readers, and a registry (2.8) that writes the same blob once more, in place.
    let reader = File::open(&blob).unwrap();
    let mut writer = File::options().write(true).open(&blob).unwrap();
    writer.set_len(0).unwrap();
    writer.write_all(&content).unwrap();
    let other = File::open(&blob).unwrap();
    writer.sync_all().unwrap();
    drop(writer);
    for mut file in [reader, other] {
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read, content);
    }
    assert_eq!(fs::read(&blob).unwrap(), content);
}

#[test]
fn what_is_open_stays_readable_after_its_removal() {
    let mounted = Mounted::new();
    mounted.stock();
    let content = bytes(5);
    let (mut file, path) = upload(&mounted, 1);
    file.write_all(&content).unwrap();
    fs::remove_file(&path).unwrap();
    let mut head = vec![0; 1024];
    file.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(head, content[..1024]);
    assert_eq!(file.metadata().unwrap().len(), LARGE as u64);
    let (mut file, path) = upload(&mounted, 2);
    file.write_all(&content).unwrap();
    drop(file);
    let blob = blob(&mounted, &content);
    fs::rename(&path, &blob).unwrap();
    let mut open = File::open(&blob).unwrap();
    fs::remove_file(&blob).unwrap();
    assert!(!blob.exists());
    let mut read = Vec::new();
    open.read_to_end(&mut read).unwrap();
    assert_eq!(read, content);
}

/// Thousands of blobs may be open at once.
#[test]
fn thousands_of_blobs_are_open_at_once() {
    const BLOBS: u32 = 100;
    const OPENED: usize = 3_000;
    let mounted = Mounted::new();
    mounted.stock();
    let layers = mounted.repository("_layers");
    let content = |number: u32| [&number.to_be_bytes()[..], &vec![7; 20_000]].concat();
    let paths: Vec<PathBuf> = (0..BLOBS)
        .map(|number| {
            let content = content(number);
            fs::write(layers.join(format!("{number}.tar")), &content).unwrap();
            blob(&mounted, &content)
        })
        .collect();
    let open: Vec<(File, &Path)> = paths
        .iter()
        .cycle()
        .take(OPENED)
        .map(|path| (File::open(path).unwrap(), path.as_path()))
        .collect();
    for ((file, _), number) in open.iter().zip((0..BLOBS).cycle()) {
        let mut head = [0; 4];
        file.read_exact_at(&mut head, 0).unwrap();
        assert_eq!(head, number.to_be_bytes());
    }
    drop(open);
    // Nothing is left that prevents opening the file in another mode.
    let pid = mounted.pid();
    wait("the daemon to close its files", || {
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() < OPENED / 10
    });
}

#[test]
fn an_open_that_the_kernel_has_to_make_otherwise_leaves_nothing_behind() {
    let mounted = Mounted::new();
    let (bytes, (mut file, path)) = (bytes(9), upload(&mounted, 9));
    file.write_all(&bytes).unwrap();
    drop(file);
    let place = blob(&mounted, &bytes);
    fs::rename(path, &place).unwrap();
    let mut reading = File::open(&place).unwrap();
    reading.read_exact(&mut [0; 100]).unwrap();
    for _ in 0..3 {
        drop(File::options().write(true).open(&place).unwrap());
    }
    let none = "files being written: 0";
    wait(none, || status(&mounted).contains(none));
    drop(reading);
}

#[test]
fn an_upload_or_its_blob_is_whole_after_a_kill_right_behind_the_rename() {
    let mut mounted = Mounted::new();
    for number in 0..5 {
        let (bytes, (mut file, path)) = (bytes(number), upload(&mounted, number));
        file.write_all(&bytes).unwrap();
        file.sync_all().unwrap();
        drop(file);
        let place = blob(&mounted, &bytes);
        fs::rename(&path, &place).unwrap();
        mounted.kill();
        mounted.mount(&[]);
        // Either may win, and the published blob has its own bytes.
        if path.exists() {
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert!(!place.exists());
            let mut file = File::options().append(true).open(&path).unwrap();
            file.write_all(b"more").unwrap();
            file.sync_all().unwrap();
            let place = blob(&mounted, &[&bytes[..], b"more"].concat());
            fs::rename(&path, &place).unwrap();
            assert_eq!(fs::read(&place).unwrap().len(), LARGE + 4);
        } else {
            assert_eq!(fs::read(&place).unwrap(), bytes);
        }
    }
    mounted.unmount();
    let staged = fs::read_dir(mounted.store().join("staging")).unwrap();
    assert_eq!(staged.count(), 0);
}
