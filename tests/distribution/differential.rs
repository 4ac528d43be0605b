//! The same requests on a plain disk and on the mount: the same responses and the same trees.

use std::collections::BTreeSet;

use super::normal;
use super::registry::Version;
use super::root::Root;
use super::script::{Transcript, Walk};

fn walk(version: Version, root: &Root, cache: &Root) -> Transcript {
    let mut walk = Walk::new(version, root);
    walk.uploads();
    walk.blobs();
    walk.manifests();
    walk.listings();
    walk.read_only();
    walk.pull_through(cache);
    walk.deletions();
    walk.transcript
}

/// What differs between two transcripts, phase by phase.
fn differences(plain: &Transcript, mounted: &Transcript) -> Vec<String> {
    assert_eq!(plain.len(), mounted.len());
    let mut found = Vec::new();
    for ((name, plain), (_, mounted)) in plain.iter().zip(mounted) {
        if name.starts_with("tree") {
            let set = |rows: &[String]| rows.iter().cloned().collect::<BTreeSet<_>>();
            let rows = normal::difference(&set(plain), &set(mounted));
            found.extend(rows.into_iter().map(|row| format!("{name}: {row}")));
            continue;
        }
        for (plain, mounted) in plain.iter().zip(mounted).filter(|(a, b)| a != b) {
            found.push(format!(
                "{name}:\n--- plain disk\n{plain}\n--- mount\n{mounted}"
            ));
        }
        if plain.len() != mounted.len() {
            found.push(format!("{name}: {plain:#?}\n{mounted:#?}"));
        }
    }
    found
}

fn compare(version: Version) {
    let plain = walk(version, &Root::plain(), &Root::plain());
    let mounted = walk(version, &Root::mounted(), &Root::mounted());
    let found = differences(&plain, &mounted);
    assert!(
        found.is_empty(),
        "{version:?}: {} differences\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Distribution 2.8 gives the same answers and leaves the same tree as on a plain disk.
#[test]
fn distribution_2_8_behaves_as_on_a_plain_disk() {
    compare(Version::V2_8);
}

/// Distribution 3.0 gives the same answers and leaves the same tree as on a plain disk.
#[test]
fn distribution_3_0_behaves_as_on_a_plain_disk() {
    compare(Version::V3_0);
}

/// Distribution 3.1 gives the same answers and leaves the same tree as on a plain disk.
#[test]
fn distribution_3_1_behaves_as_on_a_plain_disk() {
    compare(Version::V3_1);
}

#[test]
fn two_plain_disks_do_not_differ_and_a_changed_one_is_told() {
    let (one, two) = (Root::plain(), Root::plain());
    let first = walk(Version::V3_1, &one, &Root::plain());
    let second = walk(Version::V3_1, &two, &Root::plain());
    assert_eq!(differences(&first, &second), Vec::<String>::new());
    let mut changed = first.clone();
    let (_, tree) = changed
        .iter_mut()
        .rev()
        .find(|(name, _)| name.starts_with("tree"))
        .unwrap();
    let link = tree
        .iter_mut()
        .find(|row| row.contains("/current/link"))
        .unwrap();
    *link = link.replace("sha256:", "sha256:0");
    assert_eq!(differences(&first, &changed).len(), 2);
    let mut changed = first.clone();
    changed[0].1[3].push('x');
    assert_eq!(differences(&first, &changed).len(), 1);
}
