//! Manifests: validation, and references.
//!
//! There are two parsers. [`parse`] validates a document that a client wants to store: it detects
//! the kind from the content, checks the structure and returns the references, or a [`Refusal`]
//! with the rule, the place, the value and what was expected. [`parse_lenient`] reads a document
//! that is already stored as registries read it, so that its references are known even if [`parse`]
//! would refuse it.
//!
//! Rules: OCI image-spec 1.1.1, distribution 2.8's `docs/spec`, and what distribution 2.8 to 3.1
//! enforces; stricter where a document could be read as two kinds (GHSA-77vh-xpmg-72qh,
//! GHSA-mc8v-mgrf-8f4m).
//!
//! This module is pure: the registry checks that references exist and have the stated size.

use std::borrow::Cow;

use crate::digest::{Algorithm, Digest};

mod descriptor;
mod document;
mod json;
mod jws;
mod kind;
mod lenient_parser;
mod object_fields;
mod reference;
mod refusal;
mod schema1;
mod uri;

pub use kind::Kind;
pub use lenient_parser::parse_lenient;
pub use reference::{ManifestSummary, Reference, ReferenceRole, ReferencedDigest, Requirement};
pub use refusal::{ManifestRule, Refusal};

use descriptor::{Descriptor, descriptor, descriptors};
use document::Document;
use object_fields::ObjectFields;
use reference::EMPTY;

/// Largest manifest in bytes (distribution-spec 1.1.1 asks registries to accept at least this;
/// distribution accepts no more).
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Most warnings about one document.
const WARNINGS_MAX: usize = 10;
/// What the policy of the registry admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// Largest document in bytes.
    pub bytes_max: usize,
    /// `true` if new schema 1 manifests are admitted.
    pub schema1: bool,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self {
            bytes_max: MANIFEST_BYTES_MAX,
            schema1: false,
        }
    }
}

/// A valid manifest, as far as that can be checked without a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    kind: Kind,
    artifact_type: Option<String>,
    summary: ManifestSummary,
    warnings: Vec<String>,
    signed: Option<jws::VerifiedPayload>,
}

impl Manifest {
    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The media type, also if the document states none.
    pub fn media_type(&self) -> &'static str {
        self.kind.media_type()
    }

    /// The artifact type that the document states.
    pub fn artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref()
    }

    /// The references in document order, with the subject last.
    pub fn references(&self) -> &[Reference] {
        &self.summary.references
    }

    /// Media type and references, as recorded once it is stored.
    pub fn summary(&self) -> &ManifestSummary {
        &self.summary
    }

    /// Deviations from recommendations that every registry accepts.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The bytes that are stored and hashed: the document, or the payload of a signed document.
    pub fn payload<'a>(&'a self, document: &'a [u8]) -> &'a [u8] {
        self.signed.as_ref().map_or(document, |one| &one.payload)
    }

    /// The digest under which the manifest is stored.
    pub fn digest(&self, document: &[u8], algorithm: Algorithm) -> Digest {
        Digest::of(algorithm, self.payload(document))
    }

    /// The signatures of a signed document, each stored as a blob of its own.
    pub fn signatures(&self) -> &[Vec<u8>] {
        self.signed.as_ref().map_or(&[], |one| &one.signatures)
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            artifact_type: None,
            summary: ManifestSummary {
                media_type: Cow::Borrowed(kind.media_type()),
                references: Vec::new(),
            },
            warnings: Vec::new(),
            signed: None,
        }
    }

    fn add_reference(
        &mut self,
        descriptor: Descriptor,
        role: ReferenceRole,
        requirement: Requirement,
    ) {
        if let Some((_, url)) = &descriptor.unfetchable_url {
            let place = descriptor.unfetchable_url_pointer();
            self.warn(format!(
                "{place} is {}: registries only fetch http and https URLs without a fragment",
                refusal::shown(url)
            ));
        }
        let references = &mut self.summary.references;
        references.push(descriptor.reference(role, requirement));
    }

    fn warn(&mut self, warning: impl Into<String>) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning.into());
        }
    }
}

/// Validates a document.
///
/// # Errors
/// A [`Refusal`] that names the first broken rule.
pub fn parse(bytes: &[u8], options: &ParseOptions) -> Result<Manifest, Refusal> {
    if bytes.len() > options.bytes_max {
        let value = format!("{} bytes", bytes.len());
        let expected = format!("at most {} bytes", options.bytes_max);
        return Err(Refusal::new(ManifestRule::TooLarge, "", value, expected));
    }
    let document = Document::parse_strict(bytes)?;
    let kind = kind::classify(&document.fields)?;
    let mut manifest = Manifest::new(kind);
    match kind {
        Kind::Schema1 | Kind::Schema1Signed if !options.schema1 => return Err(refused_schema1()),
        Kind::Schema1 => manifest.summary.references = schema1::plain(&document)?,
        Kind::Schema1Signed => {
            let (references, signed) = schema1::signed(&document, bytes)?;
            manifest.summary.references = references;
            manifest.signed = Some(signed);
        }
        Kind::DockerManifest | Kind::OciManifest => image(&document.fields, &mut manifest)?,
        Kind::DockerManifestList | Kind::OciIndex => children(&document.fields, &mut manifest)?,
    }
    if kind.is_oci() {
        oci_fields(&document.fields, &mut manifest)?;
    }
    Ok(manifest)
}

