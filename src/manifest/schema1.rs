//! Schema 1: Docker's first image manifests, plain or signed.
//!
//! What is signed is not the document but its payload: the document without its signatures,
//! byte for byte as it was before they were put in. The payload is what is judged, stored and
//! digested. Source: distribution 2.8, `docs/spec/manifest-v2-1.md` and
//! `manifest/schema1/verify.go`.

use super::descriptor::{named, required, text, wrong_type};
use super::json::{self, Json};
use super::jws::{self, Signed};
use super::{Need, Reference, Refusal, Role, Rule};
use crate::name::{RepositoryName, Tag};

/// The media type of the layers, which the document does not say.
const LAYER: &str = "application/vnd.docker.container.image.rootfs.diff+x-gtar";

/// Verifies the signatures of a signed document, and judges what they sign.
pub(super) fn signed(
    document: &Json<'_>,
    bytes: &[u8],
) -> Result<(Vec<Reference>, Signed), Refusal> {
    let signed = jws::verify(document, bytes)?;
    let payload = json::parse(&signed.payload)?;
    let outer = document
        .members()
        .iter()
        .filter(|(key, _)| key != jws::SIGNATURES);
    if !outer.eq(payload.members()) {
        let value = "a payload that is another document";
        let expected = "the document without its signatures";
        let place = format!("/{}", jws::SIGNATURES);
        return Err(Refusal::new(Rule::BadSignature, place, value, expected));
    }
    Ok((plain(&payload)?, signed))
}

/// Judges a document without signatures: what it references.
pub(super) fn plain(document: &Json<'_>) -> Result<Vec<Reference>, Refusal> {
    required(document, "name", |value| {
        let name = text(value)?.parse::<RepositoryName>();
        name.map_err(|_| bad_name(value, "a repository's name"))
    })?;
    required(document, "tag", |value| {
        let tag = text(value)?;
        let admitted = tag.is_empty() || tag.parse::<Tag>().is_ok();
        admitted
            .then_some(())
            .ok_or_else(|| bad_name(value, "a tag"))
    })?;
    required(document, "architecture", text)?;
    let layers = required(document, "fsLayers", array)?;
    let history = required(document, "history", array)?;
    if layers.len() != history.len() {
        let value = format!("{} for {} layers", history.len(), layers.len());
        let expected = "one entry for each layer";
        return Err(Refusal::new(Rule::BadHistory, "/history", value, expected));
    }
    for (at, entry) in history.iter().enumerate() {
        let within = |refusal: Refusal| refusal.under(&format!("/history/{at}"));
        field(entry, "v1Compatibility", text).map_err(within)?;
    }
    let numbered = layers.iter().enumerate();
    numbered
        .map(|(at, layer)| {
            let pointer = format!("/fsLayers/{at}");
            let sum = field(layer, "blobSum", named);
            Ok(Reference {
                role: Role::Layer,
                media_type: LAYER.to_owned(),
                named: sum.map_err(|refusal| refusal.under(&pointer))?,
                size: None,
                pointer,
                need: Need::Blob,
            })
        })
        .collect()
}

fn bad_name(value: &Json<'_>, expected: &str) -> Refusal {
    Refusal::new(Rule::BadName, "", value.to_string(), expected)
}

fn array<'a>(value: &'a Json<'a>) -> Result<&'a [Json<'a>], Refusal> {
    match value {
        Json::Array(values) => Ok(values),
        other => Err(wrong_type(other, "an array")),
    }
}

/// Reads a field of what must be an object.
fn field<'a, T>(
    value: &'a Json<'_>,
    key: &str,
    read: impl FnOnce(&'a Json<'a>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    if matches!(value, Json::Object(_)) {
        required(value, key, read)
    } else {
        Err(wrong_type(value, "an object"))
    }
}
