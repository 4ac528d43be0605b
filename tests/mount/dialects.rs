//! How registries write: in place (up to 3.0), and by temporary file and rename (since 3.1).

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::mounted::{Mounted, errno, hex};

const UUID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Writes a small file as distribution up to 3.0 does.
fn put_in_place(path: &Path, content: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap())?;
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.set_len(0)?;
    file.write_all(content)?;
    file.sync_all()?;
    file.sync_all()
}

/// Writes a small file as distribution since 3.1 does.
fn put_by_rename(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let parent = path.parent().unwrap();
    fs::create_dir_all(parent)?;
    let name = path.file_name().unwrap().to_str().unwrap();
    let temporary = parent.join(format!("{name}.{UUID}.tmp"));
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&temporary)?;
    file.set_len(0)?;
    file.write_all(content)?;
    file.sync_all()?;
    assert_eq!(fs::metadata(&temporary)?.len(), content.len() as u64);
    fs::rename(&temporary, path)?;
    File::open(parent)?.sync_all()?;
    assert_eq!(file.metadata()?.len(), content.len() as u64);
    drop(file);
    assert!(!temporary.exists());
    Ok(())
}

type Put = fn(&Path, &[u8]) -> std::io::Result<()>;
const DIALECTS: [Put; 2] = [put_in_place, put_by_rename];

fn link_path(mounted: &Mounted, content: &[u8]) -> std::path::PathBuf {
    mounted.repository(&format!("_layers/sha256/{}/link", hex(content)))
}

/// A link written in place, or by a temporary name and a rename, has the written content at once.
#[test]
fn a_link_is_what_was_written_and_right_at_once() {
    for put in DIALECTS {
        let mounted = Mounted::new();
        let path = link_path(&mounted, b"layer");
        let link = format!("sha256:{}", hex(b"layer"));
        for _ in 0..2 {
            put(&path, link.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), link);
            assert_eq!(fs::metadata(&path).unwrap().len(), 71);
        }
    }
}

/// A reader of a tag that moves gets the old digest or the new one, and never an empty or partial
/// link.
#[test]
fn a_tag_moves_from_one_manifest_to_another_and_never_shows_nothing() {
    for put in DIALECTS {
        let mounted = Mounted::new();
        let path = mounted.repository("_manifests/tags/v1/current/link");
        let links = [
            format!("sha256:{}", hex(b"1")),
            format!("sha256:{}", hex(b"2")),
        ];
        put(&path, links[0].as_bytes()).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let seen = fs::read_to_string(&path).unwrap();
                    assert!(links.contains(&seen), "{seen:?}");
                }
            });
            for round in 1..200 {
                put(&path, links[round % 2].as_bytes()).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), links[1]);
    }
}

/// Content that is no digest, or a digest followed by a newline, is refused with `EINVAL` and never
/// shown.
///
/// A link below a sha256 directory names the digest of that directory, or is refused with `EINVAL`.
#[test]
fn content_that_is_no_digest_is_refused_and_never_shown() {
    for put in DIALECTS {
        let mounted = Mounted::new();
        let path = link_path(&mounted, b"layer");
        let other = format!("sha256:{}", hex(b"other"));
        let newline = format!("sha256:{}\n", hex(b"layer"));
        for content in ["", "nonsense", "sha256:12", &other, &newline] {
            assert_eq!(
                errno(put(&path, content.as_bytes())),
                libc::EINVAL,
                "{content:?}"
            );
            assert!(!path.exists());
        }
        let path = mounted.repository("_manifests/tags/v1/current/link");
        put(&path, other.as_bytes()).unwrap();
        assert_eq!(errno(put(&path, b"nonsense")), libc::EINVAL);
        assert_eq!(fs::read_to_string(&path).unwrap(), other);
    }
}

/// A link below a directory of another algorithm may name a sha256 digest, as distribution writes
/// it.
#[test]
fn an_alias_links_another_digest() {
    for put in DIALECTS {
        let mounted = Mounted::new();
        let long = "ab".repeat(64);
        let path = mounted.repository(&format!("_layers/sha512/{long}/link"));
        let link = format!("sha256:{}", hex(b"layer"));
        put(&path, link.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), link);
    }
}

/// A file written as `blobs/<alg>/<2 hex>/<hex>/data` becomes a blob with the bytes of its digest,
/// and otherwise is refused with `EBADMSG`.
#[test]
fn a_manifest_is_published_in_place_only_with_its_own_bytes() {
    for put in DIALECTS {
        let mounted = Mounted::new();
        let name = hex(b"manifest");
        let path = mounted.v2(&format!("blobs/sha256/{}/{name}/data", &name[..2]));
        assert_eq!(errno(put(&path, b"other")), libc::EBADMSG);
        assert!(!path.exists());
        put(&path, b"manifest").unwrap();
        put(&path, b"manifest").unwrap();
        assert_eq!(errno(put(&path, b"other")), libc::EBADMSG);
        assert_eq!(fs::read(&path).unwrap(), b"manifest");
    }
}

