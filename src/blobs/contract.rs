//! The contract of the seam: every implementation's tests call [`all`].

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

type Made = (Arc<dyn Blobs>, Option<PathBuf>);

/// Runs every check with blobs of its own, and removes their directory.
pub(super) fn all(make: &dyn Fn() -> Made) {
    for check in [
        wrong_bytes_are_never_published,
        what_is_published_can_be_read_and_not_changed,
        a_blob_with_the_right_bytes_stays,
        a_removed_blob_stays_readable_where_it_is_open,
        a_list_is_in_the_order_of_digests_and_paged,
        drafts_are_known_until_discarded,
        many_may_publish_the_same,
        other_algorithms_are_verified_too,
        blobs_in_the_trash_can_be_read_and_restored,
        open_files_are_imported,
        content_is_logged_once_after_each_change,
        an_unpublished_blob_is_a_draft_again,
        logged_bytes_are_recovered_and_replaced_unless_the_blob_is_known,
        recovery_leaves_every_pending_draft_and_removes_others_if_facts_are_complete,
    ] {
        let (blobs, directory) = make();
        check(blobs.as_ref());
        directory.map(std::fs::remove_dir_all);
    }
    let (blobs, directory) = make();
    any_order_of_writes_hashes_right(blobs.as_ref());
    directory.map(std::fs::remove_dir_all);
}

fn blobs_in_the_trash_can_be_read_and_restored(blobs: &dyn Blobs) {
    let digest = sha256(b"layer");
    let draft = write(blobs, 1, b"layer");
    draft.publish(&digest, Vouched::default()).unwrap();
    assert!(blobs.open(Area::Trash, &digest).is_err());
    blobs.move_to(Area::Trash, &digest).unwrap();
    assert!(matches!(
        blobs.open(Area::Live, &digest),
        Err(BlobsError::Missing(_))
    ));
    let retired = blobs.list(Area::Trash, None, 99).unwrap();
    assert_eq!((retired[0].digest, retired[0].len), (digest, 5));
    let content = blobs.open(Area::Trash, &digest).unwrap();
    assert_eq!(read(content.as_ref()), b"layer");
    blobs.move_to(Area::Live, &digest).unwrap();
    assert_eq!(
        read(blobs.open(Area::Live, &digest).unwrap().as_ref()),
        b"layer"
    );
    assert!(blobs.list(Area::Trash, None, 99).unwrap().is_empty());
    assert!(blobs.move_to(Area::Live, &digest).is_err());
    blobs.move_to(Area::Trash, &digest).unwrap();
    let since = blobs.list(Area::Trash, None, 99).unwrap()[0].since;
    let other = since - std::time::Duration::from_nanos(1);
    blobs.remove(Area::Trash, &digest, Some(other)).unwrap();
    assert!(blobs.open(Area::Trash, &digest).is_ok());
    blobs.remove(Area::Trash, &digest, Some(since)).unwrap();
    assert!(blobs.open(Area::Trash, &digest).is_err());
    blobs
        .import(Area::Trash, &digest, ImportSource::Bytes(b"small"))
        .unwrap();
    assert_eq!(
        read(blobs.open(Area::Trash, &digest).unwrap().as_ref()),
        b"small"
    );
    blobs.remove(Area::Trash, &digest, None).unwrap();
    blobs.remove(Area::Trash, &digest, None).unwrap();
    assert!(blobs.list(Area::Trash, None, 99).unwrap().is_empty());
}

fn open_files_are_imported(blobs: &dyn Blobs) {
    let directory = tempfile::tempdir().unwrap();
    for (number, way) in [TransferMode::Link, TransferMode::Copy, TransferMode::Move]
        .into_iter()
        .enumerate()
    {
        let bytes = format!("layer {number}").into_bytes();
        let digest = sha256(&bytes);
        let path = directory.path().join("from");
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        // The position of the descriptor does not matter.
        std::io::copy(&mut &file, &mut std::io::sink()).unwrap();
        blobs
            .import(Area::Live, &digest, ImportSource::File(&file, way))
            .unwrap();
        blobs.sync().unwrap();
        assert_eq!(
            read(blobs.open(Area::Live, &digest).unwrap().as_ref()),
            bytes
        );
        // A second import replaces the blob, which no fact names.
        blobs
            .import(Area::Live, &digest, ImportSource::File(&file, way))
            .unwrap();
        assert_eq!(
            read(blobs.open(Area::Live, &digest).unwrap().as_ref()),
            bytes
        );
        // The descriptor counts, and not the file that its name leads to.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "something else").unwrap();
        assert_eq!(
            read(blobs.open(Area::Live, &digest).unwrap().as_ref()),
            bytes
        );
        blobs
            .import(
                Area::Live,
                &digest,
                ImportSource::File(&file, TransferMode::Copy),
            )
            .unwrap();
        assert_eq!(
            read(blobs.open(Area::Live, &digest).unwrap().as_ref()),
            bytes
        );
        std::fs::remove_file(&path).unwrap();
    }
}