/// Reassembles a signed schema 1 manifest from its payload and signatures; `None` if they do not
/// fit.
pub fn assemble(payload: &[u8], signatures: &[Vec<u8>]) -> Option<Vec<u8>> {
    jws::assemble(payload, signatures)
}

fn refused_schema1() -> Refusal {
    let expected = "schema 2 or OCI: existing schema 1 manifests are served, but new ones need \
                    -o schema1=accept";
    Refusal::new(
        ManifestRule::Schema1Refused,
        "/schemaVersion",
        "1",
        expected,
    )
}

/// Checks the configuration and the layers.
fn image(document: &ObjectFields<'_>, manifest: &mut Manifest) -> Result<(), Refusal> {
    let config = document
        .get("config")
        .ok_or_else(|| Refusal::missing("/config", "a descriptor"))?;
    let config = descriptor(config, "/config")?;
    if config.media_type == EMPTY && document.get("artifactType").is_none() {
        manifest.warn("the configuration is empty and artifactType is not set");
    }
    manifest.add_reference(config, ReferenceRole::Config, Requirement::Blob);
    let layers = document
        .get("layers")
        .ok_or_else(|| Refusal::missing("/layers", "an array"))?;
    for layer in descriptors(layers, "/layers")? {
        let requirement = layer_requirement(manifest.kind, &layer)?;
        manifest.add_reference(layer, ReferenceRole::Layer, requirement);
    }
    Ok(())
}

/// Foreign layers are fetched from elsewhere; all other layers must be stored here.
fn layer_requirement(kind: Kind, layer: &Descriptor) -> Result<Requirement, Refusal> {
    let foreign = layer.media_type.contains(".foreign.");
    let elsewhere = foreign || layer.media_type.contains(".nondistributable.");
    if kind == Kind::DockerManifest && foreign {
        let pointer = format!("{}/urls", layer.pointer);
        if layer.urls == 0 {
            let expected = "at least one URL, since the layer is foreign";
            return Err(Refusal::missing(&pointer, expected));
        }
        // Docker's rule, which every registry enforces.
        if let Some((_, url)) = &layer.unfetchable_url {
            let (rule, place) = (ManifestRule::BadUrl, layer.unfetchable_url_pointer());
            let expected = "an http or https URL without a fragment, since the layer is foreign";
            return Err(Refusal::new(rule, place, format!("{url:?}"), expected));
        }
    }
    Ok(if elsewhere && layer.urls > 0 {
        Requirement::Nothing
    } else {
        Requirement::Blob
    })
}

/// Checks the entries of an index: manifests, or other content, as in caches of `BuildKit`.
fn children(document: &ObjectFields<'_>, manifest: &mut Manifest) -> Result<(), Refusal> {
    let manifests = document
        .get("manifests")
        .ok_or_else(|| Refusal::missing("/manifests", "an array"))?;
    for child in descriptors(manifests, "/manifests")? {
        let is_manifest = Kind::from_media_type(&child.media_type).is_some();
        // Docker's schema requires a platform. Registries do not check it, but clients that select
        // by platform never select an entry without one.
        if manifest.kind == Kind::DockerManifestList && is_manifest && !child.has_platform {
            let pointer = format!("{}/platform", child.pointer);
            let expected =
                "an object with architecture and os, which Docker's schema requires in a list";
            return Err(Refusal::missing(&pointer, expected));
        }
        let requirement = if is_manifest {
            Requirement::Manifest
        } else {
            Requirement::Either
        };
        manifest.add_reference(child, ReferenceRole::Child, requirement);
    }
    Ok(())
}

/// Checks the fields that all OCI kinds share.
fn oci_fields(document: &ObjectFields<'_>, manifest: &mut Manifest) -> Result<(), Refusal> {
    let artifact_type = document.optional("artifactType", descriptor::media_type)?;
    manifest.artifact_type = artifact_type.map(Cow::into_owned);
    document.optional("annotations", descriptor::annotations)?;
    if let Some(subject) = document.get("subject") {
        let subject = descriptor(subject, "/subject")?;
        manifest.add_reference(subject, ReferenceRole::Subject, Requirement::Nothing);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