/// An upload survives an unmount and is resumed at the end of its data.
///
/// The rename of upload data to `blobs/<alg>/<2 hex>/<hex>/data` publishes a blob if the bytes hash
/// to `<hex>`, and otherwise fails with `EBADMSG` and leaves the upload.
#[test]
fn an_upload_grows_is_resumed_and_becomes_a_blob() {
    let mut mounted = Mounted::new();
    let upload = |mounted: &Mounted| mounted.repository(&format!("_uploads/{UUID}"));
    put_in_place(&upload(&mounted).join("startedat"), b"2026-01-01T00:00:00Z").unwrap();
    put_in_place(&upload(&mounted).join("hashstates/sha256/0"), &[7; 108]).unwrap();
    let data = upload(&mounted).join("data");
    let mut file = File::create(&data).unwrap();
    let bytes = vec![5_u8; 3_000_000];
    for chunk in bytes[..2_000_000].chunks(32_768) {
        file.write_all(chunk).unwrap();
    }
    assert_eq!(fs::metadata(&data).unwrap().len(), 2_000_000);
    file.sync_all().unwrap();
    drop(file);
    mounted.unmount();
    mounted.mount(&[]);
    assert_eq!(
        fs::read(upload(&mounted).join("hashstates/sha256/0")).unwrap(),
        [7; 108]
    );
    let mut file = File::options().write(true).open(&data).unwrap();
    assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), 2_000_000);
    file.write_all(&bytes[2_000_000..]).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let wrong = hex(b"wrong");
    let wrong = mounted.v2(&format!("blobs/sha256/{}/{wrong}/data", &wrong[..2]));
    fs::create_dir_all(wrong.parent().unwrap()).unwrap();
    assert_eq!(errno(fs::rename(&data, &wrong)), libc::EBADMSG);
    assert!(!wrong.exists() && data.exists());
    let right = hex(&bytes);
    let right = mounted.v2(&format!("blobs/sha256/{}/{right}/data", &right[..2]));
    fs::create_dir_all(right.parent().unwrap()).unwrap();
    fs::rename(&data, &right).unwrap();
    assert!(!data.exists());
    assert_eq!(fs::read(&right).unwrap(), bytes);
    fs::remove_dir_all(upload(&mounted)).unwrap();
    assert_eq!(
        fs::read_dir(mounted.repository("_uploads"))
            .unwrap()
            .count(),
        0
    );
}

/// A file that is renamed while it is open keeps its inode number.
#[test]
fn a_file_renamed_while_open_stays_the_same_file() {
    let mounted = Mounted::new();
    let path = link_path(&mounted, b"layer");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let temporary = path.with_file_name(format!("link.{UUID}.tmp"));
    let mut file = File::create(&temporary).unwrap();
    write!(file, "sha256:{}", hex(b"layer")).unwrap();
    let before = file.metadata().unwrap().ino();
    fs::rename(&temporary, &path).unwrap();
    assert_eq!(file.metadata().unwrap().ino(), before);
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    file.sync_all().unwrap();
    assert_eq!(fs::read(&path).unwrap().len(), 71);
}

/// A blob that is removed while it is open stays readable through that descriptor.
#[test]
fn what_is_removed_while_open_stays_readable() {
    let mounted = Mounted::new();
    let name = hex(b"blob");
    let path = mounted.v2(&format!("blobs/sha256/{}/{name}/data", &name[..2]));
    put_in_place(&path, b"blob").unwrap();
    let mut file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(!path.exists());
    assert!(path.parent().unwrap().exists());
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content, b"blob");
    assert_eq!(file.metadata().unwrap().len(), 4);
}

/// Nobody sees a new link before it is fsynced, closed or renamed.
#[test]
fn what_was_never_committed_is_dropped_by_a_crash() {
    let mounted = Mounted::new();
    let path = link_path(&mounted, b"layer");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(&path).unwrap();
    write!(file, "sha256:{}", hex(b"layer")).unwrap();
    assert!(!path.exists(), "nobody sees a link before it is one");
    drop(file);
    assert!(path.exists());
}

/// `fsync` of upload metadata makes it durable, except with `-o uploads=fast`.
#[test]
fn an_uploads_notes_are_as_durable_as_was_asked_for() {
    // Is upload metadata in the journal right after its fsync?
    let noted = |mounted: &Mounted, round: usize| {
        let path = format!("_uploads/01890a5d-ac96-774b-bcce-b302099a{round:04}/startedat");
        let note = format!("2026-01-01T00:00:{round:02}Z");
        put_in_place(&mounted.repository(&path), note.as_bytes()).unwrap();
        let journal = fs::read_dir(mounted.store().join("journal")).unwrap();
        let held = journal.map(|row| fs::read(row.unwrap().path()).unwrap());
        let mut held = held.map(|bytes| String::from_utf8_lossy(&bytes).contains(&note));
        held.any(|held| held)
    };
    let mounted = Mounted::new();
    mounted.stock();
    assert!((0..10).all(|round| noted(&mounted, round)));
    let mounted = Mounted::with(&["-o", "uploads=fast"]);
    mounted.stock();
    // A flush in the background may come, but not each time.
    assert!(!(0..40).all(|round| noted(&mounted, round)));
    // Pushed images are as durable as with the default.
    let link = link_path(&mounted, b"layer");
    put_in_place(&link, format!("sha256:{}", hex(b"layer")).as_bytes()).unwrap();
    let mut mounted = mounted;
    mounted.kill();
    mounted.mount(&[]);
    assert!(link.exists());
}