fn an_unpublished_blob_is_a_draft_again(blobs: &dyn Blobs) {
    let digest = sha256(b"layer");
    let draft = write(blobs, 1, b"layer");
    for _ in 0..2 {
        let published = draft.publish(&digest, Vouched::default());
        assert_eq!(published.unwrap().survives, Survives::ByNumber);
        draft.unpublish(&digest).unwrap();
        assert!(matches!(
            blobs.open(Area::Live, &digest),
            Err(BlobsError::Missing(_))
        ));
        assert_eq!(
            read(blobs.draft(1, DraftState::Existing).unwrap().as_ref()),
            b"layer"
        );
    }
    draft.write_at(5, b"s").unwrap();
    assert_eq!(read(draft.as_ref()), b"layers");
}

fn content_is_logged_once_after_each_change(blobs: &dyn Blobs) {
    let draft = write(blobs, 1, b"few");
    let logged = |works: bool| {
        let mut passed = Vec::new();
        let log = &mut |bytes: &[u8]| {
            passed.push(bytes.to_vec());
            works
        };
        assert_eq!(draft.log(8, log).unwrap(), works);
        passed
    };
    assert_eq!(logged(false), [b"few"]);
    assert_eq!(logged(true), [b"few"]);
    assert!(logged(true).is_empty());
    draft.write_at(3, b" more").unwrap();
    assert_eq!(logged(true), [b"few more"]);
    draft.write_at(8, b"!").unwrap();
    assert!(!draft.log(8, &mut |_| true).unwrap());
    draft.truncate(0).unwrap();
    draft.write_at(0, b"durable").unwrap();
    draft.sync().unwrap();
    assert!(logged(true).is_empty());
    draft.truncate(0).unwrap();
    for other in [b"more", b"few!"] {
        draft.write_at(0, other).unwrap();
        draft.write_at(0, b"few ").unwrap();
        // The content is as before, but its logged bytes may be dropped by now.
        assert_eq!(logged(true), [b"few "]);
    }
}

fn logged_bytes_are_recovered_and_replaced_unless_the_blob_is_known(blobs: &dyn Blobs) {
    recover(blobs, 1, None, Some(b"draft"));
    recover(blobs, 1, None, Some(b"a draft"));
    assert_eq!(
        read(blobs.draft(1, DraftState::Existing).unwrap().as_ref()),
        b"a draft"
    );
    let digest = sha256(b"layer");
    for known in [true, false] {
        recover(blobs, 2, Some(&digest), Some(b"torn"));
        let draft = write(blobs, 2, b"layer");
        assert!(draft.log(9, &mut |_| true).unwrap());
        if known {
            draft.write_at(0, b"l").unwrap();
        }
        let vouched = Vouched {
            logged: true,
            known,
        };
        let published = draft.publish(&digest, vouched).unwrap();
        let (survives, stands): (_, &[u8]) = if known {
            (Survives::ByDigest, b"torn")
        } else {
            (Survives::Logged, b"layer")
        };
        assert_eq!(published.survives, survives);
        assert_eq!(
            read(blobs.open(Area::Live, &digest).unwrap().as_ref()),
            stands
        );
    }
    blobs.sync().unwrap();
    blobs.discard(2).unwrap();
    assert_eq!(drafts(blobs), [1]);
    // A crash may restore both names.
    recover(blobs, 3, Some(&digest), Some(b"torn"));
    recover(blobs, 3, None, Some(b"layer"));
    for _ in 0..2 {
        recover(blobs, 3, Some(&digest), None);
        assert_eq!(
            read(blobs.open(Area::Live, &digest).unwrap().as_ref()),
            b"layer"
        );
    }
    recover(blobs, 3, Some(&sha256(b"missing")), None);
    let missing = blobs.open(Area::Live, &sha256(b"missing"));
    assert!(matches!(missing, Err(BlobsError::Missing(_))));
}

