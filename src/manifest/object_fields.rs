//! Object fields: the members of an object that readers of manifests know.
//!
//! Go's `encoding/json`, which registries and most clients use, matches names to fields regardless
//! of case. Readers in other languages do not. Such a name would give one document two meanings, so
//! the strict parser refuses it.

use std::borrow::Cow;

use super::json::{Json, JsonType, below};
use super::refusal::{ManifestRule, Refusal};

/// Fields of a document that some reader reads, whatever its kind.
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
/// Further fields of a schema 1 document.
pub(super) const SCHEMA1: &[&str] = &["name", "tag", "architecture"];
/// Fields of a descriptor.
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
/// Fields of a platform.
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
    /// Reads an object without duplicate names; a value of another type has no fields.
    ///
    /// # Errors
    /// Refuses a name that Go's decoder matches to a field and others do not.
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
                    format!("{field:?}, to which readers in Go match it, or no such key");
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

    /// The value of a field, including null.
    pub(super) fn member(&self, name: &str) -> Option<Json<'a>> {
        let at = self.names.iter().position(|field| *field == name)?;
        self.values.get(at).copied().flatten()
    }

    /// The value of a field; `None` if it is absent or null.
    pub(super) fn get(&self, name: &str) -> Option<Json<'a>> {
        self.member(name)
            .filter(|value| value.json_type() != JsonType::Null)
    }

    /// Reads a field that must exist.
    pub(super) fn required<T>(
        &self,
        name: &str,
        read: impl FnOnce(Json<'a>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let found = self.optional(name, read)?;
        found.ok_or_else(|| Refusal::missing(&below("", name), "a value"))
    }

    /// Reads a field if it exists.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(Json<'a>) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let read = self.get(name).map(read).transpose();
        read.map_err(|refusal| refusal.under(&below("", name)))
    }
}

/// Returns `true` if Go's decoder matches a name to this (ASCII) field: regardless of case, by
/// Unicode's simple folding.
pub(super) fn go_field_matches(name: &str, field: &str) -> bool {
    name == field
        || name
            .chars()
            .map(folded)
            .eq(field.chars().map(|one| one.to_ascii_lowercase()))
}

/// The ASCII letter to which a character folds, or the character itself.
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

/// Requires a string.
pub(super) fn text(value: Json<'_>) -> Result<Cow<'_, str>, Refusal> {
    value.text().ok_or_else(|| wrong_type(value, "a string"))
}

/// Requires an object.
pub(super) fn object<'a>(value: Json<'a>, expected: &str) -> Result<Json<'a>, Refusal> {
    of_type(value, JsonType::Object, expected)
}

/// Requires an array.
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
