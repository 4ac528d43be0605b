//! The lenient parser: references of stored manifests, whoever admitted them.
//!
//! A registry decodes a stored manifest with Go's `encoding/json` into structures: names match
//! regardless of case, the last of several members with a name wins field by field, null and
//! unknown members are ignored, and a value of the wrong type is skipped. This parser does the
//! same, with one structure that has the fields of every kind: an extra reference only retains a
//! blob, a missing one loses an image.

use std::borrow::Cow;

use super::descriptor::is_media_type;
use super::document::parse_lenient_object;
use super::json::{Json, JsonType};
use super::kind::Kind;
use super::object_fields::go_field_matches;
use super::reference::{ManifestSummary, Reference, ReferenceRole, ReferencedDigest, Requirement};
use super::schema1;

/// Longest recorded media type in bytes, unless it is that of a known manifest.
const MEDIA_TYPE_MAX: usize = 255;

/// Reads a manifest as registries do. Returns `None` if no registry could serve it.
pub fn parse_lenient(bytes: &[u8]) -> Option<ManifestSummary> {
    let mut document = LenientDocument::default();
    for (name, value) in parse_lenient_object(bytes)?.members() {
        document.decode(&name, value);
    }
    document.into_summary()
}

/// The decoded fields of every kind of manifest.
#[derive(Default)]
struct LenientDocument<'a> {
    schema_version: i64,
    media_type: Cow<'a, str>,
    config: Option<LenientDescriptor<'a>>,
    layers: GoSlice<'a>,
    manifests: GoSlice<'a>,
    /// In artifact manifests, which OCI had before image-spec 1.1.
    blobs: GoSlice<'a>,
    fs_layers: GoSlice<'a>,
    subject: Option<LenientDescriptor<'a>>,
}

/// The field of a descriptor with its digest.
const DIGEST: &str = "digest";
/// The same in a schema 1 layer.
const BLOB_SUM: &str = "blobSum";

/// The decoded fields of a descriptor, or of a schema 1 layer.
#[derive(Clone, Default)]
struct LenientDescriptor<'a> {
    media_type: Cow<'a, str>,
    digest: Cow<'a, str>,
    size: i64,
    urls: usize,
}

/// A slice as Go decodes an array: elements of an earlier array remain after the end of a shorter
/// one, and a longer one is decoded into them.
#[derive(Default)]
struct GoSlice<'a> {
    elements: Vec<LenientDescriptor<'a>>,
    len: Option<usize>,
}

fn set_text<'a>(field: &mut Cow<'a, str>, value: Json<'a>) {
    if let Some(text) = value.text() {
        *field = text;
    }
}

fn set_integer(field: &mut i64, value: Json<'_>) {
    if let Some(integer) = value.integer() {
        *field = integer;
    }
}

/// Decodes into a pointer; null resets it.
fn set_pointer<'a>(field: &mut Option<LenientDescriptor<'a>>, value: Json<'a>) {
    match value.json_type() {
        JsonType::Null => *field = None,
        JsonType::Object => field.get_or_insert_default().decode(value, DIGEST),
        JsonType::Bool | JsonType::Number | JsonType::String | JsonType::Array => {}
    }
}

impl<'a> LenientDocument<'a> {
    fn decode(&mut self, name: &str, value: Json<'a>) {
        let is = |field: &str| go_field_matches(name, field);
        if is("schemaVersion") {
            set_integer(&mut self.schema_version, value);
        } else if is("mediaType") {
            set_text(&mut self.media_type, value);
        } else if is("config") && value.json_type() == JsonType::Object {
            self.config.get_or_insert_default().decode(value, DIGEST);
        } else if is("layers") {
            self.layers.decode(value, DIGEST);
        } else if is("manifests") {
            self.manifests.decode(value, DIGEST);
        } else if is("blobs") {
            self.blobs.decode(value, DIGEST);
        } else if is("fsLayers") {
            self.fs_layers.decode(value, BLOB_SUM);
        } else if is("subject") {
            set_pointer(&mut self.subject, value);
        }
    }

    fn into_summary(self) -> Option<ManifestSummary> {
        let references = self.references();
        // A document that has some references but no known kind is served as registries assume.
        let assumed = Cow::Borrowed(Kind::OciManifest.media_type());
        let assumed = (!references.is_empty()).then_some(assumed);
        Some(ManifestSummary {
            media_type: self.media_type().or(assumed)?,
            references,
        })
    }

