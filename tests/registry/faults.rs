//! Faults: the n-th write fails, for every n. After a crash everything acknowledged is there,
//! nothing incomplete is visible, and the bytes of every fact match its digest.

use std::sync::Arc;

use regfs::blobs::{self, Blobs};
use regfs::digest::{Algorithm, Digest};
use regfs::index::{self, Store};
use regfs::layout::Node;
use regfs::maintenance::{Progress, Severity};
use regfs::name::{LinkSet, RepositoryName, Tag, UploadId};
use regfs::registry::{Bytes, Destination, Error, Policy, Registry};

/// More than the index keeps of one blob.
static LAYER: [u8; 20_000] = [1; 20_000];
static UPLOADED: [u8; 20_000] = [2; 20_000];

/// What was acknowledged: done, and a sync after it.
#[derive(Default)]
pub(crate) struct Acknowledged {
    pub(crate) blobs: Vec<Digest>,
    pub(crate) links: Vec<(LinkSet, Digest)>,
    pub(crate) tags: Vec<(Tag, Digest)>,
    pub(crate) removed: Vec<Digest>,
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn name() -> RepositoryName {
    "team/app".parse().unwrap()
}

/// What it is called for a moment.
fn moved() -> RepositoryName {
    "other/place/app".parse().unwrap()
}

/// What it is called now: one of both.
fn name_now(registry: &Registry) -> RepositoryName {
    let there = |name: &RepositoryName| {
        let directory = Node::Namespace(name.namespace().clone());
        registry.queries().directory(&directory).unwrap().is_some()
    };
    assert!(!there(&name()) || !there(&moved()), "it is in two places");
    if there(&moved()) { moved() } else { name() }
}

/// Gives it another name, with all that is in it, and its own again.
fn relocate(registry: &Registry) -> Result<(), Error> {
    let [from, to] = ["team", "other/place"].map(|name| name.parse().unwrap());
    for above in ["other", "other/place"] {
        match registry
            .directories()
            .make(&Node::Namespace(above.parse().unwrap()))
        {
            Err(Error::Exists) => {}
            made => made?,
        }
    }
    registry.directories().rename(&from, &to)?;
    registry.sync()?;
    registry.directories().rename(&to, &from)?;
    registry.sync()
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn upload() -> UploadId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
}

/// What is uploaded, and removed in the end.
pub(crate) fn uploaded() -> Digest {
    sha256(&UPLOADED)
}

fn manifest(note: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"a/b","digest":"{}","size":2}},"layers":[{{"mediaType":"a/b","digest":"{}","size":20000}}],"annotations":{{"note":"{note}"}}}}"#,
        sha256(b"{}"),
        sha256(&LAYER)
    )
}

