//! Checking blobs: facts against files, and small blobs against their digests.

use super::blob_files::BlobFiles;
use super::{FsckFinding, FsckRun, LISTED_MAX, RepairAction, StoreFault};
use crate::blobs::Area;
use crate::digest::Digest;
use crate::index::DigestId;
use crate::manifest::{Requirement, parse_lenient};
use crate::name::RepositoryName;
use crate::registry::{Error, stored_manifest};

/// The description of bytes that do not have their digest.
const WRONG_BYTES: &str = "its bytes do not have its digest";

/// The differences between the blobs of the index and the files.
#[derive(Default)]
struct FileDifferences {
    /// Files that no fact names.
    extra: Vec<Digest>,
    /// Blobs without a file.
    missing: Vec<Digest>,
    /// Blobs whose file has another length: with that of the file and that of the index.
    wrong_len: Vec<(Digest, u64, u64)>,
    /// Blobs that are marked as damaged.
    damaged: Vec<Digest>,
}

impl FsckRun<'_> {
    /// Checks blobs that are files.
    pub(super) fn check_files(&mut self) -> Result<(), Error> {
        let differences = self.compare_files()?;
        for digest in &differences.missing {
            self.check_missing(digest)?;
        }
        for (digest, len, size) in &differences.wrong_len {
            let detail = format!("its file has {len} bytes instead of {size}");
            let action = RepairAction::MoveToTrash(*digest);
            self.add_blob_finding(StoreFault::BlobSize, digest, detail, action)?;
        }
        for digest in &differences.damaged {
            let action = RepairAction::MoveToTrash(*digest);
            self.add_blob_finding(StoreFault::BlobDamaged, digest, WRONG_BYTES, action)?;
        }
        for digest in &differences.extra {
            self.check_extra(digest)?;
        }
        Ok(())
    }

    /// Compares the blobs of the snapshot with the files, both in the order of digests.
    fn compare_files(&mut self) -> Result<FileDifferences, Error> {
        let index = self.snapshot.index();
        let mut files = BlobFiles::of(self.registry.blobs());
        let (mut differences, mut digests) = (FileDifferences::default(), 0);
        index.each_blob(|digest, blob| {
            digests += 1;
            if !blob.present || blob.inline {
                return Ok::<_, Error>(());
            }
            if blob.damaged {
                differences.damaged.push(digest);
            }
            while let Some((file, _)) = files.peek()?.filter(|(file, _)| *file < digest) {
                differences.extra.push(file);
                files.advance();
            }
            match files.peek()?.filter(|(file, _)| *file == digest) {
                Some((_, len)) => {
                    files.advance();
                    if len != blob.size {
                        differences.wrong_len.push((digest, len, blob.size));
                    }
                }
                None => differences.missing.push(digest),
            }
            Ok(())
        })?;
        while let Some((file, _)) = files.peek()? {
            differences.extra.push(file);
            files.advance();
        }
        self.report.digests = digests;
        Ok(differences)
    }

    /// Returns two answers, taken under the digest's lock: `true` if a fact says that the blob is a
    /// file, and `true` if that file can be opened.
    fn fact_and_file(&self, digest: &Digest) -> Result<(bool, bool), Error> {
        let locked = self.registry.lock_blob(digest);
        let fact = locked.record()?.is_some_and(|blob| !blob.inline);
        let file = self.registry.blobs().open(Area::Live, digest).is_ok();
        Ok((fact, file))
    }

    /// Adds a finding if a blob without a file still has none.
    fn check_missing(&mut self, digest: &Digest) -> Result<(), Error> {
        if self.fact_and_file(digest)? != (true, false) {
            return Ok(());
        }
        let action = RepairAction::RestoreOrForget(*digest);
        self.add_blob_finding(
            StoreFault::BlobMissing,
            digest,
            "its file is missing",
            action,
        )
    }

    /// Adds a finding if a file that no fact names is still there, and still without a fact.
    fn check_extra(&mut self, digest: &Digest) -> Result<(), Error> {
        if self.fact_and_file(digest)? != (false, true) {
            return Ok(());
        }
        let action = RepairAction::AdoptFile(*digest);
        self.add_blob_finding(
            StoreFault::BlobWithoutFact,
            digest,
            "no fact names its file",
            action,
        )
    }

    /// Reads and checks blobs that are stored in the index.
    pub(super) fn check_inline(&mut self) -> Result<(), Error> {
        let index = self.snapshot.index();
        let mut wrong = Vec::new();
        for id in self.census.without_bytes() {
            wrong.push((index.digest(id)?, "its bytes are missing"));
        }
        for id in self.census.with_bytes() {
            let digest = index.digest(id)?;
            let bytes = index.view().blobs().inline(&digest)?.unwrap_or_default();
            if Digest::of(digest.algorithm(), &bytes) != digest {
                wrong.push((digest, WRONG_BYTES));
            }
        }
        for (digest, detail) in wrong {
            let action = RepairAction::MoveToTrash(digest);
            self.add_blob_finding(StoreFault::BlobDamaged, &digest, detail, action)?;
        }
        Ok(())
    }

    /// Adds a finding about a revision that the index does not know as a manifest, if its bytes
    /// can be read as one.
    pub(super) fn check_references_recorded(
        &mut self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), Error> {
        // Its bytes may be damaged, or not a manifest that this version can read.
        let Ok(Some(bytes)) = stored_manifest(self.registry, digest) else {
            return Ok(());
        };
        let known = self.registry.queries().media_type(digest)?.is_some();
        if known || parse_lenient(&bytes).is_none() {
            return Ok(());
        }
        if !self.report.count(StoreFault::EdgesMissing) {
            return Ok(());
        }
        self.report.findings.push(FsckFinding::new(
            StoreFault::EdgesMissing,
            format!("{name}@{digest}"),
            "its references are not recorded",
            RepairAction::IndexReferences(*digest),
        ));
        Ok(())
    }

    /// Returns `true` if a manifest says that the blob it names may be stored elsewhere (foreign
    /// layers), or if the manifest cannot be read.
    pub(super) fn may_be_elsewhere(
        &self,
        manifest: &Digest,
        named: &Digest,
    ) -> Result<bool, Error> {
        let bytes = match self.snapshot.read(manifest) {
            // A finding of its own reports the damage.
            Err(Error::Corrupt { .. }) => return Ok(true),
            bytes => bytes?,
        };
        let Some(manifest) = parse_lenient(&bytes) else {
            return Ok(true);
        };
        let mut references = manifest.references.iter();
        Ok(references.any(|one| {
            one.digest.known() == Some(named) && one.requirement == Requirement::Nothing
        }))
    }

    /// Lists the blobs that nothing names: those that collection would remove.
    pub(super) fn list_unused(&mut self) -> Result<(), Error> {
        let unused: Vec<DigestId> = self.census.unused().collect();
        let count = unused.len() as u64;
        for id in unused.into_iter().take(LISTED_MAX) {
            let digest = self.snapshot.index().digest(id)?;
            self.report.findings.push(FsckFinding::new(
                StoreFault::BlobWithoutLink,
                digest.to_string(),
                "no link and no manifest names it",
                RepairAction::Nothing,
            ));
        }
        if count > 0 {
            self.report
                .counts
                .insert(StoreFault::BlobWithoutLink, count);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::index::Link;
    use crate::layout::Node;
    use crate::maintenance::Progress;
    use crate::maintenance::fsck::check;
    use crate::maintenance::fsck::repair::repair;
    use crate::name::LinkSet;
    use crate::registry::{Bytes, Registry};

    #[test]
    fn a_manifest_that_an_earlier_version_could_not_read_is_reported_and_repaired() {
        let (registry, _bytes) = Registry::in_memory();
        let name: RepositoryName = "app".parse().unwrap();
        for directory in [
            Node::Namespace(name.namespace().clone()),
            Node::Manifests(name.clone()),
        ] {
            registry.directories().make(&directory).unwrap();
        }
        let stored = registry.store_layer(&name, Bytes::Held(b"layer"), None);
        let layer = stored.unwrap().0;
        let document = format!(
            r#"{{"schemaVersion":2,"layers":[{{"digest":"{layer}"}}],"annotations":{{"a":null}}}}"#
        );
        let digest = Digest::of(Algorithm::Sha256, document.as_bytes());
        let bytes = Bytes::Held(document.as_bytes());
        registry.publish(bytes, &digest).unwrap();
        // Linked as by a version that could not read such a manifest.
        let linked = registry.index().transact(|tx| {
            let id = tx.repositories().get(name.namespace())?.unwrap().id;
            let link = Link::Linked {
                target: digest,
                pushed: 1,
            };
            tx.links().put(id, &LinkSet::Revisions, &digest, &link)
        });
        linked.unwrap();
        assert_eq!(registry.queries().references(&digest).unwrap(), []);
        let found = check(&registry, &Progress::default()).unwrap();
        let findings = found.findings.iter();
        let mut findings = findings.filter(|one| one.fault == StoreFault::EdgesMissing);
        assert!(repair(&registry, findings.next().unwrap()).unwrap());
        assert_eq!(
            registry.queries().references(&digest).unwrap(),
            [("layer", layer)]
        );
        let found = check(&registry, &Progress::default()).unwrap();
        assert!(
            !found.counts.contains_key(&StoreFault::EdgesMissing),
            "{found:?}"
        );
    }
}
