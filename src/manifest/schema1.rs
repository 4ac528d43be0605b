//! Schema 1: Docker's first image manifests, plain or signed.
//!
//! The signatures cover a payload: the document as it was, byte for byte, before the signatures
//! were inserted. The payload is validated, stored and hashed. Source: distribution 2.8,
//! `docs/spec/manifest-v2-1.md` and `manifest/schema1/verify.go`.

use super::descriptor::named;
use super::document::Document;
use super::json::Json;
use super::jws::{self, VerifiedPayload};
use super::object_fields::{self, ObjectFields, array, object, text};
use super::reference::{Reference, ReferenceRole, Requirement};
use super::refusal::{ManifestRule, Refusal};
use crate::name::{RepositoryName, Tag};

/// The media type of layers, which the document does not state.
pub(super) const LAYER: &str = "application/vnd.docker.container.image.rootfs.diff+x-gtar";

/// Verifies the signatures of a signed document and validates its payload.
pub(super) fn signed(
    document: &Document<'_>,
    bytes: &[u8],
) -> Result<(Vec<Reference>, VerifiedPayload), Refusal> {
    let signed = jws::verify(&document.fields, bytes)?;
    let payload = Document::parse_strict(&signed.payload)?;
    let members = document.object.members();
    let outer = members.filter(|(key, _)| key != jws::SIGNATURES);
    if !outer.eq(payload.object.members()) {
        let value = "a payload that differs from the document";
        let expected = "the document without its signatures";
        let place = format!("/{}", jws::SIGNATURES);
        return Err(Refusal::new(
            ManifestRule::BadSignature,
            place,
            value,
            expected,
        ));
    }
    let references = plain(&payload)?;
    Ok((references, signed))
}

/// Validates a document without signatures and returns its references.
pub(super) fn plain(document: &Document<'_>) -> Result<Vec<Reference>, Refusal> {
    let fields = ObjectFields::of(document.object, object_fields::SCHEMA1)?;
    fields.required("name", |value| {
        let name = text(value)?.parse::<RepositoryName>();
        name.map_err(|_| bad_name(value, "a repository name"))
    })?;
    fields.required("tag", |value| {
        let tag = text(value)?;
        let admitted = tag.is_empty() || tag.parse::<Tag>().is_ok();
        admitted
            .then_some(())
            .ok_or_else(|| bad_name(value, "a tag"))
    })?;
    fields.required("architecture", text)?;
    let array = |value| array(value, "an array");
    let layers = document.fields.required("fsLayers", array)?.elements();
    let history = document.fields.required("history", array)?.elements();
    let mut entries = 0;
    for (at, entry) in history.enumerate() {
        let within = |refusal: Refusal| refusal.under(&format!("/history/{at}"));
        field(entry, &["v1Compatibility"], text).map_err(within)?;
        entries += 1;
    }
    let references = layers.enumerate().map(|(at, layer)| {
        let pointer = format!("/fsLayers/{at}");
        let sum = field(layer, &["blobSum"], named);
        Ok(Reference {
            role: ReferenceRole::Layer,
            media_type: LAYER.to_owned(),
            digest: sum.map_err(|refusal| refusal.under(&pointer))?,
            size: None,
            pointer,
            requirement: Requirement::Blob,
        })
    });
    let references = references.collect::<Result<Vec<_>, Refusal>>()?;
    if references.len() != entries {
        let value = format!("{entries} for {} layers", references.len());
        let expected = "one entry for each layer";
        return Err(Refusal::new(
            ManifestRule::BadHistory,
            "/history",
            value,
            expected,
        ));
    }
    Ok(references)
}

fn bad_name(value: Json<'_>, expected: &str) -> Refusal {
    Refusal::new(ManifestRule::BadName, "", value.to_string(), expected)
}

/// Reads the single field of an object.
fn field<'a, T>(
    value: Json<'a>,
    name: &'static [&'static str; 1],
    read: impl FnOnce(Json<'a>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let [only] = name;
    ObjectFields::of(object(value, "an object")?, name)?.required(only, read)
}
