//! Refusals: the rule that a document breaks, the place, the value, and what was expected.

/// Declares the rules with their stable names.
macro_rules! rules {
    ($($(#[doc = $text:literal])+ $rule:ident = $name:literal,)+) => {
        /// A rule that a manifest may break. The names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ManifestRule {
            $($(#[doc = $text])+ $rule,)+
        }

        impl ManifestRule {
            /// The stable name of the rule.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)+
                }
            }
        }
    };
}

rules! {
    /// Not a JSON document.
    NotJson = "not-json",
    /// The top level is not an object.
    NotObject = "not-object",
    /// An object has a duplicate key.
    DuplicateKey = "duplicate-key",
    /// A key that some readers match to another one.
    AmbiguousKey = "ambiguous-key",
    /// Nested deeper than registries read.
    TooDeep = "too-deep",
    /// Larger than a manifest may be.
    TooLarge = "too-large",
    /// Readable as two kinds.
    AmbiguousKind = "ambiguous-kind",
    /// Of no known kind.
    UnknownKind = "unknown-kind",
    /// A media type that is no manifest's.
    UnknownMediaType = "unknown-media-type",
    /// Not the schema version of its kind.
    SchemaVersion = "schema-version",
    /// A new schema 1 manifest, where these are not admitted.
    Schema1Refused = "schema1-refused",
    /// A required field is missing.
    MissingField = "missing-field",
    /// A value of the wrong JSON type.
    WrongType = "wrong-type",
    /// Not a media type.
    BadMediaType = "bad-media-type",
    /// Not a digest.
    BadDigest = "bad-digest",
    /// Not a size.
    BadSize = "bad-size",
    /// The URL of a layer is invalid.
    BadUrl = "bad-url",
    /// A platform without architecture or operating system.
    BadPlatform = "bad-platform",
    /// An invalid repository name or tag (schema 1).
    BadName = "bad-name",
    /// The number of history entries differs from that of the layers (schema 1).
    BadHistory = "bad-history",
    /// A signature that does not verify (schema 1).
    BadSignature = "bad-signature",
    /// Embedded data does not match the digest and the size.
    DataMismatch = "data-mismatch",
    /// A reference with a digest algorithm that is not implemented.
    UnknownAlgorithm = "unknown-algorithm",
    /// The repository does not have a referenced blob or manifest.
    ReferenceMissing = "reference-missing",
    /// A referenced blob has another size.
    ReferenceSize = "reference-size",
    /// The digest of the document differs from that in its path.
    DigestMismatch = "digest-mismatch",
}

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {} is {value}, expected {expected}", rule.name(), place(pointer))]
pub struct Refusal {
    /// The broken rule.
    pub rule: ManifestRule,
    /// The place as a JSON pointer; empty for the document itself.
    pub pointer: String,
    /// The value, shortened.
    pub value: String,
    /// What was expected.
    pub expected: String,
}

/// Longest value in a message, in characters.
const VALUE_CHARACTERS: usize = 120;

fn place(pointer: &str) -> String {
    if pointer.is_empty() {
        "the document".into()
    } else {
        shown(pointer)
    }
}

/// Shortens a text and replaces control characters, for messages.
pub(super) fn shown(text: &str) -> String {
    let printable = |one: char| if one.is_control() { '\u{fffd}' } else { one };
    let mut shown: String = text.chars().take(VALUE_CHARACTERS).map(printable).collect();
    if text.chars().nth(VALUE_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

impl Refusal {
    /// Prefixes the pointer with that of the parent.
    #[must_use]
    pub(super) fn under(mut self, parent: &str) -> Self {
        self.pointer.insert_str(0, parent);
        self
    }

    /// The refusal of a document that lacks a required field.
    pub(super) fn missing(pointer: &str, expected: &str) -> Self {
        Self::new(ManifestRule::MissingField, pointer, "missing", expected)
    }

    /// Creates a refusal; the value is shortened.
    pub fn new(
        rule: ManifestRule,
        pointer: impl AsRef<str>,
        value: impl AsRef<str>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            pointer: pointer.as_ref().to_owned(),
            value: shown(value.as_ref()),
            expected: expected.into(),
        }
    }
}
