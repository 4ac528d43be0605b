//! Refusals: which rule a document breaks, where, with what, and what was expected instead.

/// A rule that a manifest may break. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Not a JSON document.
    NotJson,
    /// Not an object at the top.
    NotObject,
    /// A key stands twice in one object.
    DuplicateKey,
    /// Nested deeper than any manifest is.
    TooDeep,
    /// More bytes than a manifest may have.
    TooLarge,
    /// Readable as two kinds.
    AmbiguousKind,
    /// Not recognisable as any kind.
    UnknownKind,
    /// A media type that is no manifest's.
    UnknownMediaType,
    /// Not schema version 2.
    SchemaVersion,
    /// A schema 1 manifest, which is not made anew.
    Schema1Refused,
    /// Something that must be there is not.
    MissingField,
    /// A value of the wrong JSON type.
    WrongType,
    /// Not a media type.
    BadMediaType,
    /// Not a digest.
    BadDigest,
    /// Not a size.
    BadSize,
    /// Not a URL to fetch a layer from.
    BadUrl,
    /// A platform without architecture or operating system.
    BadPlatform,
    /// Embedded data that is not what the digest and size say.
    DataMismatch,
    /// The repository lacks what is referenced.
    ReferenceMissing,
    /// What is referenced has another size.
    ReferenceSize,
    /// The document is not what its path says.
    DigestMismatch,
}

impl Rule {
    /// The rule's name, for machines and people.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::NotObject => "not-object",
            Self::DuplicateKey => "duplicate-key",
            Self::TooDeep => "too-deep",
            Self::TooLarge => "too-large",
            Self::AmbiguousKind => "ambiguous-kind",
            Self::UnknownKind => "unknown-kind",
            Self::UnknownMediaType => "unknown-media-type",
            Self::SchemaVersion => "schema-version",
            Self::Schema1Refused => "schema1-refused",
            Self::MissingField => "missing-field",
            Self::WrongType => "wrong-type",
            Self::BadMediaType => "bad-media-type",
            Self::BadDigest => "bad-digest",
            Self::BadSize => "bad-size",
            Self::BadUrl => "bad-url",
            Self::BadPlatform => "bad-platform",
            Self::DataMismatch => "data-mismatch",
            Self::ReferenceMissing => "reference-missing",
            Self::ReferenceSize => "reference-size",
            Self::DigestMismatch => "digest-mismatch",
        }
    }
}

/// Why a document is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {} is {value}, expected {expected}", rule.name(), place(pointer))]
pub struct Refusal {
    /// The rule it breaks.
    pub rule: Rule,
    /// Where, as a JSON pointer; empty for the document.
    pub pointer: String,
    /// What is there, shortened.
    pub value: String,
    /// What should be.
    pub expected: String,
}

/// Longest value shown, in characters.
const VALUE_CHARACTERS: usize = 120;

fn place(pointer: &str) -> &str {
    if pointer.is_empty() {
        "the document"
    } else {
        pointer
    }
}

impl Refusal {
    /// A refusal by this rule.
    pub fn new(
        rule: Rule,
        pointer: impl Into<String>,
        value: impl AsRef<str>,
        expected: impl Into<String>,
    ) -> Self {
        let mut shown: String = value.as_ref().chars().take(VALUE_CHARACTERS).collect();
        if shown.len() < value.as_ref().len() {
            shown.push('…');
        }
        Self {
            rule,
            pointer: pointer.into(),
            value: shown,
            expected: expected.into(),
        }
    }
}
