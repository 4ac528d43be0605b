//! Kinds: what a document is, told from its content alone.

use super::json::Json;
use super::{Refusal, Rule};

/// What a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Docker image manifest, version 2 schema 2.
    DockerManifest,
    /// Docker manifest list.
    DockerManifestList,
    /// OCI image manifest, of an image or an artifact.
    OciManifest,
    /// OCI image index.
    OciIndex,
    /// Docker image manifest, version 2 schema 1: read, never made anew.
    Schema1,
    /// The same, with its signatures.
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

    /// The media type under which it is served.
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

    /// The kind of this media type.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.media_type() == media_type)
    }

    /// Whether it names manifests rather than layers.
    pub fn is_index(self) -> bool {
        matches!(self, Self::DockerManifestList | Self::OciIndex)
    }

    /// Whether the document itself must say its media type.
    fn says_media_type(self) -> bool {
        matches!(self, Self::DockerManifest | Self::DockerManifestList)
    }
}

/// The keys that only an index has, and those that only an image has.
const INDEX_KEYS: [&str; 1] = ["manifests"];
const IMAGE_KEYS: [&str; 4] = ["config", "layers", "fsLayers", "history"];

/// The kind of a document that may be made here.
pub(super) fn classify(document: &Json) -> Result<Kind, Refusal> {
    let index = INDEX_KEYS.into_iter().find(|key| document.has(key));
    let image = IMAGE_KEYS.into_iter().find(|key| document.has(key));
    if let (Some(index), Some(image)) = (index, image) {
        let value = format!("a document with both {index:?} and {image:?}");
        return Err(Refusal::new(
            Rule::AmbiguousKind,
            format!("/{image}"),
            value,
            "one or the other",
        ));
    }
    let kind = claimed(document)?.ok_or_else(|| {
        let expected = "a mediaType, or manifests, or config and layers";
        Refusal::new(Rule::UnknownKind, "", "of no known kind", expected)
    })?;
    if matches!(kind, Kind::Schema1 | Kind::Schema1Signed) {
        let expected = "schema 2 or OCI: schema 1 is read where it exists, and not made anew";
        return Err(Refusal::new(
            Rule::Schema1Refused,
            "/schemaVersion",
            "1",
            expected,
        ));
    }
    if index.is_some() && !kind.is_index() || image.is_some() && kind.is_index() {
        let key = index.or(image).unwrap_or_default();
        let value = format!("a {} with {key:?}", kind.media_type());
        let expected = if kind.is_index() {
            "manifests"
        } else {
            "config and layers"
        };
        return Err(Refusal::new(
            Rule::AmbiguousKind,
            format!("/{key}"),
            value,
            expected,
        ));
    }
    if kind.says_media_type() && document.get("mediaType").is_none() {
        return Err(Refusal::new(
            Rule::MissingField,
            "/mediaType",
            "nothing",
            kind.media_type(),
        ));
    }
    Ok(kind)
}

/// The kind that a document says or shows it is.
pub(super) fn claimed(document: &Json) -> Result<Option<Kind>, Refusal> {
    if let Some(value) = document.get("mediaType") {
        let known = value.as_str().and_then(Kind::from_media_type);
        return known.map(Some).ok_or_else(|| {
            let expected = "the media type of a Docker or OCI manifest or index";
            Refusal::new(
                Rule::UnknownMediaType,
                "/mediaType",
                value.to_string(),
                expected,
            )
        });
    }
    if document.get("schemaVersion") == Some(&Json::Integer(1)) {
        let signed = document.get("signatures").is_some();
        return Ok(Some(if signed {
            Kind::Schema1Signed
        } else {
            Kind::Schema1
        }));
    }
    if matches!(document.get("manifests"), Some(Json::Array(_))) {
        return Ok(Some(Kind::OciIndex));
    }
    let image = matches!(document.get("config"), Some(Json::Object(_)))
        && matches!(document.get("layers"), Some(Json::Array(_)));
    Ok(image.then_some(Kind::OciManifest))
}

/// Every kind that may be made is of schema version 2.
pub(super) fn schema_version(document: &Json) -> Result<(), Refusal> {
    match document.get("schemaVersion") {
        Some(Json::Integer(2)) => Ok(()),
        None => Err(Refusal::new(
            Rule::MissingField,
            "/schemaVersion",
            "nothing",
            "2",
        )),
        Some(other) => Err(Refusal::new(
            Rule::SchemaVersion,
            "/schemaVersion",
            other.to_string(),
            "2",
        )),
    }
}
