//! Descriptors: how a manifest names something (OCI image-spec 1.1.1, "Content Descriptors").

use super::json::Json;
use super::{Need, Reference, Refusal, Role, Rule};
use crate::digest::Digest;

/// A descriptor whose fields are all of their form.
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) urls: Vec<String>,
    pub(super) pointer: String,
}

impl Descriptor {
    pub(super) fn reference(self, role: Role, need: Need) -> Reference {
        let Self {
            media_type,
            digest,
            size,
            pointer,
            ..
        } = self;
        Reference {
            role,
            media_type,
            digest,
            size,
            pointer,
            need,
        }
    }
}

/// Reads an array of descriptors.
pub(super) fn descriptors(value: &Json, pointer: &str) -> Result<Vec<Descriptor>, Refusal> {
    let Json::Array(values) = value else {
        return Err(wrong_type(value, pointer, "an array of descriptors"));
    };
    let numbered = values.iter().enumerate();
    numbered
        .map(|(at, value)| descriptor(value, &format!("{pointer}/{at}")))
        .collect()
}

/// Reads a descriptor.
pub(super) fn descriptor(value: &Json, pointer: &str) -> Result<Descriptor, Refusal> {
    if !matches!(value, Json::Object(_)) {
        return Err(wrong_type(value, pointer, "a descriptor"));
    }
    let field = |name: &str| {
        let place = format!("{pointer}/{name}");
        match value.get(name) {
            Some(field) => Ok((field, place)),
            None => Err(Refusal::new(
                Rule::MissingField,
                place,
                "nothing",
                "a value",
            )),
        }
    };
    let (kind, place) = field("mediaType")?;
    let media_type = media_type(kind, &place)?.to_owned();
    let (named, place) = field("digest")?;
    let digest = digest(named, &place)?;
    let (length, place) = field("size")?;
    let size = size(length, &place)?;
    if let Some(kind) = value.get("artifactType") {
        self::media_type(kind, &format!("{pointer}/artifactType"))?;
    }
    annotations(value, pointer)?;
    data(value, pointer, &digest, size)?;
    platform(value, pointer)?;
    let urls = urls(value, pointer)?;
    Ok(Descriptor {
        media_type,
        digest,
        size,
        urls,
        pointer: pointer.to_owned(),
    })
}

fn wrong_type(value: &Json, pointer: &str, expected: &str) -> Refusal {
    Refusal::new(Rule::WrongType, pointer, value.to_string(), expected)
}

fn text<'a>(value: &'a Json, pointer: &str) -> Result<&'a str, Refusal> {
    value
        .as_str()
        .ok_or_else(|| wrong_type(value, pointer, "a string"))
}

/// A media type, `type/subtype` of RFC 6838, perhaps with parameters.
pub(super) fn media_type<'a>(value: &'a Json, pointer: &str) -> Result<&'a str, Refusal> {
    let text = text(value, pointer)?;
    let essence = text.split(';').next().unwrap_or_default();
    let admitted = essence.split_once('/').is_some_and(|(kind, subtype)| {
        restricted_name(kind) && restricted_name(subtype.trim_end())
    });
    if admitted {
        return Ok(text);
    }
    Err(Refusal::new(
        Rule::BadMediaType,
        pointer,
        value.to_string(),
        "a media type (RFC 6838)",
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

fn digest(value: &Json, pointer: &str) -> Result<Digest, Refusal> {
    text(value, pointer)?.parse().map_err(|_| {
        let expected = "sha256: and 64 lower-case hex digits (or sha384:, sha512:)";
        Refusal::new(Rule::BadDigest, pointer, value.to_string(), expected)
    })
}

fn size(value: &Json, pointer: &str) -> Result<u64, Refusal> {
    let expected = "an integer of at least 0 that fits 63 bits";
    let bad = || Refusal::new(Rule::BadSize, pointer, value.to_string(), expected);
    match value {
        Json::Integer(size) => i64::try_from(*size)
            .ok()
            .and_then(|size| u64::try_from(size).ok()),
        Json::Number(_) => None,
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
            return Err(wrong_type(value, pointer, "an integer"));
        }
    }
    .ok_or_else(bad)
}

/// Annotations are strings by strings.
pub(super) fn annotations(value: &Json, pointer: &str) -> Result<(), Refusal> {
    let Some(annotations) = value.get("annotations") else {
        return Ok(());
    };
    let pointer = format!("{pointer}/annotations");
    let Json::Object(members) = annotations else {
        return Err(wrong_type(annotations, &pointer, "an object of strings"));
    };
    members.iter().try_for_each(|(key, value)| {
        text(
            value,
            &format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
        )
        .map(drop)
    })
}

/// Embedded data must be just what the digest and size say.
fn data(value: &Json, pointer: &str, digest: &Digest, size: u64) -> Result<(), Refusal> {
    let Some(data) = value.get("data") else {
        return Ok(());
    };
    let pointer = format!("{pointer}/data");
    let mismatch = |value: String| {
        let expected = format!("base64 of the {size} bytes of {digest}");
        Refusal::new(Rule::DataMismatch, &*pointer, value, expected)
    };
    let Some(bytes) = decode_base64(text(data, &pointer)?) else {
        return Err(mismatch("not base64".into()));
    };
    let actual = Digest::of(digest.algorithm(), &bytes);
    if bytes.len() as u64 != size || actual != *digest {
        return Err(mismatch(format!("{} bytes of {actual}", bytes.len())));
    }
    Ok(())
}

/// Standard base64 with padding (RFC 4648 section 4).
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let body = text
        .strip_suffix("==")
        .or_else(|| text.strip_suffix('='))
        .unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in body.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    // Bits that no byte took must be zero, or two texts would mean the same.
    (bits & ((1 << held) - 1) == 0).then_some(bytes)
}

/// A platform must say architecture and operating system.
fn platform(value: &Json, pointer: &str) -> Result<(), Refusal> {
    let Some(platform) = value.get("platform") else {
        return Ok(());
    };
    let pointer = format!("{pointer}/platform");
    if !matches!(platform, Json::Object(_)) {
        return Err(wrong_type(platform, &pointer, "an object"));
    }
    for key in ["architecture", "os"] {
        let place = format!("{pointer}/{key}");
        match platform.get(key) {
            Some(value) => text(value, &place).map(drop)?,
            None => {
                return Err(Refusal::new(
                    Rule::BadPlatform,
                    place,
                    "nothing",
                    "a string",
                ));
            }
        }
    }
    Ok(())
}

/// URLs are http or https, without a fragment (as distribution demands).
fn urls(value: &Json, pointer: &str) -> Result<Vec<String>, Refusal> {
    let Some(urls) = value.get("urls") else {
        return Ok(Vec::new());
    };
    let pointer = format!("{pointer}/urls");
    let Json::Array(values) = urls else {
        return Err(wrong_type(urls, &pointer, "an array of URLs"));
    };
    let numbered = values.iter().enumerate();
    numbered
        .map(|(at, value)| {
            let place = format!("{pointer}/{at}");
            let url = text(value, &place)?;
            let rest = url
                .strip_prefix("https://")
                .or_else(|| url.strip_prefix("http://"));
            let admitted = rest.is_some_and(|rest| {
                !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['#', ' '])
            });
            if admitted {
                return Ok(url.to_owned());
            }
            let expected = "an http or https URL without a fragment";
            Err(Refusal::new(
                Rule::BadUrl,
                place,
                value.to_string(),
                expected,
            ))
        })
        .collect()
}