/// Does everything that a registry's storage goes through, until something fails.
pub(crate) fn live(registry: &Registry, done: &mut Acknowledged) -> Result<(), Error> {
    let name = name();
    let make = |directory: Node| registry.directories().make(&directory);
    if name_now(registry) == moved() {
        let [from, to] = ["other/place", "team"].map(|name| name.parse().unwrap());
        registry.directories().rename(&from, &to)?;
    }
    make(Node::Namespace("team".parse().unwrap()))?;
    make(Node::Namespace(name.namespace().clone()))?;
    make(Node::Links(name.clone(), LinkSet::Layers))?;
    make(Node::Manifests(name.clone()))?;
    make(Node::Tags(name.clone()))?;
    for bytes in [&b"{}"[..], &LAYER] {
        let (digest, _) = registry.store_layer(&name, Bytes::Held(bytes), None)?;
        registry.sync()?;
        done.blobs.push(digest);
        done.links.push((LinkSet::Layers, digest));
    }
    for (note, label) in [("one", "v1"), ("two", "v1"), ("two", "v2")] {
        let destination = Destination {
            tag: Some(tag(label)),
            digest: None,
        };
        let ingested = registry.ingest(&name, manifest(note).as_bytes(), &destination)?;
        registry.sync()?;
        done.blobs.push(ingested.digest);
        done.links.push((LinkSet::Revisions, ingested.digest));
        done.links
            .push((LinkSet::TagIndex(tag(label)), ingested.digest));
        done.tags.retain(|(known, _)| known.as_str() != label);
        done.tags.push((tag(label), ingested.digest));
    }
    make(Node::Uploads(name.clone()))?;
    make(Node::Upload(name.clone(), upload()))?;
    registry
        .uploads()
        .set_started_at(&name, &upload(), b"2026-01-01T00:00:00Z")?;
    registry
        .uploads()
        .create_data(&name, &upload())?
        .write_at(0, &UPLOADED)?;
    let digest = sha256(&UPLOADED);
    make(Node::BlobDirectory(digest)).or_else(|_| {
        let shard = Node::BlobShard(Algorithm::Sha256, digest.shard());
        make(shard)?;
        make(Node::BlobDirectory(digest))
    })?;
    registry.publish_upload(&name, &upload(), &digest)?;
    registry.sync()?;
    done.blobs.push(digest);
    relocate(registry)?;
    move_and_remove(registry, done)?;
    registry.remove_blob(&digest)?;
    registry.sync()?;
    done.blobs.retain(|known| *known != digest);
    done.removed.push(digest);
    Ok(())
}

/// The rest of what registries do: links and tags written by hand, notes, removals.
fn move_and_remove(registry: &Registry, done: &mut Acknowledged) -> Result<(), Error> {
    let name = name();
    let one = sha256(manifest("one").as_bytes());
    let make = |directory: Node| match registry.directories().make(&directory) {
        Err(Error::Exists) => Ok(()),
        made => made,
    };
    let other = tag("v3");
    let index = LinkSet::TagIndex(other.clone());
    make(Node::Tag(name.clone(), other.clone()))?;
    make(Node::Current(name.clone(), other.clone()))?;
    make(Node::Links(name.clone(), index.clone()))?;
    make(Node::LinksAlgorithm(
        name.clone(),
        index.clone(),
        Algorithm::Sha256,
    ))?;
    make(Node::LinkDirectory(name.clone(), index.clone(), one))?;
    registry.links().set(&name, &index, &one, &one)?;
    registry.links().set_current(&name, &other, &one)?;
    registry.sync()?;
    done.links.push((index.clone(), one));
    make(Node::HashStates(name.clone(), upload()))?;
    make(Node::HashStatesAlgorithm(
        name.clone(),
        upload(),
        Algorithm::Sha256,
    ))?;
    registry
        .uploads()
        .set_hash_state(&name, &upload(), Algorithm::Sha256, 7, b"state")?;
    registry
        .uploads()
        .remove_hash_state(&name, &upload(), Algorithm::Sha256, 7)?;
    registry.uploads().remove_started_at(&name, &upload())?;
    registry.directories().remove(&Node::HashStatesAlgorithm(
        name.clone(),
        upload(),
        Algorithm::Sha256,
    ))?;
    registry
        .directories()
        .remove(&Node::HashStates(name.clone(), upload()))?;
    registry
        .directories()
        .remove(&Node::Upload(name.clone(), upload()))?;
    // From here on the link may exist or not.
    done.links.retain(|(set, _)| *set != index);
    registry.links().remove_current(&name, &other)?;
    registry.links().remove(&name, &index, &one)?;
    registry
        .directories()
        .remove(&Node::LinkDirectory(name.clone(), index, one))?;
    registry.sync()?;
    let gone = registry.queries().current(&name, &other);
    assert!(matches!(gone, Err(Error::Missing)));
    Ok(())
}

