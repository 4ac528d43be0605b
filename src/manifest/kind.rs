//! Kinds of manifests, detected from the content alone.

use super::json::{Json, JsonType};
use super::object_fields::ObjectFields;
use super::refusal::{ManifestRule, Refusal};

/// The kind of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Docker image manifest, version 2 schema 2.
    DockerManifest,
    /// Docker manifest list.
    DockerManifestList,
    /// OCI image manifest, for an image or an artifact.
    OciManifest,
    /// OCI image index.
    OciIndex,
    /// Docker image manifest, version 2 schema 1, without signatures.
    Schema1,
    /// Docker image manifest, version 2 schema 1, with signatures.
    Schema1Signed,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::DockerManifest,
        Self::DockerManifestList,
        Self::OciManifest,
        Self::OciIndex,
        Self::Schema1,
        Self::Schema1Signed,
    ];

    /// The media type under which registries serve it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerManifestList => "application/vnd.docker.distribution.manifest.list.v2+json",
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::Schema1 => "application/vnd.docker.distribution.manifest.v1+json",
            Self::Schema1Signed => "application/vnd.docker.distribution.manifest.v1+prettyjws",
        }
    }

    /// The name of the kind in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::DockerManifest => "Docker image manifest",
            Self::DockerManifestList => "Docker manifest list",
            Self::OciManifest => "OCI image manifest",
            Self::OciIndex => "OCI image index",
            Self::Schema1 => "Docker schema 1 manifest",
            Self::Schema1Signed => "Docker schema 1 manifest, signed",
        }
    }

    /// The kind with this media type.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.media_type() == media_type)
    }

    /// Returns `true` for schema version 1.
    pub fn is_schema1(self) -> bool {
        matches!(self, Self::Schema1 | Self::Schema1Signed)
    }

    /// Returns `true` for the kinds of OCI's image-spec.
    pub(super) fn is_oci(self) -> bool {
        matches!(self, Self::OciManifest | Self::OciIndex)
    }

    /// The schema version that a document of this kind states.
    fn schema_version(self) -> i64 {
        if self.is_schema1() { 1 } else { 2 }
    }

    /// Returns `true` if a key of [`KIND_KEYS`] belongs to this kind.
    fn admits(self, key: &str) -> bool {
        match self {
            Self::DockerManifest | Self::OciManifest => matches!(key, "config" | "layers"),
            Self::DockerManifestList | Self::OciIndex => key == "manifests",
            Self::Schema1 | Self::Schema1Signed => matches!(key, "fsLayers" | "history"),
        }
    }
}

/// The keys by which readers tell kinds apart.
const KIND_KEYS: [&str; 5] = ["config", "layers", "manifests", "fsLayers", "history"];

/// Returns the kind of a document, which must not be readable as another.
pub(super) fn classify(document: &ObjectFields<'_>) -> Result<Kind, Refusal> {
    let has_key = |key: &&str| document.member(key).is_some();
    let index = has_key(&"manifests");
    let image = KIND_KEYS
        .into_iter()
        .find(|key| *key != "manifests" && has_key(key));
    if let (true, Some(image)) = (index, image) {
        let value = "present beside \"manifests\"".to_owned();
        return Err(ambiguous(image, value, "one of them only"));
    }
    let kind = detect(document)?.ok_or_else(|| {
        let expected = "a mediaType, or manifests, or config and layers";
        Refusal::new(ManifestRule::UnknownKind, "", "of no known kind", expected)
    })?;
    if let Some(key) = KIND_KEYS
        .into_iter()
        .find(|key| has_key(key) && !kind.admits(key))
    {
        let own = KIND_KEYS.into_iter().filter(|key| kind.admits(key));
        let expected = format!("only {}", own.collect::<Vec<_>>().join(" and "));
        let value = format!("present in a document of type {}", kind.media_type());
        return Err(ambiguous(key, value, &expected));
    }
    schema_version(document, kind)?;
    Ok(kind)
}

fn ambiguous(key: &str, value: String, expected: &str) -> Refusal {
    Refusal::new(
        ManifestRule::AmbiguousKind,
        format!("/{key}"),
        value,
        expected,
    )
}

/// Detects the kind by schema version, media type and structure, in this order, as distribution
/// does for stored manifests.
fn detect(document: &ObjectFields<'_>) -> Result<Option<Kind>, Refusal> {
    let said = document.get("mediaType").map(|value| {
        let known = value.text().and_then(|text| Kind::from_media_type(&text));
        known.ok_or_else(|| {
            let expected = "the media type of a Docker or OCI manifest or index";
            let shown = value.to_string();
            Refusal::new(
                ManifestRule::UnknownMediaType,
                "/mediaType",
                shown,
                expected,
            )
        })
    });
    let said = said.transpose()?;
    let shape = |key: &str| document.get(key).map(Json::json_type);
    let first = document.get("schemaVersion").and_then(Json::integer) == Some(1);
    if first && said.is_none_or(Kind::is_schema1) {
        let signed = document.get("signatures").is_some();
        return Ok(Some(if signed {
            Kind::Schema1Signed
        } else {
            Kind::Schema1
        }));
    }
    if said.is_some() {
        return Ok(said);
    }
    if shape("manifests") == Some(JsonType::Array) {
        return Ok(Some(Kind::OciIndex));
    }
    let image =
        shape("config") == Some(JsonType::Object) && shape("layers") == Some(JsonType::Array);
    Ok(image.then_some(Kind::OciManifest))
}

/// Checks that a document states the schema version of its kind.
fn schema_version(document: &ObjectFields<'_>, kind: Kind) -> Result<(), Refusal> {
    let expected = kind.schema_version();
    let place = "/schemaVersion";
    match document.get("schemaVersion") {
        Some(version) if version.integer() == Some(expected) => Ok(()),
        None => Err(Refusal::missing(place, &expected.to_string())),
        Some(other) => {
            let (value, expected) = (other.to_string(), expected.to_string());
            Err(Refusal::new(
                ManifestRule::SchemaVersion,
                place,
                value,
                expected,
            ))
        }
    }
}