fn recovery_leaves_every_pending_draft_and_removes_others_if_facts_are_complete(blobs: &dyn Blobs) {
    for id in [1, 2] {
        drop(write(blobs, id, b"written"));
    }
    let pending = |id| PendingDraft {
        id,
        blob: None,
        logged: None,
    };
    for (complete, left) in [(false, &[1, 2, 3][..]), (true, &[2, 3])] {
        let rows = [pending(2), pending(3)];
        blobs.recover(&rows, complete, &|_| true).unwrap();
        assert_eq!(drafts(blobs), left);
        assert_eq!(
            read(blobs.draft(2, DraftState::Existing).unwrap().as_ref()),
            b"written"
        );
    }
    let empty = blobs.draft(3, DraftState::Existing).unwrap();
    assert!(empty.is_empty());
    empty.write_at(0, b"it goes on").unwrap();
}

fn recover(blobs: &dyn Blobs, id: u64, blob: Option<&Digest>, logged: Option<&[u8]>) {
    let blob = blob.copied();
    let pending = PendingDraft { id, blob, logged };
    blobs.recover(&[pending], false, &|_| false).unwrap();
}

/// Returns the numbers of all drafts, which are below 99 in these tests: none can be made anew.
fn drafts(blobs: &dyn Blobs) -> Vec<u64> {
    let is_there = |id: &u64| match blobs.draft(*id, DraftState::New) {
        Ok(_) => blobs.discard(*id).is_err(),
        Err(_) => true,
    };
    (0..99).filter(is_there).collect()
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn write(blobs: &dyn Blobs, id: u64, bytes: &[u8]) -> Arc<dyn Draft> {
    blobs.discard(id).unwrap();
    let draft = blobs.draft(id, DraftState::New).unwrap();
    draft.write_at(0, bytes).unwrap();
    draft
}

fn read(content: &dyn StoredBytes) -> Vec<u8> {
    let mut buffer = vec![0; usize::try_from(content.len()).unwrap() + 9];
    let read = content.read_at(0, &mut buffer).unwrap();
    buffer.truncate(read);
    buffer
}

fn wrong_bytes_are_never_published(blobs: &dyn Blobs) {
    let draft = write(blobs, 1, b"wrong");
    let refused = draft.publish(&sha256(b"right"), Vouched::default());
    assert!(matches!(refused, Err(BlobsError::Mismatch { size: 5, .. })));
    assert!(matches!(
        blobs.open(Area::Live, &sha256(b"right")),
        Err(BlobsError::Missing(_))
    ));
    draft.write_at(0, b"right").unwrap();
    assert_eq!(
        draft
            .publish(&sha256(b"right"), Vouched::default())
            .unwrap()
            .len,
        5
    );
}

fn what_is_published_can_be_read_and_not_changed(blobs: &dyn Blobs) {
    let draft = write(blobs, 1, b"layer");
    draft.sync().unwrap();
    draft.sync().unwrap();
    draft
        .publish(&sha256(b"layer"), Vouched::default())
        .unwrap();
    let content = blobs.open(Area::Live, &sha256(b"layer")).unwrap();
    assert_eq!(read(content.as_ref()), b"layer");
    assert_eq!(content.read_at(9, &mut [0; 9]).unwrap(), 0);
    assert!(matches!(
        draft.write_at(0, b"x"),
        Err(BlobsError::Published)
    ));
    assert!(matches!(draft.truncate(0), Err(BlobsError::Published)));
    assert_eq!(read(draft.as_ref()), b"layer");
    let empty = blobs.draft(2, DraftState::New).unwrap();
    assert_eq!(
        empty.publish(&sha256(b""), Vouched::default()).unwrap().len,
        0
    );
    assert!(blobs.open(Area::Live, &sha256(b"")).unwrap().is_empty());
}

fn a_blob_with_the_right_bytes_stays(blobs: &dyn Blobs) {
    let known = Vouched {
        known: true,
        ..Vouched::default()
    };
    for id in [1, 2] {
        let draft = write(blobs, id, b"same");
        assert_eq!(draft.publish(&sha256(b"same"), known).unwrap().len, 4);
        // The draft stays until it is discarded, and cannot be changed.
        assert_eq!(drafts(blobs), [id]);
        let written = draft.write_at(0, b"S");
        assert!(matches!(written, Err(BlobsError::Published)));
        blobs.discard(id).unwrap();
    }
    let draft = write(blobs, 3, b"other");
    assert!(draft.publish(&sha256(b"same"), Vouched::default()).is_err());
}

fn a_removed_blob_stays_readable_where_it_is_open(blobs: &dyn Blobs) {
    type RemoveFn = fn(&dyn Blobs, &Digest) -> Result<(), BlobsError>;
    let removals: [RemoveFn; 2] = [
        |blobs, digest| blobs.remove(Area::Live, digest, None),
        |blobs, digest| blobs.move_to(Area::Trash, digest),
    ];
    for removal in removals {
        let draft = write(blobs, 1, b"gone");
        draft.publish(&sha256(b"gone"), Vouched::default()).unwrap();
        let content = blobs.open(Area::Live, &sha256(b"gone")).unwrap();
        removal(blobs, &sha256(b"gone")).unwrap();
        assert_eq!(read(content.as_ref()), b"gone");
        assert!(blobs.open(Area::Live, &sha256(b"gone")).is_err());
        removal(blobs, &sha256(b"gone")).unwrap();
    }
}

fn a_list_is_in_the_order_of_digests_and_paged(blobs: &dyn Blobs) {
    let mut digests: Vec<Digest> = (0..20_u8).map(|n| sha256(&[n])).collect();
    for n in 0..20_u8 {
        write(blobs, n.into(), &[n])
            .publish(&sha256(&[n]), Vouched::default())
            .unwrap();
    }
    digests.sort_unstable();
    let all = blobs.list(Area::Live, None, 99).unwrap();
    assert_eq!(
        all.iter().map(|row| row.digest).collect::<Vec<_>>(),
        digests
    );
    assert!(all.iter().all(|row| row.len == 1));
    let page = blobs.list(Area::Live, Some(&digests[4]), 5).unwrap();
    assert_eq!(page, all[5..10]);
    for digest in &digests {
        blobs.move_to(Area::Trash, digest).unwrap();
    }
    assert!(blobs.list(Area::Live, None, 99).unwrap().is_empty());
    let page = blobs.list(Area::Trash, Some(&digests[4]), 5).unwrap();
    let page: Vec<Digest> = page.iter().map(|row| row.digest).collect();
    assert_eq!(page, digests[5..10]);
}

fn drafts_are_known_until_discarded(blobs: &dyn Blobs) {
    let draft = write(blobs, 4, b"staged");
    assert!(blobs.draft(4, DraftState::New).is_err());
    assert_eq!(
        read(blobs.draft(4, DraftState::Existing).unwrap().as_ref()),
        b"staged"
    );
    assert!(matches!(
        blobs.draft(5, DraftState::Existing),
        Err(BlobsError::MissingDraft(5))
    ));
    assert_eq!(drafts(blobs), [4]);
    blobs.discard(4).unwrap();
    blobs.discard(4).unwrap();
    assert!(drafts(blobs).is_empty());
    assert_eq!(read(draft.as_ref()), b"staged");
}

fn many_may_publish_the_same(blobs: &dyn Blobs) {
    std::thread::scope(|scope| {
        for id in 0..8 {
            scope.spawn(move || {
                let draft = write(blobs, id, b"popular");
                draft
                    .publish(&sha256(b"popular"), Vouched::default())
                    .unwrap();
            });
        }
    });
    assert_eq!(blobs.list(Area::Live, None, 9).unwrap().len(), 1);
}

fn other_algorithms_are_verified_too(blobs: &dyn Blobs) {
    let digest = Digest::of(Algorithm::Sha512, b"long");
    assert!(
        write(blobs, 1, b"short")
            .publish(&digest, Vouched::default())
            .is_err()
    );
    write(blobs, 2, b"long")
        .publish(&digest, Vouched::default())
        .unwrap();
    assert_eq!(
        read(blobs.open(Area::Live, &digest).unwrap().as_ref()),
        b"long"
    );
}

fn any_order_of_writes_hashes_right(blobs: &dyn Blobs) {
    let operation = prop_oneof![
        4 => (0..3_000_000_u64, 1..1_500_000_usize).prop_map(|(at, len)| (Some(at), len)),
        1 => (0..2_000_000_usize).prop_map(|len| (None, len)),
    ];
    let operations = prop::collection::vec(operation, 1..8);
    let id = std::cell::Cell::new(1000);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    let checked = runner.run(&operations, |operations| {
        id.set(id.get() + 1);
        let draft = blobs.draft(id.get(), DraftState::New).unwrap();
        let mut model = Vec::new();
        for (number, (at, len)) in (1_u8..).zip(operations) {
            match at {
                None => {
                    draft.truncate(len as u64).unwrap();
                    model.resize(len, 0);
                }
                Some(at) => {
                    let start = usize::try_from(at).unwrap();
                    draft.write_at(at, &vec![number; len]).unwrap();
                    model.resize(model.len().max(start + len), 0);
                    model[start..start + len].fill(number);
                }
            }
            if number % 2 == 0 {
                prop_assert_eq!(draft.digest(Algorithm::Sha256).unwrap(), sha256(&model));
            }
        }
        prop_assert_eq!(draft.len(), model.len() as u64);
        prop_assert_eq!(draft.digest(Algorithm::Sha256).unwrap(), sha256(&model));
        blobs.discard(id.get()).unwrap();
        Ok(())
    });
    checked.unwrap();
}
