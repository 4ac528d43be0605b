//! Small disks: what blobs, journal, registry and trash do when their filesystem is full. Each
//! test mounts a filesystem in memory, for which it needs root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use regfs::blobs::{Area, Blobs, BlobsError, Draft, DraftState, LocalBlobs, Vouched};
use regfs::digest::{Algorithm, Digest};
use regfs::dir::Dir;
use regfs::index::{Batch, CommitOutcome, Journal, MemoryStore, Store, WriteOp};
use regfs::layout::Node;
use regfs::maintenance::{Expiry, list_trash};
use regfs::name::{RepositoryName, UploadId};
use regfs::registry::{Bytes, INLINE_BYTES_MAX, Policy, Recover, Registry};

use super::small_disk::SmallDisk;

/// Waits until something holds.
fn wait(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "it did not come to hold");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Blobs on a disk of a megabyte, and a draft.
fn blobs_soon_full() -> (SmallDisk, LocalBlobs, Arc<dyn Draft>) {
    let disk = SmallDisk::new(1 << 20);
    let blobs = LocalBlobs::open(&Dir::open(disk.path()).unwrap()).unwrap();
    let draft = blobs.draft(1, DraftState::New).unwrap();
    (disk, blobs, draft)
}

#[test]
fn a_write_that_fails_half_way_leaves_a_blob_of_its_length() {
    let (_disk, blobs, draft) = blobs_soon_full();
    let part = vec![7; 600_000];
    draft.write_at(0, &part).unwrap();
    // Not all of these fit.
    draft.write_at(600_000, &part).unwrap_err();
    assert!(draft.len() > 600_000);
    draft.truncate(600_000).unwrap();
    let digest = Digest::of(Algorithm::Sha256, &part);
    let published = draft.publish(&digest, Vouched::default());
    assert_eq!(
        blobs.open(Area::Live, &digest).unwrap().len(),
        published.unwrap().len
    );
}

#[test]
fn a_write_that_fails_half_way_below_what_was_hashed_makes_the_hash_stale() {
    let (_disk, _blobs, draft) = blobs_soon_full();
    draft.truncate(4 << 20).unwrap();
    let zeros = Digest::of(Algorithm::Sha256, &vec![0; 4 << 20]);
    assert_eq!(draft.digest(Algorithm::Sha256).unwrap(), zeros);
    draft.write_at(0, &vec![7; 4 << 20]).unwrap_err();
    let published = draft.publish(&zeros, Vouched::default());
    assert!(matches!(published, Err(BlobsError::Mismatch { .. })));
}

#[test]
fn a_copy_that_could_not_be_made_takes_no_room() {
    let (disk, _blobs, draft) = blobs_soon_full();
    let bytes = vec![7; 700_000];
    draft.write_at(0, &bytes).unwrap();
    let before = disk.free();
    let shared = draft.share().unwrap();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let published = draft.publish(&digest, Vouched::default());
    published.unwrap_err();
    drop(shared);
    assert_eq!(disk.free(), before);
}

/// A disk of this size, the path of a journal on it, and a base store.
fn journal_soon_full(bytes: usize) -> (SmallDisk, PathBuf, Arc<dyn Store>) {
    let disk = SmallDisk::new(bytes);
    let path = disk.path().join("journal");
    fs::create_dir(&path).unwrap();
    (disk, path, Arc::new(MemoryStore::default()))
}

fn journal(base: &Arc<dyn Store>, path: &Path) -> Journal {
    let directory = Dir::open(path).unwrap();
    Journal::open(Arc::clone(base), &directory, Recover::Refuse).unwrap()
}

fn put(store: &dyn Store, key: &[u8], value: &[u8]) {
    let batch = Batch {
        changes: vec![WriteOp::Put(key.to_vec(), value.to_vec())],
        ..Batch::default()
    };
    assert_eq!(store.commit(batch).unwrap(), CommitOutcome::Committed);
}

#[test]
fn a_segment_that_could_not_be_created_takes_no_space() {
    let (disk, path, base) = journal_soon_full(14 << 20);
    let opened = journal(&base, &path);
    let before = disk.free();
    put(&opened, b"a", b"1");
    opened.sync().unwrap();
    // A spare segment is created when the content of the first is applied.
    wait(|| base.get(b"a").unwrap().is_some());
    wait(|| disk.free() + 4096 >= before);
    drop(opened);
    // As if the process had been killed while it created one.
    fs::write(path.join("000009.new"), vec![0; 1 << 20]).unwrap();
    drop(journal(&base, &path));
    assert!(disk.free() + 4096 >= before);
}

