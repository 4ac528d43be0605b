//! References: the index's record of which digests each manifest names.
//!
//! fsck, removal and the referrers of an image read this record. It is derived from the bytes of
//! the manifests and judges nothing.

use super::{Audit, Error, Registry};
use crate::digest::Digest;
use crate::index::{self, EDGES_AT_ONCE, Index, Transaction};
use crate::manifest::{
    MANIFEST_BYTES_MAX, ManifestSummary, Reference, ReferenceRole, parse_lenient,
};

/// Returns the bytes of a stored blob; `None` if the blob is missing, or longer than a manifest
/// may be.
pub(crate) fn stored_manifest(
    registry: &Registry,
    digest: &Digest,
) -> Result<Option<Vec<u8>>, Error> {
    let blob = registry.index.view().blobs().stored(digest)?;
    let len = blob.and_then(|blob| usize::try_from(blob.size).ok());
    match len.filter(|len| *len <= MANIFEST_BYTES_MAX) {
        None => Ok(None),
        Some(_) => registry.read_blob(digest)?.read_all().map(Some),
    }
}

/// Records the references of a manifest whose link was written before its bytes were stored.
/// The caller holds the digest's lock.
pub(super) fn index_references(registry: &Registry, digest: &Digest) -> Result<(), Error> {
    let index = &registry.index;
    if !index.is_revision(digest)? || index.view().manifests().media_type(digest)?.is_some() {
        return Ok(());
    }
    let bytes = stored_manifest(registry, digest)?.unwrap_or_default();
    let Some(understood) = parse_lenient(&bytes) else {
        return Ok(());
    };
    let late = registry.policy.validate(&bytes).err();
    if let Some(refusal) = late.filter(|_| registry.policy.audit != Audit::Off) {
        log::warn!("manifest {digest} was stored after its link, and the audit finds: {refusal}");
    }
    record_references(index, digest, &understood)?;
    index.transact(|tx| record_manifest(tx, digest, &understood))
}

/// Records which digests a manifest names, in transactions of at most [`EDGES_AT_ONCE`] of them.
/// It may run before the manifest is linked: references of an unlinked manifest have no effect.
pub(super) fn record_references(
    index: &Index,
    digest: &Digest,
    manifest: &ManifestSummary,
) -> Result<(), Error> {
    if index.view().manifests().media_type(digest)?.is_some() {
        return Ok(());
    }
    let mut first = 0;
    for some in references(manifest).chunks(EDGES_AT_ONCE) {
        index.transact(|tx| Ok::<_, Error>(tx.manifests().put_edges(digest, first, some)?))?;
        first += u32::try_from(some.len()).unwrap_or_default();
    }
    Ok(())
}

/// Removes the record of which digests a manifest names, once the manifest itself is removed.
pub(super) fn forget_references(index: &Index, digest: &Digest) -> Result<(), Error> {
    while index.transact(|tx| Ok::<_, Error>(tx.manifests().remove_edges(digest)?))? {}
    Ok(())
}

/// Returns the digests that a manifest names; a digest of an unknown algorithm is left out.
pub(super) fn references(manifest: &ManifestSummary) -> Vec<(index::EdgeRole, Digest)> {
    let known = |one: &Reference| Some((role(one.role), *one.digest.known()?));
    manifest.references.iter().filter_map(known).collect()
}

fn role(role: ReferenceRole) -> index::EdgeRole {
    match role {
        ReferenceRole::Config => index::EdgeRole::Config,
        ReferenceRole::Layer => index::EdgeRole::Layer,
        ReferenceRole::Child => index::EdgeRole::Child,
        ReferenceRole::Subject => index::EdgeRole::Subject,
    }
}

/// Records that a digest is a manifest, and its media type.
pub(super) fn record_manifest(
    tx: &mut Transaction<'_>,
    digest: &Digest,
    manifest: &ManifestSummary,
) -> Result<(), Error> {
    if tx.manifests().media_type(digest)?.is_none() {
        tx.manifests().put(digest, &manifest.media_type)?;
    }
    Ok(())
}
