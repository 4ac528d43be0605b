//! Documents: bytes that are one JSON object, as a manifest must be.

use super::fields::{self, Fields};
use super::json::{Fault, FaultKind, Json, Names, Shape, below, scan};
use super::{Refusal, Rule};

/// A document whose syntax was checked.
pub(super) struct Document<'a> {
    pub(super) object: Json<'a>,
    pub(super) fields: Fields<'a>,
}

impl<'a> Document<'a> {
    /// Reads bytes that must be one object, in UTF-8, with each name once.
    pub(super) fn judged(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if let Err(error) = std::str::from_utf8(bytes) {
            return Err(not_json(error.to_string()));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(not_json("empty".into()));
        }
        scan(bytes, Names::Unique).map_err(|fault| refusal(&fault, bytes))?;
        let object = Json::of(bytes);
        if object.shape() != Shape::Object {
            let value = object.to_string();
            return Err(Refusal::new(Rule::NotObject, "", value, "an object"));
        }
        Ok(Self {
            object,
            fields: Fields::of(object, fields::DOCUMENT)?,
        })
    }
}

/// Bytes that Go's decoder reads as an object, whatever else is wrong with them.
pub(super) fn readable(bytes: &[u8]) -> Option<Json<'_>> {
    scan(bytes, Names::Any).ok()?;
    Some(Json::of(bytes)).filter(|value| value.shape() == Shape::Object)
}

fn not_json(value: String) -> Refusal {
    let expected = "one JSON object in UTF-8, without a byte order mark";
    Refusal::new(Rule::NotJson, "", value, expected)
}

fn refusal(fault: &Fault, bytes: &[u8]) -> Refusal {
    let pointer = |steps: usize| {
        let steps = fault.path.iter().take(steps);
        steps.fold(String::new(), |pointer, step| below(&pointer, step))
    };
    match fault.kind {
        FaultKind::Unexpected(expected) => {
            let before = bytes.get(..fault.at).unwrap_or_default();
            let mut lines = before.split(|byte| *byte == b'\n');
            let column = lines.next_back().map_or(1, |last| last.len() + 1);
            let line = lines.count() + 1;
            not_json(format!(
                "not JSON: line {line} column {column} is not {expected}"
            ))
        }
        FaultKind::TooDeep => {
            let expected = format!("at most {} levels", super::json::DEPTH_MAX);
            Refusal::new(Rule::TooDeep, pointer(1), "nested too deeply", expected)
        }
        FaultKind::DuplicateName => {
            let twice = "a second value for the same key";
            let place = pointer(usize::MAX);
            Refusal::new(Rule::DuplicateKey, place, twice, "each key once")
        }
    }
}
