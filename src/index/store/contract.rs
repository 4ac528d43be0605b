//! The contract of every store; the tests of each implementation call [`all`].

use super::*;

pub(crate) fn put(key: &[u8], value: &[u8]) -> WriteOp {
    WriteOp::Put(key.to_vec(), value.to_vec())
}

pub(crate) fn change(store: &dyn Store, changes: Vec<WriteOp>) {
    let batch = Batch {
        preconditions: vec![],
        changes,
        as_of: None,
    };
    assert_eq!(store.commit(batch).unwrap(), CommitOutcome::Committed);
}

fn keys(store: &dyn Store, from: &[u8], end: &[u8], limit: usize) -> Vec<Vec<u8>> {
    store
        .scan(from..end, limit)
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

/// Runs every check, each on a fresh store.
pub(crate) fn all(make: &dyn Fn() -> std::sync::Arc<dyn Store>) {
    for check in [
        a_commit_is_visible_when_it_returns,
        a_scan_is_ordered_bounded_and_exclusive_of_its_end,
        a_failed_precondition_changes_nothing,
        changes_apply_in_their_order,
        limits_are_enforced,
        no_number_is_allocated_twice,
        conflicting_writers_lose_nothing,
        a_snapshot_does_not_change_and_refuses_commits,
    ] {
        check(make().as_ref());
    }
}

fn a_commit_is_visible_when_it_returns(store: &dyn Store) {
    assert_eq!(store.get(b"a").unwrap(), None);
    change(store, vec![put(b"a", b"1"), put(b"b", b"")]);
    assert_eq!(store.get(b"a").unwrap().unwrap(), b"1");
    assert_eq!(store.get(b"b").unwrap().unwrap(), b"");
    store.sync().unwrap();
    store.sync().unwrap();
    assert_eq!(store.get(b"a").unwrap().unwrap(), b"1");
}

fn a_scan_is_ordered_bounded_and_exclusive_of_its_end(store: &dyn Store) {
    change(
        store,
        vec![
            put(b"b", b""),
            put(b"a", b""),
            put(b"ab", b""),
            put(b"c", b""),
        ],
    );
    assert_eq!(keys(store, b"a", b"c", 9), [&b"a"[..], b"ab", b"b"]);
    assert_eq!(keys(store, b"a", b"c", 2), [&b"a"[..], b"ab"]);
    assert_eq!(keys(store, b"a\0", b"\xff", 9), [&b"ab"[..], b"b", b"c"]);
    assert!(keys(store, b"d", b"e", 9).is_empty());
    assert!(keys(store, b"a", b"c", 0).is_empty());
}

fn a_failed_precondition_changes_nothing(store: &dyn Store) {
    change(store, vec![put(b"a", b"1")]);
    for precondition in [
        Precondition::Absent(b"a".to_vec()),
        Precondition::Equals(b"a".to_vec(), b"2".to_vec()),
        Precondition::Equals(b"b".to_vec(), b"".to_vec()),
        Precondition::Empty(b"a".to_vec()..b"b".to_vec()),
    ] {
        let batch = Batch {
            preconditions: vec![precondition],
            changes: vec![put(b"z", b"")],
            as_of: None,
        };
        assert!(matches!(
            store.commit(batch).unwrap(),
            CommitOutcome::Conflict(_)
        ));
        assert_eq!(store.get(b"z").unwrap(), None);
    }
    let preconditions = vec![
        Precondition::Absent(b"b".to_vec()),
        Precondition::Equals(b"a".to_vec(), b"1".to_vec()),
        Precondition::Empty(b"b".to_vec()..b"c".to_vec()),
    ];
    let batch = Batch {
        preconditions,
        changes: vec![put(b"z", b"")],
        as_of: None,
    };
    assert_eq!(store.commit(batch).unwrap(), CommitOutcome::Committed);
}

fn changes_apply_in_their_order(store: &dyn Store) {
    change(
        store,
        vec![put(b"a", b"1"), put(b"b", b"1"), put(b"c", b"1")],
    );
    let delete = |key: &[u8]| WriteOp::Delete(key.to_vec());
    change(
        store,
        vec![
            delete(b"a"),
            delete(b"b"),
            put(b"b", b"2"),
            put(b"d", b"1"),
            delete(b"d"),
            delete(b"c"),
        ],
    );
    assert_eq!(keys(store, b"a", b"z", 9), [b"b"]);
    assert_eq!(store.get(b"b").unwrap().unwrap(), b"2");
}

fn limits_are_enforced(store: &dyn Store) {
    let many = vec![WriteOp::Delete(b"a".to_vec()); BATCH_OPERATIONS_MAX + 1];
    let large = vec![put(b"a", &vec![0; BATCH_BYTES_MAX])];
    for changes in [many, large] {
        let refused = store.commit(Batch {
            preconditions: vec![],
            changes,
            as_of: None,
        });
        assert!(matches!(refused, Err(StoreError::BatchTooLarge { .. })));
    }
    let full = vec![put(b"a", b"1"); BATCH_OPERATIONS_MAX];
    change(store, full);
}

fn no_number_is_allocated_twice(store: &dyn Store) {
    assert_eq!(store.allocate(b"n", 3).unwrap(), 1..4);
    assert_eq!(store.allocate(b"n", 1).unwrap(), 4..5);
    assert_eq!(store.allocate(b"m", 1).unwrap(), 1..2);
}

fn a_snapshot_does_not_change_and_refuses_commits(store: &dyn Store) {
    change(store, vec![put(b"a", b"1"), put(b"b", b"1")]);
    let snapshot = store.snapshot().unwrap();
    let changes = vec![
        put(b"a", b"2"),
        put(b"c", b"2"),
        WriteOp::Delete(b"b".to_vec()),
    ];
    change(store, changes);
    store.sync().unwrap();
    assert_eq!(snapshot.get(b"a").unwrap().unwrap(), b"1");
    assert_eq!(snapshot.get(b"c").unwrap(), None);
    assert_eq!(keys(snapshot.as_ref(), b"a", b"z", 9), [b"a", b"b"]);
    assert_eq!(keys(store, b"a", b"z", 9), [b"a", b"c"]);
    let refused = snapshot.commit(Batch {
        preconditions: vec![],
        changes: vec![put(b"a", b"3")],
        as_of: None,
    });
    assert!(matches!(refused, Err(StoreError::Snapshot)));
    let again = snapshot.snapshot().unwrap();
    assert_eq!(again.get(b"a").unwrap().unwrap(), b"1");
}

fn conflicting_writers_lose_nothing(store: &dyn Store) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    store.allocate(b"n", 1).unwrap();
                }
            });
        }
    });
    assert_eq!(store.allocate(b"n", 1).unwrap(), 201..202);
}
