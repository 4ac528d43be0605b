//! Upload data as files: moved, written under a temporary name, mapped into memory. Layers whose
//! names are digests.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use super::mounted::{Mounted, errno, hex};
use super::passthrough::{blob, upload};

/// The directory of another upload.
fn directory(mounted: &Mounted, id: u8) -> PathBuf {
    let (_, path) = upload(mounted, id);
    fs::remove_file(&path).unwrap();
    path.parent().unwrap().to_owned()
}

/// Upload data moved onto the data of another upload replaces it.
#[test]
fn data_moved_onto_that_of_another_upload_replaces_it() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let (mut first, one) = upload(&mounted, 1);
    let (mut second, other) = upload(&mounted, 2);
    first.write_all(b"of the first").unwrap();
    second.write_all(b"of the second").unwrap();
    fs::rename(&one, &other).unwrap();
    assert!(!one.exists());
    assert_eq!(fs::read(&other).unwrap(), b"of the first");
    // Open handles of both remain valid.
    first.write_all(b", and more").unwrap();
    second.write_all(b", gone").unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"of the first, and more");
    drop((first, second));
    let third = directory(&mounted, 3).join("data");
    fs::rename(&other, &third).unwrap();
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(fs::read(&third).unwrap(), b"of the first, and more");
    assert!(!one.exists() && !other.exists());
    fs::rename(&third, blob(&mounted, b"of the first, and more")).unwrap();
}

#[test]
fn data_written_under_a_temporary_name_has_any_size() {
    let mounted = Mounted::new();
    mounted.stock();
    let directory = directory(&mounted, 1);
    let temporary = directory.join("data.01890a5d-ac96-774b-bcce-b302099a8099.tmp");
    for len in [10, 100_000, 9 << 20] {
        let content: Vec<u8> = (0..len).map(|at: u32| (at % 251) as u8).collect();
        fs::write(&temporary, &content).unwrap();
        fs::rename(&temporary, directory.join("data")).unwrap();
        assert_eq!(fs::read(directory.join("data")).unwrap(), content);
        assert!(!temporary.exists());
    }
}

/// Maps a file, and writes by the mapping and by the descriptor.
const MAPPER: &str = r"
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
os.ftruncate(fd, 8192)
m = mmap.mmap(fd, 8192, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
m[100:105] = b'hello'
m.flush()
assert os.pread(fd, 5, 100) == b'hello'
os.pwrite(fd, b'again', 200)
assert m[200:205] == b'again'
m[4096:4100] = b'late'
m.close()
os.close(fd)
";

/// Upload data may be mapped, and written through the mapping.
#[test]
fn data_is_mapped_and_written_so_however_the_mount_is_served() {
    for options in [
        "rw",
        "passthrough=off",
        "uring=off",
        "uring=off,passthrough=off",
    ] {
        let mounted = Mounted::with(&["-o", options]);
        mounted.stock();
        let (_, path) = upload(&mounted, 1);
        let mut python = Command::new("python3");
        let output = python.args(["-c", MAPPER]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{options}: {output:?}");
        let content = fs::read(&path).unwrap();
        assert_eq!(content.len(), 8192, "{options}");
        for (at, text) in [(100, "hello"), (200, "again"), (4096, "late")] {
            assert_eq!(&content[at..at + text.len()], text.as_bytes(), "{options}");
        }
        fs::rename(&path, blob(&mounted, &content)).unwrap();
    }
}

/// A file in `_layers` whose name is a digest, `HEX` or `sha256:HEX`, must have that digest, or is
/// refused with `EBADMSG`.
#[test]
fn a_file_whose_name_is_a_digest_must_have_it() {
    let mounted = Mounted::new();
    mounted.stock();
    let digest = hex(b"a whole layer");
    let names = [digest.clone(), format!("sha256:{digest}")];
    for name in &names {
        // As if the copy had been interrupted.
        let path = mounted.repository("_layers").join(name);
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(b"a whole").unwrap();
        assert_eq!(errno(file.sync_all()), 74, "EBADMSG");
        drop(file);
        let hidden = mounted
            .repository("_layers")
            .join(format!(".{digest}.AbCdEf"));
        fs::write(&hidden, "a whole").unwrap();
        assert_eq!(errno(fs::rename(&hidden, &path)), 74, "EBADMSG");
        fs::remove_file(&hidden).unwrap();
    }
    let link = mounted.repository(&format!("_layers/sha256/{digest}/link"));
    let wrong = mounted.repository(&format!("_layers/sha256/{}", hex(b"a whole")));
    assert!(!link.exists() && !wrong.exists());
    for name in &names {
        fs::write(mounted.repository("_layers").join(name), "a whole layer").unwrap();
        assert!(link.exists() && !wrong.exists());
        fs::remove_file(&link).unwrap();
    }
}
