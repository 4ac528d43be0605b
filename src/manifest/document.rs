//! Documents: bytes that contain one JSON object, as a manifest must.

use super::json::{DuplicateNames, Json, JsonType, SyntaxError, SyntaxErrorKind, below, scan};
use super::object_fields::{self, ObjectFields};
use super::refusal::{ManifestRule, Refusal};

/// A document with valid syntax.
pub(super) struct Document<'a> {
    pub(super) object: Json<'a>,
    pub(super) fields: ObjectFields<'a>,
}

impl<'a> Document<'a> {
    /// Reads bytes that must be one object in UTF-8 without duplicate names.
    pub(super) fn parse_strict(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if let Err(error) = std::str::from_utf8(bytes) {
            return Err(not_json(error.to_string()));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(not_json("empty".into()));
        }
        scan(bytes, DuplicateNames::Refuse).map_err(|fault| refusal(&fault, bytes))?;
        let object = Json::of(bytes);
        if object.json_type() != JsonType::Object {
            let value = object.to_string();
            return Err(Refusal::new(
                ManifestRule::NotObject,
                "",
                value,
                "an object",
            ));
        }
        Ok(Self {
            object,
            fields: ObjectFields::of(object, object_fields::DOCUMENT)?,
        })
    }
}

/// Reads bytes that Go's decoder accepts as an object, even if they break other rules.
pub(super) fn parse_lenient_object(bytes: &[u8]) -> Option<Json<'_>> {
    scan(bytes, DuplicateNames::Allow).ok()?;
    Some(Json::of(bytes)).filter(|value| value.json_type() == JsonType::Object)
}

fn not_json(value: String) -> Refusal {
    let expected = "one JSON object in UTF-8, without a byte order mark";
    Refusal::new(ManifestRule::NotJson, "", value, expected)
}

fn refusal(fault: &SyntaxError, bytes: &[u8]) -> Refusal {
    let pointer = |steps: usize| {
        let steps = fault.path.iter().take(steps);
        steps.fold(String::new(), |pointer, step| below(&pointer, step))
    };
    match fault.kind {
        SyntaxErrorKind::Unexpected(expected) => {
            let before = bytes.get(..fault.at).unwrap_or_default();
            let mut lines = before.split(|byte| *byte == b'\n');
            let column = lines.next_back().map_or(1, |last| last.len() + 1);
            let line = lines.count() + 1;
            not_json(format!(
                "not JSON: line {line} column {column} is not {expected}"
            ))
        }
        SyntaxErrorKind::TooDeep => {
            let expected = format!("at most {} levels", super::json::DEPTH_MAX);
            Refusal::new(
                ManifestRule::TooDeep,
                pointer(1),
                "nested too deeply",
                expected,
            )
        }
        SyntaxErrorKind::DuplicateName => {
            let twice = "a duplicate key";
            let place = pointer(usize::MAX);
            Refusal::new(ManifestRule::DuplicateKey, place, twice, "each key once")
        }
    }
}
