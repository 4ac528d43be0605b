//! Admission: whether a document may become a manifest of a repository.
//!
//! A manifest that a person copies into the tree is validated before it is stored; a manifest
//! that a registry has stored is audited when the registry writes its link. Both use the same
//! rules. Admission changes nothing in the index.

use super::references::stored_manifest;
use super::{Audit, Error, ReferenceCheck, Registry};
use crate::digest::Digest;
use crate::index::{Blob, Link, RepositoryId, Transaction};
use crate::manifest::{
    Manifest, ManifestRule, ManifestSummary, Reference, ReferencedDigest, Refusal, Requirement,
    parse_lenient,
};
use crate::name::{LinkSet, RepositoryName};

/// The result of auditing a stored manifest.
pub(super) struct Audited {
    /// The references and media type of the document, or `None` if it is not a manifest.
    pub(super) understood: Option<ManifestSummary>,
    /// The first rule that the document breaks.
    pub(super) finding: Option<Refusal>,
}

/// The rules by which a registry admits manifests, and what it holds that they refer to.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a>(&'a Registry);

impl Registry {
    /// Returns the rules by which this registry admits manifests.
    pub fn admission(&self) -> Admission<'_> {
        Admission(self)
    }
}

impl Admission<'_> {
    /// Validates a document as if it were copied into `repository`; without one, only by the
    /// rules that need no repository. The inner result is the verdict.
    ///
    /// # Errors
    /// [`Error::Missing`] if the repository does not exist.
    pub fn validate(
        self,
        repository: Option<&RepositoryName>,
        document: &[u8],
    ) -> Result<Result<Manifest, Refusal>, Error> {
        let manifest = match self.0.policy.validate(document) {
            Ok(manifest) => manifest,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let verdict = match repository {
            Some(name) => self.check_in(name, &manifest)?,
            None => Ok(()),
        };
        Ok(verdict.map(|()| manifest))
    }

    /// Checks that the repository of this name holds everything that a manifest refers to.
    fn check_in(
        self,
        name: &RepositoryName,
        manifest: &Manifest,
    ) -> Result<Result<(), Refusal>, Error> {
        let mut view = self.0.index.view();
        let found = view
            .repositories()
            .get(name.namespace())?
            .ok_or(Error::Missing)?;
        self.check(&mut view, found.id, manifest.references())
    }

    /// Checks that a repository holds everything that a manifest refers to.
    pub(super) fn check(
        self,
        tx: &mut Transaction<'_>,
        repository: RepositoryId,
        references: &[Reference],
    ) -> Result<Result<(), Refusal>, Error> {
        if self.0.policy.references == ReferenceCheck::Skip {
            return Ok(Ok(()));
        }
        for reference in references {
            let verdict = held(tx, repository, reference)?;
            if verdict.is_err() && !reference.is_empty_object() {
                return Ok(verdict);
            }
        }
        Ok(Ok(()))
    }

    /// Audits a manifest that a registry has stored and links now.
    ///
    /// # Errors
    /// [`Error::Refused`] if the manifest breaks a rule and the policy enforces the audit. A
    /// missing reference is not an error: programs copy trees in any order, and pull-through
    /// caches link a manifest before the manifests that it names.
    pub(super) fn audit(self, name: &RepositoryName, digest: &Digest) -> Result<Audited, Error> {
        let policy = &self.0.policy;
        let bytes = stored_manifest(self.0, digest)?;
        let understood = bytes.as_deref().and_then(parse_lenient);
        if policy.audit == Audit::Off {
            return Ok(Audited {
                understood,
                finding: None,
            });
        }
        let finding = match bytes.as_deref().map(|one| policy.validate(one)) {
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
                let rule = ManifestRule::ReferenceMissing;
                Some(Refusal::new(rule, "", value, expected))
            }
        };
        match (policy.audit, finding) {
            (Audit::Enforce, Some(refusal)) if refusal.rule != ManifestRule::ReferenceMissing => {
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
}

/// Checks that a repository holds what is referenced, with the size that the reference says.
fn held(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    reference: &Reference,
) -> Result<Result<(), Refusal>, Error> {
    let sets: &[LinkSet] = match reference.requirement {
        Requirement::Blob => &[LinkSet::Layers],
        Requirement::Manifest => &[LinkSet::Revisions],
        Requirement::Either => &[LinkSet::Layers, LinkSet::Revisions],
        Requirement::Nothing => return Ok(Ok(())),
    };
    let digest = match &reference.digest {
        ReferencedDigest::Known(digest) => digest,
        ReferencedDigest::UnknownAlgorithm(text) => {
            let (rule, place) = (ManifestRule::UnknownAlgorithm, &reference.pointer);
            let expected = "sha256, sha384 or sha512: regfs cannot verify other algorithms";
            return Ok(Err(Refusal::new(rule, place, text, expected)));
        }
    };
    let mut blob = None;
    for set in sets {
        if let Some(Link::Linked { target, .. }) = tx.links().get(repository, set, digest)? {
            blob = tx.blobs().stored(&target)?;
        }
        if blob.is_some() {
            break;
        }
    }
    Ok(fits(reference, blob.as_ref()))
}

/// Refuses a reference to a blob that is missing (`None`) or has another size.
fn fits(reference: &Reference, blob: Option<&Blob>) -> Result<(), Refusal> {
    let pointer = &*reference.pointer;
    let Some(blob) = blob else {
        let what = match reference.requirement {
            Requirement::Manifest => "a manifest",
            Requirement::Either => "a layer or a manifest",
            Requirement::Blob | Requirement::Nothing => "a layer",
        };
        let value = reference.digest.to_string();
        let expected = format!("{what} that the repository has: store it first");
        let rule = ManifestRule::ReferenceMissing;
        return Err(Refusal::new(rule, pointer, value, expected));
    };
    match reference.size {
        Some(size) if size != blob.size => {
            let value = format!("{size} bytes of {}", reference.digest);
            let expected = format!("{} bytes, which is what is stored", blob.size);
            Err(Refusal::new(
                ManifestRule::ReferenceSize,
                pointer,
                value,
                expected,
            ))
        }
        Some(_) | None => Ok(()),
    }
}
