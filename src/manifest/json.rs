//! JSON as a manifest needs it: every key of an object kept, so that none can hide another.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Refusal, Rule};

/// Deepest nesting; no manifest of any kind comes near.
const DEPTH_MAX: usize = 32;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// An integer that fits, as manifests have.
    Integer(i128),
    /// Any other number.
    Number(f64),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value of a key; nothing if there is none, or it is null, or this is no object.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        let (_, value) = members.iter().find(|(name, _)| name == key)?;
        (*value != Self::Null).then_some(value)
    }

    /// Whether a key is there, even with null.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(self, Self::Object(members) if members.iter().any(|(name, _)| name == key))
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }
}

/// Shows a value as it might stand in a document, cut short where it is large.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Array(values) => write!(f, "an array of {}", values.len()),
            Self::Object(members) => write!(f, "an object of {}", members.len()),
        }
    }
}

/// Reads a document, which must be one object without duplicate keys anywhere.
pub(super) fn parse(bytes: &[u8]) -> Result<Json, Refusal> {
    let not_json = |value: String| {
        Refusal::new(
            Rule::NotJson,
            "",
            value,
            "one JSON object in UTF-8, without a byte order mark",
        )
    };
    let text = std::str::from_utf8(bytes).map_err(|error| not_json(error.to_string()))?;
    if text.trim().is_empty() {
        return Err(not_json("empty".into()));
    }
    let document: Json = serde_json::from_str(text).map_err(|error| {
        if error.to_string().starts_with("recursion limit") {
            return too_deep("");
        }
        not_json(format!("not JSON: {error}"))
    })?;
    if !matches!(document, Json::Object(_)) {
        return Err(Refusal::new(
            Rule::NotObject,
            "",
            document.to_string(),
            "an object",
        ));
    }
    check(&document, &mut String::new(), 0)?;
    Ok(document)
}

fn too_deep(pointer: &str) -> Refusal {
    let expected = format!("at most {DEPTH_MAX} levels");
    Refusal::new(Rule::TooDeep, pointer, "nested too deeply", expected)
}

/// Looks for duplicate keys and deep nesting. The recursion is as deep as the cap allows.
fn check(value: &Json, pointer: &mut String, depth: usize) -> Result<(), Refusal> {
    if depth > DEPTH_MAX {
        return Err(too_deep(pointer));
    }
    let parent = pointer.len();
    match value {
        Json::Object(members) => {
            let mut seen = HashSet::new();
            for (key, value) in members {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                if !seen.insert(key) {
                    let twice = "a second value for the same key";
                    return Err(Refusal::new(
                        Rule::DuplicateKey,
                        &**pointer,
                        twice,
                        "each key once",
                    ));
                }
                check(value, pointer, depth + 1)?;
                pointer.truncate(parent);
            }
        }
        Json::Array(values) => {
            for (position, value) in values.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&position.to_string());
                check(value, pointer, depth + 1)?;
                pointer.truncate(parent);
            }
        }
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Number(_) | Json::String(_) => {}
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}
