//! Descriptors: how a manifest names something (OCI image-spec 1.1.1, "Content Descriptors").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json::{Json, below};
use super::{Named, Need, Reference, Refusal, Role, Rule, missing};
use crate::digest::{Algorithm, Digest};

/// A descriptor whose fields are all of their form.
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) named: Named,
    pub(super) size: u64,
    pub(super) urls: Vec<String>,
    pub(super) pointer: String,
}

impl Descriptor {
    pub(super) fn reference(self, role: Role, need: Need) -> Reference {
        Reference {
            role,
            media_type: self.media_type,
            named: self.named,
            size: Some(self.size),
            pointer: self.pointer,
            need,
        }
    }
}

/// Reads an array of descriptors, which stands at `pointer`.
pub(super) fn descriptors(value: &Json<'_>, pointer: &str) -> Result<Vec<Descriptor>, Refusal> {
    let Json::Array(values) = value else {
        return Err(wrong_type(value, "an array of descriptors").under(pointer));
    };
    let numbered = values.iter().enumerate();
    numbered
        .map(|(at, value)| descriptor(value, &format!("{pointer}/{at}")))
        .collect()
}

/// Reads a descriptor, which stands at `pointer`.
pub(super) fn descriptor(value: &Json<'_>, pointer: &str) -> Result<Descriptor, Refusal> {
    read(value, pointer).map_err(|refusal| refusal.under(pointer))
}

/// Reads a descriptor; the places of refusals are within it.
fn read(value: &Json<'_>, pointer: &str) -> Result<Descriptor, Refusal> {
    if !matches!(value, Json::Object(_)) {
        return Err(wrong_type(value, "a descriptor"));
    }
    let media_type = required(value, "mediaType", media_type)?.to_owned();
    let named = required(value, "digest", named)?;
    let size = required(value, "size", size)?;
    optional(value, "artifactType", self::media_type)?;
    optional(value, "annotations", annotations)?;
    optional(value, "data", |data| self::data(data, &named, size))?;
    optional(value, "platform", platform)?;
    Ok(Descriptor {
        urls: optional(value, "urls", urls)?.unwrap_or_default(),
        media_type,
        named,
        size,
        pointer: pointer.to_owned(),
    })
}

/// Reads what stands under a key that must be there.
pub(super) fn required<'a, T>(
    value: &'a Json<'_>,
    key: &str,
    read: impl FnOnce(&'a Json<'a>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    optional(value, key, read)?.ok_or_else(|| missing(&below("", key), "a value"))
}

/// Reads what stands under a key, if anything does.
pub(super) fn optional<'a, T>(
    value: &'a Json<'_>,
    key: &str,
    read: impl FnOnce(&'a Json<'a>) -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    let read = value.get(key).map(read).transpose();
    read.map_err(|refusal| refusal.under(&below("", key)))
}

pub(super) fn wrong_type(value: &Json<'_>, expected: &str) -> Refusal {
    Refusal::new(Rule::WrongType, "", value.to_string(), expected)
}

/// A string.
pub(super) fn text<'a>(value: &'a Json<'_>) -> Result<&'a str, Refusal> {
    value.as_str().ok_or_else(|| wrong_type(value, "a string"))
}

/// A media type, `type/subtype` of RFC 6838, perhaps with parameters.
pub(super) fn media_type<'a>(value: &'a Json<'_>) -> Result<&'a str, Refusal> {
    let text = text(value)?;
    let essence = text.split(';').next().unwrap_or_default();
    let admitted = essence.split_once('/').is_some_and(|(kind, subtype)| {
        restricted_name(kind) && restricted_name(subtype.trim_end())
    });
    if admitted {
        return Ok(text);
    }
    let expected = "a media type (RFC 6838)";
    Err(Refusal::new(
        Rule::BadMediaType,
        "",
        value.to_string(),
        expected,
    ))
}

/// A name as RFC 6838 section 4.2 restricts it.
fn restricted_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_alphanumeric();
    (1..=127).contains(&name.len())
        && name.bytes().next().is_some_and(alphanumeric)
        && name
            .bytes()
            .all(|byte| alphanumeric(byte) || b"!#$&-^_.+".contains(&byte))
}

/// A digest, of an algorithm that we know or of another that the grammar admits.
pub(super) fn named(value: &Json<'_>) -> Result<Named, Refusal> {
    let text = text(value)?;
    if let Ok(digest) = text.parse() {
        return Ok(Named::Digest(digest));
    }
    let (algorithm, encoded) = text.split_once(':').unwrap_or_default();
    let known = Algorithm::from_name(algorithm).is_some();
    if !known && is_algorithm(algorithm) && is_encoded(encoded) {
        return Ok(Named::Unknown(text.to_owned()));
    }
    let expected = "sha256: and 64 lower-case hex digits (or sha384:, sha512:)";
    Err(Refusal::new(
        Rule::BadDigest,
        "",
        value.to_string(),
        expected,
    ))
}