#[test]
fn a_journal_of_one_segment_continues_once_it_is_applied() {
    let (disk, path, base) = journal_soon_full(9 << 20);
    let opened = journal(&base, &path);
    // The rest of the disk is taken by another file.
    let _full = fs::write(disk.path().join("else"), vec![1; 2 << 20]);
    for number in 1..=40 {
        put(&opened, &[number], &vec![7; 300_000]);
        wait(|| opened.sync().is_ok());
    }
    drop(opened);
    let opened = journal(&base, &path);
    let all = opened.scan(&b"\x01"[..]..&b"\xff"[..], usize::MAX);
    assert_eq!(all.unwrap().len(), 40);
}

#[test]
fn a_store_is_opened_again_though_there_is_no_room_for_a_copy_of_an_upload() {
    let disk = SmallDisk::new(8 << 20);
    let facts = Arc::new(MemoryStore::default());
    let open = || {
        let bytes = Arc::new(LocalBlobs::open(&Dir::open(disk.path()).unwrap()).unwrap());
        Registry::new(facts.clone(), bytes, Policy::default()).unwrap()
    };
    let registry = open();
    let name: RepositoryName = "team/app".parse().unwrap();
    let id: UploadId = "01234567-89ab-cdef-0123-456789abcdef".parse().unwrap();
    let bytes = vec![3; 5 << 20];
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    for directory in [
        Node::Namespace("team".parse().unwrap()),
        Node::Namespace(name.namespace().clone()),
        Node::Uploads(name.clone()),
        Node::Upload(name.clone(), id),
    ] {
        registry.directories().make(&directory).unwrap();
    }
    let staging = registry.uploads().create_data(&name, &id).unwrap();
    staging.write_at(0, &bytes).unwrap();
    registry.uploads().sync(&staging).unwrap();
    registry.sync().unwrap();
    drop(staging);
    registry.publish_upload(&name, &id, &digest).unwrap();
    drop(registry);
    // Killed before the facts were flushed.
    facts.crash();
    let registry = open();
    assert_eq!(registry.uploads().data(&name, &id).unwrap().len(), 5 << 20);
    assert!(!registry.queries().has_blob(&digest).unwrap());
    registry.publish_upload(&name, &id, &digest).unwrap();
    assert_eq!(
        registry.read_blob(&digest).unwrap().read_all().unwrap(),
        bytes
    );
}

#[test]
fn the_oldest_in_the_trash_goes_before_a_disk_is_full() {
    const DISK: u64 = 64 << 20;
    let disk = SmallDisk::new(usize::try_from(DISK).unwrap());
    let store = Dir::open(disk.path()).unwrap();
    let store = store.ensure_dir("store", rustix::fs::Mode::RWXU).unwrap();
    let registry = Registry::open(&store, Policy::default(), Recover::Refuse).unwrap();
    let registry = Arc::new(registry);
    let layers: Vec<_> = (1..=9_u8)
        .map(|number| {
            let bytes = vec![number; INLINE_BYTES_MAX * 8];
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            (bytes, digest)
        })
        .collect();
    for (bytes, digest) in &layers {
        registry.publish(Bytes::Held(bytes), digest).unwrap();
        registry.remove_blob(digest).unwrap();
    }
    let trash = || list_trash(&registry).unwrap().blobs;
    assert_eq!(trash().len(), 9);
    let some = 3 * layers[0].0.len() as u64;
    registry.room().free_up(disk.free() + some).unwrap();
    let left = trash();
    assert!((3..=6).contains(&left.len()), "{} are left", left.len());
    assert!(left.iter().any(|one| one.digest == layers[8].1));
    assert!(!left.iter().any(|one| one.digest == layers[0].1));
    // A disk that others fill is seen by looking; a twentieth of it is to stay free.
    let expiry = Expiry::start(Arc::clone(&registry)).unwrap();
    let hog = File::create(disk.path().join("hog")).unwrap();
    let filled = disk.free() - DISK / 20 / 2;
    rustix::fs::fallocate(&hog, rustix::fs::FallocateFlags::empty(), 0, filled).unwrap();
    wait(|| trash().is_empty());
    drop(expiry);
    assert_eq!(Arc::strong_count(&registry), 1);
}
