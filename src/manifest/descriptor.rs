//! Descriptors (OCI image-spec 1.1.1, "Content Descriptors").

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json::{Json, JsonType, below};
use super::object_fields::{self, ObjectFields, array, object, text, wrong_type};
use super::reference::{Reference, ReferenceRole, ReferencedDigest, Requirement};
use super::refusal::{ManifestRule, Refusal};
use super::uri::Uri;
use crate::digest::{Algorithm, Digest};

/// A valid descriptor.
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: ReferencedDigest,
    pub(super) size: u64,
    /// The number of its URLs.
    pub(super) urls: usize,
    /// The first URL that is not http or https, or has a fragment, and its position.
    pub(super) unfetchable_url: Option<(usize, String)>,
    pub(super) has_platform: bool,
    pub(super) pointer: String,
}

impl Descriptor {
    pub(super) fn reference(self, role: ReferenceRole, requirement: Requirement) -> Reference {
        Reference {
            role,
            media_type: self.media_type,
            digest: self.digest,
            size: Some(self.size),
            pointer: self.pointer,
            requirement,
        }
    }

    /// The JSON pointer of [`unfetchable_url`](Self::unfetchable_url).
    pub(super) fn unfetchable_url_pointer(&self) -> String {
        let at = self.unfetchable_url.as_ref().map_or(0, |(at, _)| *at);
        format!("{}/urls/{at}", self.pointer)
    }
}

/// Reads an array of descriptors at `pointer`.
pub(super) fn descriptors(value: Json<'_>, pointer: &str) -> Result<Vec<Descriptor>, Refusal> {
    let values = array(value, "an array of descriptors");
    let numbered = values.map_err(|refusal| refusal.under(pointer))?.elements();
    numbered
        .enumerate()
        .map(|(at, value)| descriptor(value, &format!("{pointer}/{at}")))
        .collect()
}

/// Reads a descriptor at `pointer`.
pub(super) fn descriptor(value: Json<'_>, pointer: &str) -> Result<Descriptor, Refusal> {
    read(value, pointer).map_err(|refusal| refusal.under(pointer))
}

/// Reads a descriptor; pointers in refusals are relative to it.
fn read(value: Json<'_>, pointer: &str) -> Result<Descriptor, Refusal> {
    let fields = ObjectFields::of(object(value, "a descriptor")?, object_fields::DESCRIPTOR)?;
    let media_type = fields.required("mediaType", media_type)?.into_owned();
    let digest = fields.required("digest", named)?;
    let size = fields.required("size", size)?;
    fields.optional("artifactType", self::media_type)?;
    fields.optional("annotations", annotations)?;
    fields.optional("data", |data| self::data(data, &digest, size))?;
    let platform = fields.optional("platform", platform)?;
    let (urls, unfetchable_url) = fields.optional("urls", urls)?.unwrap_or_default();
    Ok(Descriptor {
        media_type,
        digest,
        size,
        urls,
        unfetchable_url,
        has_platform: platform.is_some(),
        pointer: pointer.to_owned(),
    })
}

/// A media type, `type/subtype` of RFC 6838, optionally with parameters.
pub(super) fn media_type(value: Json<'_>) -> Result<Cow<'_, str>, Refusal> {
    let text = text(value)?;
    if is_media_type(&text) {
        return Ok(text);
    }
    let expected = "a media type (RFC 6838)";
    Err(Refusal::new(
        ManifestRule::BadMediaType,
        "",
        value.to_string(),
        expected,
    ))
}

/// Returns `true` if a text is a media type, optionally with parameters.
pub(super) fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default();
    essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| restricted_name(kind) && restricted_name(subtype.trim_end()))
}

/// A restricted name (RFC 6838 section 4.2).
fn restricted_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_alphanumeric();
    (1..=127).contains(&name.len())
        && name.bytes().next().is_some_and(alphanumeric)
        && name
            .bytes()
            .all(|byte| alphanumeric(byte) || b"!#$&-^_.+".contains(&byte))
}

/// A digest of a known algorithm, or of another one that the grammar admits.
pub(super) fn named(value: Json<'_>) -> Result<ReferencedDigest, Refusal> {
    let text = text(value)?;
    if let Ok(digest) = text.parse() {
        return Ok(ReferencedDigest::Known(digest));
    }
    let (algorithm, encoded) = text.split_once(':').unwrap_or_default();
    let known = Algorithm::from_name(algorithm).is_some();
    if !known && is_algorithm(algorithm) && is_encoded(encoded) {
        return Ok(ReferencedDigest::UnknownAlgorithm(text.into_owned()));
    }
    let expected = "sha256: and 64 lower-case hex digits (or sha384:, sha512:)";
    Err(Refusal::new(
        ManifestRule::BadDigest,
        "",
        value.to_string(),
        expected,
    ))
}

