//! Manifests: bytes judged, and what they name.
//!
//! [`parse`] tells the kind of a document from its content, checks its structure and gives what
//! it references, or refuses it with the rule, the place, the value and what was expected.
//! Rules: OCI image-spec 1.1.1 and what distribution 2.8 to 3.1 enforces, made stricter where
//! a document could be read as two kinds (GHSA-77vh-xpmg-72qh, GHSA-mc8v-mgrf-8f4m).
//!
//! It is pure: whether what is referenced exists, and is of the size that is said, is for the
//! registry to check.

use crate::digest::Digest;

mod descriptor;
mod json;
mod kind;
mod refusal;

pub use kind::Kind;
pub use refusal::{Refusal, Rule};

use descriptor::{Descriptor, descriptor, descriptors};
use json::Json;
use kind::{classify, schema_version};

/// Largest manifest in bytes (distribution-spec 1.1.1: at least this much should be taken).
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Media type of the empty configuration.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// What a manifest names something as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its configuration.
    Config,
    /// A layer.
    Layer,
    /// A manifest of an index.
    Child,
    /// The manifest that it is about.
    Subject,
}

/// What must be in the repository for a reference to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A blob that the repository holds as a layer.
    Blob,
    /// A manifest that the repository holds as a revision.
    Manifest,
    /// Nothing: a subject may be missing, and foreign layers are elsewhere.
    Nothing,
}

/// Something that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// As what.
    pub role: Role,
    /// Its media type, as the manifest says.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes, as the manifest says.
    pub size: u64,
    /// Where the manifest names it, as a JSON pointer.
    pub pointer: String,
    /// What must be there.
    pub need: Need,
}

/// A manifest that keeps every rule that can be checked without a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    kind: Kind,
    artifact_type: Option<String>,
    references: Vec<Reference>,
    warnings: Vec<String>,
}

impl Manifest {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its media type, also where the document does not say one.
    pub fn media_type(&self) -> &'static str {
        self.kind.media_type()
    }

    /// What kind of artifact it says it is.
    pub fn artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref()
    }

    /// What it names, in the document's order; its subject last.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// What is unwise, but admitted by every registry.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Judges a document.
pub fn parse(bytes: &[u8]) -> Result<Manifest, Refusal> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        let value = format!("{} bytes", bytes.len());
        return Err(Refusal::new(
            Rule::TooLarge,
            "",
            value,
            "at most 4194304 bytes",
        ));
    }
    let document = json::parse(bytes)?;
    let kind = classify(&document)?;
    schema_version(&document)?;
    let mut references = Vec::new();
    let mut warnings = Vec::new();
    if kind.is_index() {
        children(&document, &mut references)?;
    } else {
        image(kind, &document, &mut references, &mut warnings)?;
    }
    let artifact_type = artifact_type(&document)?;
    descriptor::annotations(&document, "")?;
    if let Some(subject) = document.get("subject") {
        let subject = descriptor(subject, "/subject")?;
        references.push(subject.reference(Role::Subject, Need::Nothing));
    }
    Ok(Manifest {
        kind,
        artifact_type,
        references,
        warnings,
    })
}

/// What stored bytes are, without judging them: for trees that others have written.
pub fn recognise(bytes: &[u8]) -> Option<Kind> {
    let document = json::parse(bytes).ok()?;
    kind::claimed(&document).ok().flatten()
}

/// Checks a configuration and layers.
fn image(
    kind: Kind,
    document: &Json,
    references: &mut Vec<Reference>,
    warnings: &mut Vec<String>,
) -> Result<(), Refusal> {
    let config = document
        .get("config")
        .ok_or_else(|| missing("/config", "a descriptor"))?;
    let config = descriptor(config, "/config")?;
    if config.media_type == EMPTY && document.get("artifactType").is_none() {
        warnings.push("the configuration is empty and artifactType is not set".into());
    }
    references.push(config.reference(Role::Config, Need::Blob));
    let layers = document
        .get("layers")
        .ok_or_else(|| missing("/layers", "an array"))?;
    for layer in descriptors(layers, "/layers")? {
        let need = layer_need(kind, &layer)?;
        references.push(layer.reference(Role::Layer, need));
    }
    Ok(())
}

/// Foreign layers are fetched from elsewhere; every other layer must be here.
fn layer_need(kind: Kind, layer: &Descriptor) -> Result<Need, Refusal> {
    let foreign = layer.media_type.contains(".foreign.");
    if kind == Kind::DockerManifest && foreign && layer.urls.is_empty() {
        let pointer = format!("{}/urls", layer.pointer);
        return Err(missing(
            &pointer,
            "at least one URL, since the layer is foreign",
        ));
    }
    let elsewhere = foreign || layer.media_type.contains(".nondistributable.");
    Ok(if elsewhere && !layer.urls.is_empty() {
        Need::Nothing
    } else {
        Need::Blob
    })
}

/// Checks the manifests of an index.
fn children(document: &Json, references: &mut Vec<Reference>) -> Result<(), Refusal> {
    let manifests = document
        .get("manifests")
        .ok_or_else(|| missing("/manifests", "an array"))?;
    for child in descriptors(manifests, "/manifests")? {
        let manifest = Kind::from_media_type(&child.media_type).is_some();
        let need = if manifest { Need::Manifest } else { Need::Blob };
        references.push(child.reference(Role::Child, need));
    }
    Ok(())
}

fn artifact_type(document: &Json) -> Result<Option<String>, Refusal> {
    let Some(value) = document.get("artifactType") else {
        return Ok(None);
    };
    descriptor::media_type(value, "/artifactType").map(|text| Some(text.to_owned()))
}

fn missing(pointer: &str, expected: &str) -> Refusal {
    Refusal::new(Rule::MissingField, pointer, "nothing", expected)
}

#[cfg(test)]
mod tests;