    /// The references of all fields, with the subject last.
    fn references(&self) -> Vec<Reference> {
        use ReferenceRole::{Child, Config, Layer, Subject};
        let mut references = Vec::new();
        let mut add = |role, pointer: String, one: &LenientDescriptor<'a>, requirement| {
            references.extend(one.reference(role, pointer, requirement));
        };
        if let Some(config) = &self.config {
            add(Config, "/config".into(), config, config.requirement());
        }
        for (at, layer) in self.layers.iter().enumerate() {
            add(Layer, format!("/layers/{at}"), layer, layer.requirement());
        }
        for (at, child) in self.manifests.iter().enumerate() {
            let requirement = match Kind::from_media_type(&child.media_type) {
                Some(_) => Requirement::Manifest,
                None => Requirement::Either,
            };
            add(Child, format!("/manifests/{at}"), child, requirement);
        }
        for (at, blob) in self.blobs.iter().enumerate() {
            add(Layer, format!("/blobs/{at}"), blob, blob.requirement());
        }
        for (at, layer) in self.fs_layers.iter().enumerate() {
            let layer = LenientDescriptor {
                media_type: schema1::LAYER.into(),
                digest: layer.digest.clone(),
                ..LenientDescriptor::default()
            };
            let pointer = format!("/fsLayers/{at}");
            add(Layer, pointer, &layer, Requirement::Blob);
        }
        if let Some(subject) = &self.subject {
            add(Subject, "/subject".into(), subject, Requirement::Nothing);
        }
        references
    }

    /// The media type under which registries serve it, by stated type and fields.
    fn media_type(&self) -> Option<Cow<'static, str>> {
        let said = Kind::from_media_type(&self.media_type);
        let kind = if self.schema_version == 1 && said.is_none_or(Kind::is_schema1) {
            Some(Kind::Schema1)
        } else if said.is_some() {
            said
        } else if self.media_type.len() <= MEDIA_TYPE_MAX && is_media_type(&self.media_type) {
            return Some(Cow::Owned(self.media_type.clone().into_owned()));
        } else if self.manifests.len.is_some() {
            Some(Kind::OciIndex)
        } else if self.fs_layers.len.is_some() {
            Some(Kind::Schema1)
        } else {
            let named = self.config.is_some() || self.subject.is_some();
            (named || self.layers.len.is_some()).then_some(Kind::OciManifest)
        };
        kind.map(|kind| Cow::Borrowed(kind.media_type()))
    }
}

impl<'a> GoSlice<'a> {
    fn decode(&mut self, value: Json<'a>, digest: &str) {
        if value.json_type() == JsonType::Null {
            *self = Self::default();
        }
        if value.json_type() != JsonType::Array {
            return;
        }
        let mut len = 0;
        for element in value.elements() {
            if len == self.elements.len() {
                self.elements.push(LenientDescriptor::default());
            }
            if let Some(descriptor) = self.elements.get_mut(len) {
                descriptor.decode(element, digest);
            }
            len += 1;
        }
        if len == 0 {
            self.elements.clear();
        }
        self.len = Some(len);
    }

    fn iter(&self) -> impl Iterator<Item = &LenientDescriptor<'a>> {
        self.elements.iter().take(self.len.unwrap_or_default())
    }
}

impl<'a> LenientDescriptor<'a> {
    fn decode(&mut self, value: Json<'a>, digest: &str) {
        for (name, value) in value.members() {
            let is = |field: &str| go_field_matches(&name, field);
            if is("mediaType") {
                set_text(&mut self.media_type, value);
            } else if is(digest) {
                set_text(&mut self.digest, value);
            } else if is("size") {
                set_integer(&mut self.size, value);
            } else if is("urls") && matches!(value.json_type(), JsonType::Null | JsonType::Array) {
                self.urls = value.elements().count();
            }
        }
    }

    /// Whether the blob must be stored here; registries do not require that if it has URLs.
    fn requirement(&self) -> Requirement {
        let elsewhere = [".foreign.", ".nondistributable."];
        if self.urls > 0 || elsewhere.iter().any(|one| self.media_type.contains(one)) {
            Requirement::Nothing
        } else {
            Requirement::Blob
        }
    }

    /// The reference; `None` without a digest.
    fn reference(
        &self,
        role: ReferenceRole,
        pointer: String,
        requirement: Requirement,
    ) -> Option<Reference> {
        let digest = match self.digest.parse() {
            Ok(digest) => ReferencedDigest::Known(digest),
            Err(_) if self.digest.is_empty() => return None,
            Err(_) => ReferencedDigest::UnknownAlgorithm(self.digest.clone().into_owned()),
        };
        Some(Reference {
            role,
            media_type: self.media_type.clone().into_owned(),
            digest,
            size: u64::try_from(self.size).ok().filter(|size| *size > 0),
            pointer,
            requirement,
        })
    }
}