/// `algorithm` of image-spec's grammar of digests.
fn is_algorithm(text: &str) -> bool {
    text.split(['+', '.', '_', '-']).all(|component| {
        let mut bytes = component.bytes();
        !component.is_empty() && bytes.all(|one| one.is_ascii_lowercase() || one.is_ascii_digit())
    })
}

/// `encoded` of image-spec's grammar of digests.
fn is_encoded(text: &str) -> bool {
    let admitted = |one: u8| one.is_ascii_alphanumeric() || b"=_-".contains(&one);
    !text.is_empty() && text.bytes().all(admitted)
}

fn size(value: &Json<'_>) -> Result<u64, Refusal> {
    let size = match value {
        Json::Integer(size) => u64::try_from(*size).ok(),
        Json::Number(_) => None,
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
            return Err(wrong_type(value, "an integer"));
        }
    };
    size.ok_or_else(|| {
        let expected = "an integer of at least 0 that fits 63 bits";
        Refusal::new(Rule::BadSize, "", value.to_string(), expected)
    })
}

/// Annotations are strings by strings.
pub(super) fn annotations(value: &Json<'_>) -> Result<(), Refusal> {
    let Json::Object(members) = value else {
        return Err(wrong_type(value, "an object of strings"));
    };
    let wrong = members.iter().find(|(_, value)| value.as_str().is_none());
    wrong.map_or(Ok(()), |(key, value)| {
        let refusal = wrong_type(value, "a string");
        Err(refusal.under(&below("", key)))
    })
}

/// Embedded data must be just what the digest and size say.
fn data(value: &Json<'_>, named: &Named, size: u64) -> Result<(), Refusal> {
    let mismatch = |value: String| {
        let expected = format!("base64 of the {size} bytes of {named}");
        Refusal::new(Rule::DataMismatch, "", value, expected)
    };
    let Ok(bytes) = STANDARD.decode(text(value)?) else {
        return Err(mismatch("not base64".into()));
    };
    let is = match named {
        Named::Digest(digest) => Digest::of(digest.algorithm(), &bytes) == *digest,
        // What nobody here can compute nobody can doubt.
        Named::Unknown(_) => true,
    };
    if bytes.len() as u64 != size || !is {
        return Err(mismatch(format!("{} other bytes", bytes.len())));
    }
    Ok(())
}

/// A platform must say architecture and operating system.
fn platform(value: &Json<'_>) -> Result<(), Refusal> {
    if !matches!(value, Json::Object(_)) {
        return Err(wrong_type(value, "an object"));
    }
    for key in ["architecture", "os"] {
        optional(value, key, text)?.ok_or_else(|| {
            let place = below("", key);
            Refusal::new(Rule::BadPlatform, place, "nothing", "a string")
        })?;
    }
    for key in ["os.version", "variant"] {
        optional(value, key, text)?;
    }
    for key in ["os.features", "features"] {
        optional(value, key, strings)?;
    }
    Ok(())
}

/// An array of strings.
fn strings<'a>(value: &'a Json<'_>) -> Result<Vec<&'a str>, Refusal> {
    let Json::Array(values) = value else {
        return Err(wrong_type(value, "an array of strings"));
    };
    let numbered = values.iter().enumerate();
    numbered
        .map(|(at, value)| text(value).map_err(|refusal| refusal.under(&format!("/{at}"))))
        .collect()
}

/// URLs are http or https, without a fragment (as distribution demands).
fn urls(value: &Json<'_>) -> Result<Vec<String>, Refusal> {
    let urls = strings(value)?;
    match urls.iter().position(|url| !is_url(url)) {
        None => Ok(urls.into_iter().map(str::to_owned).collect()),
        Some(at) => {
            let (place, url) = (format!("/{at}"), urls.get(at).unwrap_or(&""));
            let shown = format!("{url:?}");
            let expected = "an http or https URL without a fragment";
            Err(Refusal::new(Rule::BadUrl, place, shown, expected))
        }
    }
}

/// `http(s)://host…` of the characters that RFC 3986 admits, without a fragment.
fn is_url(url: &str) -> bool {
    let admitted = |one: u8| one.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&one);
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && !host.is_empty()
        && rest.bytes().all(admitted)
}
