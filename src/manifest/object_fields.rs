//! Fields: the members of an object by the names that readers of manifests know.
//!
//! Go's `encoding/json`, with which registries and most clients read, takes a name that differs
//! from a field's only in case for that field. Readers in other languages do not: such a name
//! would make one document mean two things, so that judging refuses it.

use std::borrow::Cow;

use super::json::{Json, JsonType, below};
use super::{ManifestRule, Refusal};

/// What some reader reads of a document, whatever its kind.
pub(super) const DOCUMENT: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "fsLayers",
    "history",
    "signatures",
    "subject",
    "annotations",
];
/// What is read of a schema 1 document besides.
pub(super) const SCHEMA1: &[&str] = &["name", "tag", "architecture"];
/// What is read of a descriptor.
pub(super) const DESCRIPTOR: &[&str] = &[
    "mediaType",
    "digest",
    "size",
    "urls",
    "annotations",
    "data",
    "artifactType",
    "platform",
];
/// What is read of a platform.
pub(super) const PLATFORM: &[&str] = &[
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "features",
];

/// The values of an object's fields.
pub(super) struct ObjectFields<'a> {
    names: &'static [&'static str],
    values: Vec<Option<Json<'a>>>,
}

impl<'a> ObjectFields<'a> {
    /// Reads an object that has no two members of one name; another value has no fields.
    ///
    /// # Errors
    /// Refuses a name that is not a field's, but is taken for one by Go's decoder.
    pub(super) fn of(object: Json<'a>, names: &'static [&'static str]) -> Result<Self, Refusal> {
        let mut values = vec![None; names.len()];
        for (name, value) in object.members() {
            let Some(at) = names
                .iter()
                .position(|field| go_field_matches(&name, field))
            else {
                continue;
            };
            let field = names.get(at).copied().unwrap_or_default();
            if name != field {
                let expected =
                    format!("{field:?}, for which readers in Go take it, or no such key");
                let shown = format!("the key {name:?}");
                let place = below("", &name);
                return Err(Refusal::new(
                    ManifestRule::AmbiguousKey,
                    place,
                    shown,
                    expected,
                ));
            }
            if let Some(slot) = values.get_mut(at) {
                *slot = Some(value);
            }
        }
        Ok(Self { names, values })
    }

    /// The value of a field, even null.
    pub(super) fn member(&self, name: &str) -> Option<Json<'a>> {
        let at = self.names.iter().position(|field| *field == name)?;
        self.values.get(at).copied().flatten()
    }

    /// The value of a field; nothing if there is none, or it is null.
    pub(super) fn get(&self, name: &str) -> Option<Json<'a>> {
        self.member(name)
            .filter(|value| value.json_type() != JsonType::Null)
    }

    /// Reads a field that must be there.
    pub(super) fn required<T>(
        &self,
        name: &str,
        read: impl FnOnce(Json<'a>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let found = self.optional(name, read)?;
        found.ok_or_else(|| super::missing(&below("", name), "a value"))
    }

    /// Reads a field, if it is there.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(Json<'a>) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let read = self.get(name).map(read).transpose();
        read.map_err(|refusal| refusal.under(&below("", name)))
    }
}

/// Whether Go's decoder takes a name for this field, which is of ASCII: without regard to case,
/// by Unicode's simple folding.
pub(super) fn go_field_matches(name: &str, field: &str) -> bool {
    name == field
        || name
            .chars()
            .map(folded)
            .eq(field.chars().map(|one| one.to_ascii_lowercase()))
}

/// The ASCII letter that a character is folded to; itself if none is.
fn folded(one: char) -> char {
    match one {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

pub(super) fn wrong_type(value: Json<'_>, expected: &str) -> Refusal {
    Refusal::new(ManifestRule::WrongType, "", value.to_string(), expected)
}

/// A string.
pub(super) fn text(value: Json<'_>) -> Result<Cow<'_, str>, Refusal> {
    value.text().ok_or_else(|| wrong_type(value, "a string"))
}

/// Refuses what is not an object.
pub(super) fn object<'a>(value: Json<'a>, expected: &str) -> Result<Json<'a>, Refusal> {
    of_type(value, JsonType::Object, expected)
}

/// Refuses what is not an array.
pub(super) fn array<'a>(value: Json<'a>, expected: &str) -> Result<Json<'a>, Refusal> {
    of_type(value, JsonType::Array, expected)
}

fn of_type<'a>(value: Json<'a>, shape: JsonType, expected: &str) -> Result<Json<'a>, Refusal> {
    if value.json_type() == shape {
        Ok(value)
    } else {
        Err(wrong_type(value, expected))
    }
}
