//! JSON as a manifest needs it: every key of an object kept, so that none can hide another.
//!
//! A document is read once, into values that borrow from it: an attacker's four mebibytes of
//! nothing must cost no more than a manifest does.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{Refusal, Rule};

/// Deepest nesting; no manifest of any kind comes near.
const DEPTH_MAX: usize = 32;
/// Values in all. The largest index that a registry takes, four mebibytes of the
/// shortest descriptors, has fewer.
const VALUES_MAX: usize = 160_000;
/// Keys of one object that are compared with each other; more are put into a set.
const KEYS_COMPARED: usize = 16;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// An integer of 64 bits, as manifests have.
    Integer(i64),
    /// Any other number.
    Number(f64),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl Json<'_> {
    /// The value of a key; nothing if there is none, or it is null, or this is no object.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.member(key).filter(|value| **value != Self::Null)
    }

    /// The value of a key, even null.
    pub(super) fn member(&self, key: &str) -> Option<&Self> {
        self.members()
            .iter()
            .find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Keys and values in the document's order; none if this is no object.
    pub(super) fn members(&self) -> &[(Cow<'_, str>, Self)] {
        if let Self::Object(members) = self {
            members
        } else {
            &[]
        }
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
impl fmt::Display for Json<'_> {
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
pub(super) fn parse(bytes: &[u8]) -> Result<Json<'_>, Refusal> {
    let expected = "one JSON object in UTF-8, without a byte order mark";
    let not_json = |value: String| Refusal::new(Rule::NotJson, "", value, expected);
    let text = std::str::from_utf8(bytes).map_err(|error| not_json(error.to_string()))?;
    if text.trim().is_empty() {
        return Err(not_json("empty".into()));
    }
    let left = Cell::new(VALUES_MAX);
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Any(&left).deserialize(&mut reader);
    let document = read.and_then(|document| reader.end().map(|()| document));
    let document = document.map_err(|error| {
        if left.get() == 0 {
            let expected = format!("at most {VALUES_MAX} values");
            return Refusal::new(Rule::TooManyValues, "", "of more values", expected);
        }
        if error.to_string().starts_with("recursion limit") {
            return too_deep("");
        }
        not_json(format!("not JSON: {error}"))
    })?;
    if !matches!(document, Json::Object(_)) {
        let value = document.to_string();
        return Err(Refusal::new(Rule::NotObject, "", value, "an object"));
    }
    check(&document, 0).map_err(|fault| fault.refusal())?;
    Ok(document)
}

fn too_deep(pointer: &str) -> Refusal {
    let expected = format!("at most {DEPTH_MAX} levels");
    Refusal::new(Rule::TooDeep, pointer, "nested too deeply", expected)
}

/// The pointer to a member of what `pointer` leads to (RFC 6901).
pub(super) fn below(pointer: &str, key: &str) -> String {
    if key.contains(['~', '/']) {
        return format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
    }
    format!("{pointer}/{key}")
}

/// What is wrong with a document's shape. The way to it is gathered from its end, so that a
/// document without a fault pays nothing for it.
struct Fault {
    rule: Rule,
    path: Vec<String>,
}

impl Fault {
    fn refusal(&self) -> Refusal {
        let keys = self.path.iter().rev();
        let pointer = keys.fold(String::new(), |pointer, key| below(&pointer, key));
        if self.rule == Rule::TooDeep {
            return too_deep(&pointer);
        }
        let twice = "a second value for the same key";
        Refusal::new(self.rule, pointer, twice, "each key once")
    }
}

/// Looks for duplicate keys and deep nesting. The recursion is as deep as the cap allows.
fn check(value: &Json<'_>, depth: usize) -> Result<(), Box<Fault>> {
    if depth > DEPTH_MAX {
        return Err(Box::new(Fault {
            rule: Rule::TooDeep,
            path: Vec::new(),
        }));
    }
    match value {
        Json::Object(members) => {
            if let Some(key) = duplicate(members) {
                return Err(Box::new(Fault {
                    rule: Rule::DuplicateKey,
                    path: vec![key.to_owned()],
                }));
            }
            members.iter().try_for_each(|(key, value)| {
                check(value, depth + 1).map_err(|mut fault| {
                    fault.path.push(key.clone().into_owned());
                    fault
                })
            })
        }
        Json::Array(values) => values.iter().enumerate().try_for_each(|(position, value)| {
            check(value, depth + 1).map_err(|mut fault| {
                fault.path.push(position.to_string());
                fault
            })
        }),
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Number(_) | Json::String(_) => Ok(()),
    }
}

/// A key that stands twice.
fn duplicate<'a>(members: &'a [(Cow<'_, str>, Json<'_>)]) -> Option<&'a str> {
    let mut keys = members.iter().map(|(key, _)| key.as_ref());
    if members.len() > KEYS_COMPARED {
        let mut seen = HashSet::with_capacity(members.len());
        return keys.find(|key| !seen.insert(*key));
    }
    let mut earlier = Vec::with_capacity(members.len());
    keys.find(|key| {
        let twice = earlier.contains(key);
        earlier.push(*key);
        twice
    })
}

/// Reads any value, as long as some are left to be read.
#[derive(Clone, Copy)]
struct Any<'c>(&'c Cell<usize>);

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        let left = self.0.get();
        let left = left.checked_sub(1);
        self.0
            .set(left.ok_or_else(|| D::Error::custom("too many values"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        // What is larger fits nothing that a manifest counts; only its size will be shown.
        #[expect(
            clippy::cast_precision_loss,
            reason = "shown to people, never reckoned with"
        )]
        Ok(i64::try_from(value).map_or(Json::Number(value as f64), Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            members.push((key, map.next_value_seed(self)?));
        }
        Ok(Json::Object(members))
    }
}

/// Reads a key, borrowed where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}
