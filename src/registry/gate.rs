//! The gate: whether a document may become a manifest of a repository.
//!
//! What people drop is judged before it is stored; what a registry has stored is audited when
//! its link is written. Both by the same rules, and neither changes anything here.

use super::ingest::know;
use super::{Audit, Error, Policy, References, Registry};
use crate::digest::Digest;
use crate::index::{Blob, Link, RepositoryId, Transaction};
use crate::manifest::{
    self, MANIFEST_BYTES_MAX, Manifest, Named, Need, Reference, Refusal, Rule, Understood,
    understand,
};
use crate::name::{LinkSet, RepositoryName};

/// What a look at a stored manifest gave.
pub(super) struct Audited {
    /// What is known of it, if it is one at all.
    pub(super) understood: Option<Understood>,
    /// Which rule it breaks.
    pub(super) finding: Option<Refusal>,
}

/// Judges a document by the rules that need no registry.
pub fn judge(document: &[u8], policy: &Policy) -> Result<Manifest, Refusal> {
    manifest::parse(document, &policy.admission())
}

impl Registry {
    /// Judges a document as if it were dropped into a repository, or by the rules alone that
    /// need no repository. The inner result is the verdict.
    pub fn judge(
        &self,
        repository: Option<&RepositoryName>,
        document: &[u8],
    ) -> Result<Result<Manifest, Refusal>, Error> {
        let manifest = match judge(document, &self.policy) {
            Ok(manifest) => manifest,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let verdict = match repository {
            Some(name) => self.check_in(name, &manifest)?,
            None => Ok(()),
        };
        Ok(verdict.map(|()| manifest))
    }

    /// Whether the repository of this name holds what a manifest references.
    fn check_in(
        &self,
        name: &RepositoryName,
        manifest: &Manifest,
    ) -> Result<Result<(), Refusal>, Error> {
        let mut view = self.index.view();
        let found = view.repository(name.namespace())?.ok_or(Error::Missing)?;
        self.check(&mut view, found.id, manifest.references())
    }

    /// Whether a repository holds what a manifest references.
    pub(super) fn check(
        &self,
        facts: &mut Transaction<'_>,
        repository: RepositoryId,
        references: &[Reference],
    ) -> Result<Result<(), Refusal>, Error> {
        if self.policy.references == References::Skip {
            return Ok(Ok(()));
        }
        for reference in references {
            let verdict = held(facts, repository, reference)?;
            if verdict.is_err() && !reference.is_empty_object() {
                return Ok(verdict);
            }
        }
        Ok(Ok(()))
    }

    /// Looks at a manifest that a registry has stored and links now.
    pub(super) fn audit(&self, name: &RepositoryName, digest: &Digest) -> Result<Audited, Error> {
        let bytes = self.stored_manifest(digest)?;
        let understood = bytes.as_deref().and_then(understand);
        if self.policy.audit == Audit::Off {
            return Ok(Audited {
                understood,
                finding: None,
            });
        }
        let finding = match bytes.as_deref().map(|one| judge(one, &self.policy)) {
            Some(Ok(manifest)) => {
                if let Some((first, more)) = manifest.warnings().split_first() {
                    let more = more.len();
                    log::warn!("admitted {name}@{digest}, but {first} ({more} more warnings)");
                }
                self.check_in(name, &manifest)?.err()
            }
            Some(Err(refusal)) => Some(refusal),
            None => {
                let value = format!("a link to {digest}");
                let expected = "the bytes of a manifest, stored first";
                let rule = Rule::ReferenceMissing;
                Some(Refusal::new(rule, "", value, expected))
            }
        };
        match (self.policy.audit, finding) {
            // What is missing may come yet: trees are copied in any order, and caches write what
            // names something first.
            (Audit::Enforce, Some(refusal)) if refusal.rule != Rule::ReferenceMissing => {
                Err(Error::Refused {
                    repository: name.clone(),
                    refusal: Box::new(refusal),
                })
            }
            (_, finding) => Ok(Audited {
                understood,
                finding,
            }),
        }
    }

    /// Learns what a manifest names whose bytes have come after the link to it. The caller holds
    /// its shard.
    pub(super) fn learn(&self, digest: &Digest) -> Result<(), Error> {
        if !self.index.is_revision(digest)? || self.queries().media_type(digest)?.is_some() {
            return Ok(());
        }
        let bytes = self.stored_manifest(digest)?;
        let Some(understood) = bytes.as_deref().and_then(understand) else {
            return Ok(());
        };
        let late = judge(bytes.as_deref().unwrap_or_default(), &self.policy).err();
        if let Some(refusal) = late.filter(|_| self.policy.audit != Audit::Off) {
            log::warn!("manifest {digest} came after its link, and the audit finds: {refusal}");
        }
        self.learn_edges(digest, &understood)?;
        self.index
            .transact(|facts| know(facts, digest, &understood))
    }

    /// A stored blob's bytes, if it is there and no larger than manifests are.
    pub(super) fn stored_manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let blob = self.index.view().blob(digest)?.filter(|blob| blob.present);
        let len = blob.and_then(|blob| usize::try_from(blob.size).ok());
        match len.filter(|len| *len <= MANIFEST_BYTES_MAX) {
            None => Ok(None),
            Some(_) => self.read_whole(digest).map(Some),
        }
    }
}

/// Whether a repository holds what is referenced, and of that size.
fn held(
    facts: &mut Transaction<'_>,
    repository: RepositoryId,
    reference: &Reference,
) -> Result<Result<(), Refusal>, Error> {
    let sets: &[LinkSet] = match reference.need {
        Need::Blob => &[LinkSet::Layers],
        Need::Manifest => &[LinkSet::Revisions],
        Need::Either => &[LinkSet::Layers, LinkSet::Revisions],
        Need::Nothing => return Ok(Ok(())),
    };
    let digest = match &reference.named {
        Named::Digest(digest) => digest,
        Named::Unknown(text) => {
            let (rule, place) = (Rule::UnknownAlgorithm, &reference.pointer);
            let expected = "sha256, sha384 or sha512: of others nobody here can tell what is there";
            return Ok(Err(Refusal::new(rule, place, text, expected)));
        }
    };
    let mut blob = None;
    for set in sets {
        if let Some(Link::Linked { target, .. }) = facts.link(repository, set, digest)? {
            blob = facts.blob(&target)?.filter(|blob| blob.present);
        }
        if blob.is_some() {
            break;
        }
    }
    Ok(fits(reference, blob.as_ref()))
}

/// Refuses a reference to what is not there, or is of another size.
fn fits(reference: &Reference, blob: Option<&Blob>) -> Result<(), Refusal> {
    let pointer = &*reference.pointer;
    let Some(blob) = blob else {
        let what = match reference.need {
            Need::Manifest => "a manifest",
            Need::Either => "a layer or a manifest",
            Need::Blob | Need::Nothing => "a layer",
        };
        let value = reference.named.to_string();
        let expected = format!("{what} that the repository has: store it first");
        let rule = Rule::ReferenceMissing;
        return Err(Refusal::new(rule, pointer, value, expected));
    };
    match reference.size {
        Some(size) if size != blob.size => {
            let value = format!("{size} bytes of {}", reference.named);
            let expected = format!("{} bytes, which is what is stored", blob.size);
            Err(Refusal::new(Rule::ReferenceSize, pointer, value, expected))
        }
        Some(_) | None => Ok(()),
    }
}