/// `algorithm` in the grammar of digests (image-spec).
fn is_algorithm(text: &str) -> bool {
    text.split(['+', '.', '_', '-']).all(|component| {
        let mut bytes = component.bytes();
        !component.is_empty() && bytes.all(|one| one.is_ascii_lowercase() || one.is_ascii_digit())
    })
}

/// `encoded` in the grammar of digests (image-spec).
fn is_encoded(text: &str) -> bool {
    let admitted = |one: u8| one.is_ascii_alphanumeric() || b"=_-".contains(&one);
    !text.is_empty() && text.bytes().all(admitted)
}

fn size(value: Json<'_>) -> Result<u64, Refusal> {
    if value.json_type() != JsonType::Number {
        return Err(wrong_type(value, "an integer"));
    }
    let size = value.integer().and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(|| {
        let expected = "an integer from 0 to 2^63 - 1";
        Refusal::new(ManifestRule::BadSize, "", value.to_string(), expected)
    })
}

/// Annotations map strings to strings.
pub(super) fn annotations(value: Json<'_>) -> Result<(), Refusal> {
    let mut members = object(value, "an object of strings")?.members();
    let wrong = members.find(|(_, value)| value.json_type() != JsonType::String);
    wrong.map_or(Ok(()), |(key, value)| {
        let refusal = wrong_type(value, "a string");
        Err(refusal.under(&below("", &key)))
    })
}

/// Embedded data must match the digest and the size.
fn data(value: Json<'_>, named: &ReferencedDigest, size: u64) -> Result<(), Refusal> {
    let mismatch = |value: String| {
        let expected = format!("base64 of the {size} bytes with digest {named}");
        Refusal::new(ManifestRule::DataMismatch, "", value, expected)
    };
    let Ok(bytes) = STANDARD.decode(&*text(value)?) else {
        return Err(mismatch("not base64".into()));
    };
    let is = match named {
        ReferencedDigest::Known(digest) => Digest::of(digest.algorithm(), &bytes) == *digest,
        // A digest of an unknown algorithm cannot be checked.
        ReferencedDigest::UnknownAlgorithm(_) => true,
    };
    if bytes.len() as u64 != size || !is {
        return Err(mismatch(format!(
            "base64 of {} bytes that do not match",
            bytes.len()
        )));
    }
    Ok(())
}

/// A platform must state architecture and operating system.
fn platform(value: Json<'_>) -> Result<(), Refusal> {
    let fields = ObjectFields::of(object(value, "an object")?, object_fields::PLATFORM)?;
    for key in ["architecture", "os"] {
        fields.optional(key, text)?.ok_or_else(|| {
            let place = below("", key);
            Refusal::new(ManifestRule::BadPlatform, place, "missing", "a string")
        })?;
    }
    for key in ["os.version", "variant"] {
        fields.optional(key, text)?;
    }
    for key in ["os.features", "features"] {
        fields.optional(key, |value| strings(value, |_, _| Ok(())))?;
    }
    Ok(())
}

/// Reads an array of strings; `read` gets each with its position. Returns their number.
fn strings(
    value: Json<'_>,
    mut read: impl FnMut(usize, &str) -> Result<(), Refusal>,
) -> Result<usize, Refusal> {
    let mut count = 0;
    for value in array(value, "an array of strings")?.elements() {
        let text = text(value).and_then(|text| read(count, &text));
        text.map_err(|refusal| refusal.under(&format!("/{count}")))?;
        count += 1;
    }
    Ok(count)
}

/// URLs must be URIs (RFC 3986); http and https are only recommended. Returns the number of URLs,
/// and the first that is not fetchable.
fn urls(value: Json<'_>) -> Result<(usize, Option<(usize, String)>), Refusal> {
    let mut odd = None;
    let count = strings(value, |at, url| {
        let uri = Uri::of(url).ok_or_else(|| {
            let expected = "a URI (RFC 3986), with a host if it is http or https";
            Refusal::new(ManifestRule::BadUrl, "", format!("{url:?}"), expected)
        })?;
        if odd.is_none() && (!uri.is_web() || uri.has_fragment()) {
            odd = Some((at, url.to_owned()));
        }
        Ok(())
    })?;
    Ok((count, odd))
}