/// After a crash: what was acknowledged is there, and nothing is half there.
pub(crate) fn check(registry: &Registry, done: &Acknowledged, maybe_removed: &Digest) {
    let whole = |digest: &Digest| {
        let reading = registry.read_blob(digest).unwrap();
        let mut bytes = vec![0; usize::try_from(reading.len()).unwrap()];
        reading.read_at(0, &mut bytes).unwrap();
        assert_eq!(Digest::of(digest.algorithm(), &bytes), *digest);
    };
    for digest in done.blobs.iter().filter(|digest| *digest != maybe_removed) {
        whole(digest);
    }
    let found = regfs::maintenance::check(registry, &Progress::default()).unwrap();
    for one in &found.findings {
        let text = format!("{:?} {} {}", one.fault, one.subject, one.detail);
        assert!(one.fault.severity() == Severity::Note, "{text}");
    }
    let name = name_now(registry);
    for (set, digest) in &done.links {
        assert_eq!(
            registry.queries().link(&name, set, digest).unwrap().0,
            *digest,
            "{set:?}"
        );
    }
    for digest in &done.removed {
        assert!(matches!(registry.read_blob(digest), Err(Error::Missing)));
    }
    for (label, digest) in &done.tags {
        let (current, _) = registry.queries().current(&name, label).unwrap();
        let newer = sha256(manifest("two").as_bytes());
        assert!(current == *digest || current == newer, "{label}");
    }
    for label in ["v1", "v2"] {
        let Ok((current, _)) = registry.queries().current(&name, &tag(label)) else {
            continue;
        };
        whole(&current);
        for set in [LinkSet::Revisions, LinkSet::TagIndex(tag(label))] {
            assert_eq!(
                registry.queries().link(&name, &set, &current).unwrap().0,
                current
            );
        }
    }
    for shard in registry
        .queries()
        .pages()
        .blob_shards(Algorithm::Sha256)
        .unwrap()
    {
        for (digest, _) in registry
            .queries()
            .pages()
            .blobs(Algorithm::Sha256, shard, None, 99)
            .unwrap()
        {
            if registry.queries().blob(&digest).is_ok() {
                whole(&digest);
            }
        }
    }
}

/// Runs a life in which `arm` makes the n-th write fail; whether any did.
fn fail(arm: impl Fn(&index::MemoryStore, &blobs::MemoryBlobs, u64), n: u64) -> bool {
    let (store, bytes) = (
        Arc::new(index::MemoryStore::default()),
        Arc::new(blobs::MemoryBlobs::default()),
    );
    let open = || {
        let store: Arc<dyn Store> = Arc::clone(&store) as _;
        let bytes: Arc<dyn Blobs> = Arc::clone(&bytes) as _;
        Registry::new(store, bytes, Policy::default()).unwrap()
    };
    let mut done = Acknowledged::default();
    let registry = open();
    arm(&store, &bytes, n);
    let failed = live(&registry, &mut done).is_err();
    drop(registry);
    store.crash();
    bytes.crash();
    let registry = open();
    check(&registry, &done, &sha256(&UPLOADED));
    // Every operation can be repeated, however far it came.
    let mut again = Acknowledged::default();
    match live(&registry, &mut again) {
        Ok(()) => {}
        Err(Error::Exists) => assert!(failed || n > 0),
        Err(error) => panic!("after the fault: {error}"),
    }
    failed
}

#[test]
fn any_failed_write_of_facts_loses_nothing_acknowledged() {
    let faults = (1..1_000)
        .take_while(|n| fail(|store, _, n| store.fail_after(n), *n))
        .count();
    assert!(faults > 20, "{faults} writes");
    println!("{faults} faults in the index");
}

#[test]
fn any_failed_write_of_bytes_loses_nothing_acknowledged() {
    // Some faults are not reported: staged bytes that nothing needs may stay.
    let faults = (1..60)
        .filter(|n| fail(|_, bytes, n| bytes.fail_after(n), *n))
        .count();
    assert!(faults > 7, "{faults} writes");
    println!("{faults} faults in the blobs");
}
