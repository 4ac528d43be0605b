//! Blobs: facts against files, and small blobs against their names.

use super::bytes::Files;
use super::{Check, Fault, FsckFinding, LISTED_MAX, RepairAction};
use crate::blobs::Area;
use crate::digest::Digest;
use crate::index::DigestId;
use crate::manifest::{Requirement, parse_lenient};
use crate::name::RepositoryName;
use crate::registry::{Error, stored_manifest};

impl Check<'_> {
    /// Blobs against their files.
    pub(super) fn blobs(&mut self) -> Result<(), Error> {
        let index = self.snapshot.index();
        let mut files = Files::of(self.registry.blobs());
        let (mut extra, mut missing, mut short) = (Vec::new(), Vec::new(), Vec::new());
        let (mut damaged, mut digests) = (Vec::new(), 0);
        index.each_blob(|digest, blob| {
            digests += 1;
            if !blob.present || blob.inline {
                return Ok::<_, Error>(());
            }
            if blob.damaged {
                damaged.push(digest);
            }
            while let Some((file, _)) = files.peek()?.filter(|(file, _)| *file < digest) {
                extra.push(file);
                files.next();
            }
            match files.peek()?.filter(|(file, _)| *file == digest) {
                Some((_, len)) => {
                    files.next();
                    if len != blob.size {
                        short.push((digest, len, blob.size));
                    }
                }
                None => missing.push(digest),
            }
            Ok(())
        })?;
        while let Some((file, _)) = files.peek()? {
            extra.push(file);
            files.next();
        }
        self.report.digests = digests;
        for digest in missing {
            self.missing(&digest)?;
        }
        for (digest, len, size) in short {
            let detail = format!("{len} bytes, where {size} were published");
            self.about(
                Fault::BlobSize,
                &digest,
                detail,
                RepairAction::TakeOut(digest),
            )?;
        }
        for digest in damaged {
            let detail = "its bytes are not what its name says".to_owned();
            self.about(
                Fault::BlobDamaged,
                &digest,
                detail,
                RepairAction::TakeOut(digest),
            )?;
        }
        for digest in extra {
            self.extra(&digest)?;
        }
        Ok(())
    }

    /// A blob whose file was not there: is it still so?
    fn missing(&mut self, digest: &Digest) -> Result<(), Error> {
        let locked = self.registry.lock_blob(digest);
        let there = locked.record()?.is_some_and(|blob| !blob.inline);
        let gone = there && self.registry.blobs().open(Area::Live, digest).is_err();
        drop(locked);
        if !gone {
            return Ok(());
        }
        let detail = "its file is gone".to_owned();
        self.about(
            Fault::BlobMissing,
            digest,
            detail,
            RepairAction::Missing(*digest),
        )
    }

    /// A file that no fact named: is it still so?
    fn extra(&mut self, digest: &Digest) -> Result<(), Error> {
        let locked = self.registry.lock_blob(digest);
        let named = locked.record()?.is_some_and(|blob| !blob.inline);
        let there = self.registry.blobs().open(Area::Live, digest).is_ok();
        drop(locked);
        if named || !there {
            return Ok(());
        }
        let detail = "a file that no fact names".to_owned();
        self.about(
            Fault::BlobWithoutFact,
            digest,
            detail,
            RepairAction::Adopt(*digest),
        )
    }

    /// Small blobs, whose bytes are read.
    pub(super) fn inline(&mut self) -> Result<(), Error> {
        let index = self.snapshot.index();
        let mut wrong = Vec::new();
        for id in self.census.without_bytes() {
            wrong.push((index.digest(id)?, "its bytes are gone"));
        }
        for id in self.census.with_bytes() {
            let digest = index.digest(id)?;
            let bytes = index.view().inline(&digest)?.unwrap_or_default();
            if Digest::of(digest.algorithm(), &bytes) != digest {
                wrong.push((digest, "its bytes are not what its name says"));
            }
        }
        for (digest, detail) in wrong {
            let action = RepairAction::TakeOut(digest);
            self.about(Fault::BlobDamaged, &digest, detail.into(), action)?;
        }
        Ok(())
    }

    /// A revision that is not known as a manifest: can it be?
    pub(super) fn unlearned(
        &mut self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), Error> {
        // Its bytes may have been damaged, or be no manifest that we understand.
        let Ok(Some(bytes)) = stored_manifest(self.registry, digest) else {
            return Ok(());
        };
        let known = self.registry.queries().media_type(digest)?.is_some();
        if known || parse_lenient(&bytes).is_none() {
            return Ok(());
        }
        if !self.report.count(Fault::EdgesMissing) {
            return Ok(());
        }
        self.report.findings.push(FsckFinding::new(
            Fault::EdgesMissing,
            format!("{name}@{digest}"),
            "what this manifest names was never noted",
            RepairAction::Learn(*digest),
        ));
        Ok(())
    }

    /// Whether a manifest says that what it names is elsewhere (foreign layers).
    pub(super) fn may_be_elsewhere(
        &self,
        manifest: &Digest,
        named: &Digest,
    ) -> Result<bool, Error> {
        let bytes = match self.snapshot.read(manifest) {
            // That it is damaged is told elsewhere.
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

    /// Blobs that nothing names: what collection would remove.
    pub(super) fn unused(&mut self) -> Result<(), Error> {
        let unused: Vec<DigestId> = self.census.unused().collect();
        let count = unused.len() as u64;
        for id in unused.into_iter().take(LISTED_MAX) {
            let digest = self.snapshot.index().digest(id)?;
            self.report.findings.push(FsckFinding::new(
                Fault::BlobWithoutLink,
                digest.to_string(),
                "no link and no manifest names it",
                RepairAction::Nothing,
            ));
        }
        if count > 0 {
            self.report.counts.insert(Fault::BlobWithoutLink, count);
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
    fn what_an_earlier_version_did_not_understand_is_told_and_then_known() {
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
        // As it was linked when such a manifest was not read.
        let linked = registry.index().transact(|facts| {
            let id = facts.repository(name.namespace())?.unwrap().id;
            let link = Link::Linked {
                target: digest,
                pushed: 1,
            };
            facts.put_link(id, &LinkSet::Revisions, &digest, &link)
        });
        linked.unwrap();
        assert_eq!(registry.queries().references(&digest).unwrap(), []);
        let found = check(&registry, &Progress::default()).unwrap();
        let told = found.findings.iter();
        let mut told = told.filter(|one| one.fault == Fault::EdgesMissing);
        assert!(repair(&registry, told.next().unwrap()).unwrap());
        assert_eq!(
            registry.queries().references(&digest).unwrap(),
            [("layer", layer)]
        );
        let found = check(&registry, &Progress::default()).unwrap();
        assert!(
            !found.counts.contains_key(&Fault::EdgesMissing),
            "{found:?}"
        );
    }
}
