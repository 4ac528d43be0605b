//! Interrupted ingestions: whichever write is the last, the manifest is stored as a whole or not at
//! all, and can be stored afterwards.

use std::sync::Arc;

use regfs::blobs::{self, Blobs};
use regfs::digest::{Algorithm, Digest};
use regfs::index::{self, Store};
use regfs::layout::Node;
use regfs::name::{LinkSet, RepositoryName, Tag};
use regfs::registry::{
    Bytes, Destination, Error, INLINE_BYTES_MAX, Policy, ReferenceCheck, Registry, Removal, Schema1,
};

use super::table::{STOCK, bytes, filled, table};

/// Facts and bytes that outlive the registries over them.
struct Machine {
    facts: Arc<index::MemoryStore>,
    bytes: Arc<blobs::MemoryBlobs>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Killed: what was written to files is there, synced or not.
    Killed,
    /// With the power: what was not synced is gone.
    PowerCut,
}

/// Where writes begin to fail.
#[derive(Clone, Copy, Debug)]
enum Part {
    Facts,
    Bytes,
}

fn name() -> RepositoryName {
    "team/app".parse().unwrap()
}

fn tag() -> Tag {
    "v1".parse().unwrap()
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

impl Machine {
    /// A repository with a layer, and one manifest that says nothing of it.
    fn new() -> Self {
        let machine = Self {
            facts: Arc::default(),
            bytes: Arc::default(),
        };
        let registry = machine.open();
        let name = name();
        for directory in [
            Node::Namespace("team".parse().unwrap()),
            Node::Namespace(name.namespace().clone()),
            Node::Links(name.clone(), LinkSet::Layers),
            Node::Manifests(name.clone()),
        ] {
            registry.directories().make(&directory).unwrap();
        }
        registry
            .store_layer(&name, Bytes::Held(b"layer"), None)
            .unwrap();
        registry.sync().unwrap();
        machine
    }

    fn open(&self) -> Registry {
        self.open_with(ReferenceCheck::Require)
    }

    fn open_with(&self, references: ReferenceCheck) -> Registry {
        let facts: Arc<dyn Store> = Arc::clone(&self.facts) as _;
        let bytes: Arc<dyn Blobs> = Arc::clone(&self.bytes) as _;
        let policy = Policy {
            schema1: Schema1::Accept,
            references,
            removal: Removal::Guarded,
            ..Policy::default()
        };
        Registry::new(facts, bytes, policy).unwrap()
    }

    fn fail(&self, part: Part, n: u64) {
        match part {
            Part::Facts => self.facts.fail_after(n),
            Part::Bytes => self.bytes.fail_after(n),
        }
    }

    fn end(&self, end: End) {
        // Unsynced facts are only in memory: a kill loses them too.
        self.facts.crash();
        match end {
            End::Killed => self.bytes.heal(),
            End::PowerCut => self.bytes.crash(),
        }
    }
}

/// What is there of a manifest, by name.
fn present(registry: &Registry, digest: &Digest, signatures: &[Digest]) -> Vec<(String, bool)> {
    let name = name();
    let link = |set: &LinkSet, digest: &Digest| registry.queries().link(&name, set, digest).is_ok();
    let readable = |digest: &Digest| {
        registry.read_blob(digest).is_ok_and(|reading| {
            let mut bytes = vec![0; usize::try_from(reading.len()).unwrap()];
            reading.read_at(0, &mut bytes).unwrap();
            sha256(&bytes) == *digest
        })
    };
    let mut rows = vec![
        ("revision".to_owned(), link(&LinkSet::Revisions, digest)),
        (
            "tag index".to_owned(),
            link(&LinkSet::TagIndex(tag()), digest),
        ),
        (
            "tag".to_owned(),
            registry.queries().current(&name, &tag()).is_ok(),
        ),
        ("blob".to_owned(), readable(digest)),
        (
            "type".to_owned(),
            registry.queries().media_type(digest).unwrap().is_some(),
        ),
    ];
    for signature in signatures {
        let set = LinkSet::Signatures(*digest);
        rows.push((format!("signature {signature}"), link(&set, signature)));
        rows.push((format!("bytes of {signature}"), readable(signature)));
    }
    rows
}

/// Every document, with the digest under which it is stored, its signatures, and how many
/// things it names.
fn documents() -> Vec<(Vec<u8>, Digest, Vec<Digest>, usize)> {
    let artifact = filled(
        r#"{"schemaVersion":2,"mediaType":"@M","artifactType":"application/vnd.example","config":{"mediaType":"@E","digest":"@c","size":2},"layers":[@L],"subject":@N}"#,
    );
    let signed = bytes("schema1/two.json");
    let policy = Policy {
        schema1: Schema1::Accept,
        ..Policy::default()
    };
    [artifact.into_bytes(), signed, large()]
        .into_iter()
        .map(|document| {
            let manifest = policy.validate(&document).unwrap();
            let digest = manifest.digest(&document, Algorithm::Sha256);
            let signatures = manifest.signatures().iter().map(|one| sha256(one));
            let (signatures, named) = (signatures.collect(), manifest.references().len());
            (document, digest, signatures, named)
        })
        .collect()
}

/// A manifest that names more than fits into one transaction.
fn large() -> Vec<u8> {
    let layers = vec![filled("@L"); 450].join(",");
    let stock = filled(STOCK).replace(&filled("@L"), &layers);
    let empty = filled(r#"{"mediaType":"@E","digest":"@c","size":2}"#);
    stock.replace(&filled("@C"), &empty).into_bytes()
}

/// Ingests with the n-th write failing; whether it failed.
fn cut(document: &(Vec<u8>, Digest, Vec<Digest>, usize), part: Part, n: u64, end: End) -> bool {
    let (document, digest, signatures, named) = document;
    let machine = Machine::new();
    let registry = machine.open();
    machine.fail(part, n);
    let destination = Destination {
        tag: Some(tag()),
        digest: None,
    };
    let ingest = |registry: &Registry| -> Result<(), Error> {
        registry.ingest(&name(), document, &destination)?;
        registry.sync()
    };
    let failed = ingest(&registry).is_err();
    drop(registry);
    machine.end(end);
    let registry = machine.open();
    let there = present(&registry, digest, signatures);
    let count = there.iter().filter(|(_, is)| *is).count();
    let whole = count == there.len();
    assert!(whole || count == 0, "{part:?} {n} {end:?}: {there:?}");
    assert!(
        whole || failed,
        "{part:?} {n} {end:?}: acknowledged and lost"
    );
    ingest(&registry).unwrap();
    let again = present(&registry, digest, signatures);
    assert!(
        again.iter().all(|(_, is)| *is),
        "{part:?} {n} {end:?}: {again:?}"
    );
    let known = registry.queries().references(digest).unwrap();
    assert_eq!(known.len(), *named, "{part:?} {n} {end:?}");
    failed
}

/// A dropped manifest is stored whole or not at all, wherever a failure stops it.
#[test]
fn an_ingestion_cut_off_at_any_write_is_whole_or_nothing() {
    let mut cuts = 0;
    for document in &documents() {
        for part in [Part::Facts, Part::Bytes] {
            for end in [End::Killed, End::PowerCut] {
                let failing = (1..1_000).take_while(|n| cut(document, part, *n, end));
                let failing = failing.count();
                // Small blobs are written in the transaction of the facts.
                let files = document.0.len() > INLINE_BYTES_MAX;
                let expected = matches!(part, Part::Facts) || files;
                assert_eq!(failing > 1, expected, "{part:?} {end:?}: {failing} writes");
                cuts += failing;
            }
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 30, "{cuts}");
}

#[test]
fn what_every_valid_manifest_names_is_known() {
    let machine = Machine::new();
    let registry = machine.open_with(ReferenceCheck::Skip);
    for row in table("valid.txt") {
        let document = row[2].as_bytes();
        let ingested = registry.ingest(&name(), document, &Destination::default());
        let known = registry
            .queries()
            .references(&ingested.unwrap().digest)
            .unwrap();
        let known: Vec<_> = known
            .into_iter()
            // A reference of an index counts as a blob if it is one in this repository.
            .map(|(role, digest)| (if role == "blob" { "manifest" } else { role }, digest))
            .map(|(role, digest)| format!("{role} {digest}"))
            .collect();
        // A digest of an unsupported algorithm cannot be recorded.
        let expected = row[1]
            .split_whitespace()
            .filter(|one| !one.contains(":blake3:"));
        let expected = expected.map(|one| {
            let mut parts = one.splitn(3, ':');
            let role = parts.next().unwrap().to_owned();
            let digest = parts.nth(1).unwrap().rsplit_once(':').unwrap().0;
            format!("{role} {digest}")
        });
        assert_eq!(known, expected.collect::<Vec<_>>(), "{}", row[2]);
    }
}

#[test]
fn what_a_manifest_names_is_forgotten_with_it() {
    let machine = Machine::new();
    let registry = machine.open();
    let layer = sha256(b"layer");
    for (document, digest, _, named) in &documents() {
        let destination = Destination::default();
        registry.ingest(&name(), document, &destination).unwrap();
        assert_eq!(registry.queries().references(digest).unwrap().len(), *named);
        assert!(matches!(
            registry.remove_blob(&layer),
            Err(Error::Referenced { .. })
        ));
        registry
            .links()
            .remove(&name(), &LinkSet::Revisions, digest)
            .unwrap();
        registry.remove_blob(digest).unwrap();
        assert!(registry.queries().references(digest).unwrap().is_empty());
        assert_eq!(registry.queries().media_type(digest).unwrap(), None);
    }
    // Nothing references the layer any more.
    assert_eq!(registry.queries().kind(&layer).unwrap(), Some("blob"));
    registry.remove_blob(&layer).unwrap();
}

#[test]
fn what_a_manifest_names_is_learnt_whichever_comes_first_link_or_bytes() {
    let machine = Machine::new();
    let registry = machine.open();
    let document = filled(STOCK).replace(&filled("@c"), &sha256(b"layer").to_string());
    let digest = sha256(document.as_bytes());
    let name = name();
    for directory in [
        Node::Links(name.clone(), LinkSet::Revisions),
        Node::LinksAlgorithm(name.clone(), LinkSet::Revisions, Algorithm::Sha256),
        Node::LinkDirectory(name.clone(), LinkSet::Revisions, digest),
    ] {
        registry.directories().make(&directory).unwrap();
    }
    let finding = registry
        .links()
        .set(&name, &LinkSet::Revisions, &digest, &digest);
    let finding = finding.unwrap().unwrap().to_string();
    assert!(finding.contains("stored first"), "{finding}");
    assert!(registry.queries().references(&digest).unwrap().is_empty());
    registry
        .publish(Bytes::Held(document.as_bytes()), &digest)
        .unwrap();
    assert_eq!(registry.queries().references(&digest).unwrap().len(), 2);
}
