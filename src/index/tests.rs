//! Tests of the typed facts, on both stores.

use super::*;
use crate::digest::Algorithm;
use crate::name::{LinkSet, Namespace, Tag, UploadId};

fn stores(check: impl Fn(&Index)) {
    check(&Index::new(Arc::new(MemoryStore::default())));
    let directory = tempfile::tempdir().unwrap();
    let dir = Dir::open(directory.path()).unwrap();
    check(&Index::new(Arc::new(
        Redb::open(&dir, "index.redb").unwrap(),
    )));
}

fn sha256(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

fn name(text: &str) -> Namespace {
    text.parse().unwrap()
}

/// Creates a repository and returns its id.
fn make(index: &Index, text: &str) -> RepositoryId {
    index
        .transact(|facts| {
            facts
                .repositories()
                .put(&name(text), RepositoryDirectories::LAYERS)?;
            Ok::<_, IndexError>(facts.repositories().get(&name(text))?.unwrap().id)
        })
        .unwrap()
}

#[test]
fn names_below_a_name_are_listed_once_each_and_in_order() {
    stores(|index| {
        for text in ["a/b/c", "a/b", "a/b-c/d", "a/x", "b", "a.b/c"] {
            make(index, text);
        }
        let list = |parent: Option<&str>, last, limit| {
            index
                .list()
                .namespaces(parent.map(name).as_ref(), last, limit)
                .unwrap()
        };
        assert_eq!(list(None, None, 9), ["a", "a.b", "b"]);
        assert_eq!(list(Some("a"), None, 9), ["b", "b-c", "x"]);
        assert_eq!(list(Some("a"), Some("b"), 1), ["b-c"]);
        assert_eq!(list(Some("a"), Some("bb"), 9), ["x"]);
        assert_eq!(list(Some("a/b"), None, 9), ["c"]);
        assert!(list(Some("b"), None, 9).is_empty());
        let all = index.list().repositories(None, 9).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!(all[0].0.as_str(), "a/b");
        assert_eq!(
            index.list().repositories(Some(&all[0].0), 1).unwrap()[0]
                .0
                .as_str(),
            "a/b/c"
        );
    });
}

#[test]
fn links_are_listed_by_digest_and_name_their_target() {
    stores(|index| {
        let repository = make(index, "a");
        let mut digests: Vec<Digest> = (0..30).map(|n| sha256(&n.to_string())).collect();
        for digest in &digests {
            let link = Link::Linked {
                target: sha256("other"),
                pushed: 7,
            };
            index
                .transact(|facts| {
                    facts
                        .links()
                        .put(repository, &LinkSet::Layers, digest, &link)
                })
                .unwrap();
        }
        digests.sort_unstable();
        let list = |last: Option<&Digest>, limit| {
            let set = LinkSet::Layers;
            index
                .list()
                .links(repository, &set, Algorithm::Sha256, last, limit)
                .unwrap()
        };
        let all = list(None, 99);
        assert_eq!(
            all.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(),
            digests
        );
        assert_eq!(
            all[3].1,
            Link::Linked {
                target: sha256("other"),
                pushed: 7
            }
        );
        assert_eq!(list(Some(&digests[9]), 2), all[10..12]);
        index
            .transact(|facts| {
                facts
                    .links()
                    .remove(repository, &LinkSet::Layers, &digests[9])
            })
            .unwrap();
        assert_eq!(list(Some(&digests[9]), 2), all[10..12]);
        assert_eq!(list(None, 99).len(), 29);
        assert!(
            index
                .list()
                .links(repository, &LinkSet::Revisions, Algorithm::Sha256, None, 9)
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn tags_are_listed_in_the_order_of_their_bytes() {
    stores(|index| {
        let repository = make(index, "a");
        let other = make(index, "b");
        let mut tags = ["v1", "v1.0", "v1-a", "V1", "_", "v", "v10", "a"];
        for tag in tags {
            let record = TagRecord {
                current: Some((sha256(tag), 1)),
                ..TagRecord::default()
            };
            let put =
                |at| index.transact(|facts| facts.tags().put(at, &tag.parse().unwrap(), &record));
            put(repository).unwrap();
            put(other).unwrap();
        }
        tags.sort_unstable();
        let all = index.list().tags(repository, None, 99).unwrap();
        assert_eq!(
            all.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(),
            tags
        );
        assert_eq!(all[0].1.current, Some((sha256(tags[0]), 1)));
        let page = index.list().tags(repository, Some(&all[2].0), 2).unwrap();
        assert_eq!(page, all[3..5]);
        let names = index
            .list()
            .tags_with_ids(repository, Some(&all[2].0), 2)
            .unwrap();
        for ((name, stored), (tag, record)) in names.iter().zip(&page) {
            let (id, pushed) = stored.current.unwrap();
            let digest = index.digest(id).unwrap();
            assert_eq!((name, Some((digest, pushed))), (tag, record.current));
        }
        assert_eq!(names.len(), 2);
        let gone = "v1+".replace('+', "_gone").parse().unwrap();
        assert_eq!(
            index.list().tags(repository, Some(&gone), 9).unwrap().len(),
            0
        );
    });
}

#[test]
fn the_holders_and_referrers_of_a_manifest_are_known() {
    stores(|index| {
        let repository = make(index, "a");
        let (manifest, layer) = (sha256("manifest"), sha256("layer"));
        let link = Link::Linked {
            target: manifest,
            pushed: 1,
        };
        let put = |link| {
            index.transact(|facts| {
                facts
                    .links()
                    .put(repository, &LinkSet::Revisions, &manifest, link)
            })
        };
        assert!(!index.is_revision(&manifest).unwrap());
        put(&link).unwrap();
        assert!(index.is_revision(&manifest).unwrap());
        put(&Link::Directory).unwrap();
        assert!(!index.is_revision(&manifest).unwrap());
        index
            .transact(|facts| {
                facts.manifests().put_edges(
                    &manifest,
                    0,
                    &[(EdgeRole::Layer, layer), (EdgeRole::Config, layer)],
                )?;
                facts.manifests().put(&manifest, "a/b")
            })
            .unwrap();
        assert_eq!(
            index
                .view()
                .manifests()
                .media_type(&manifest)
                .unwrap()
                .as_deref(),
            Some("a/b")
        );
        assert_eq!(
            index.referenced_by(&layer, &[EdgeRole::Layer]).unwrap(),
            [manifest]
        );
        assert_eq!(
            index
                .referenced_by(&layer, &[EdgeRole::Layer, EdgeRole::Config])
                .unwrap()
                .len(),
            2
        );
        index
            .transact(|facts| {
                facts.manifests().remove(&manifest)?;
                facts.manifests().remove_edges(&manifest)
            })
            .unwrap();
        assert!(
            index
                .referenced_by(&layer, &[EdgeRole::Layer, EdgeRole::Config])
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn a_transaction_is_retried_after_a_conflict() {
    stores(|index| {
        let repository = make(index, "a");
        let tag: Tag = "v1".parse().unwrap();
        let mut tries = 0;
        index
            .transact(|facts| {
                tries += 1;
                let found = facts.tags().get(repository, &tag)?;
                if tries == 1 {
                    let record = TagRecord {
                        current: Some((sha256("x"), 1)),
                        ..TagRecord::default()
                    };
                    index.transact(|others| others.tags().put(repository, &tag, &record))?;
                }
                assert_eq!(found.is_some(), tries > 1);
                facts.tags().put(repository, &tag, &TagRecord::default())
            })
            .unwrap();
        assert_eq!(tries, 2);
    });
}

#[test]
fn a_required_empty_range_is_empty_at_the_commit() {
    stores(|index| {
        let repository = make(index, "a");
        let tag: Tag = "v1".parse().unwrap();
        let mut tries = 0;
        let empty = index
            .transact(|facts| {
                tries += 1;
                let empty = facts.tags().require_none(repository)?;
                if tries == 1 {
                    index.transact(|others| {
                        others.tags().put(repository, &tag, &TagRecord::default())
                    })?;
                }
                facts
                    .repositories()
                    .put(&name("a"), RepositoryDirectories::TAGS)?;
                Ok::<_, IndexError>(empty)
            })
            .unwrap();
        assert_eq!((tries, empty), (2, false));
    });
}

#[test]
fn uploads_and_hash_states_are_read_as_written() {
    stores(|index| {
        let repository = make(index, "a");
        let id: UploadId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let upload = Upload {
            has_data: true,
            staging: 7,
            started_at: Some(b"2026".to_vec()),
            updated: 9,
            ..Upload::default()
        };
        let upload = upload.with_hash_states_directory(Algorithm::Sha512);
        index
            .transact(|facts| facts.uploads().put(repository, &id, &upload))
            .unwrap();
        assert_eq!(
            index.list().uploads(repository, None, 9).unwrap(),
            [(id, upload)]
        );
        assert!(
            index
                .list()
                .uploads(repository, Some(&id), 9)
                .unwrap()
                .is_empty()
        );
        let state = (5, &b"state"[..]);
        index
            .transact(|facts| {
                facts
                    .uploads()
                    .put_hash_state(repository, &id, Algorithm::Sha256, 300, state)
            })
            .unwrap();
        let states = index
            .list()
            .hash_states(repository, &id, Algorithm::Sha256)
            .unwrap();
        assert_eq!(states, [(300, 5, 5)]);
    });
}
