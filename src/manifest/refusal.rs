//! Refusals: which rule a document breaks, where, with what, and what was expected instead.

/// Declares the rules with their stable names.
macro_rules! rules {
    ($($(#[doc = $text:literal])+ $rule:ident = $name:literal,)+) => {
        /// A rule that a manifest may break. The names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ManifestRule {
            $($(#[doc = $text])+ $rule,)+
        }

        impl ManifestRule {
            /// The rule's name, for machines and people.
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
    /// Not an object at the top.
    NotObject = "not-object",
    /// A key stands twice in one object.
    DuplicateKey = "duplicate-key",
    /// A key that some readers take for another.
    AmbiguousKey = "ambiguous-key",
    /// Nested deeper than registries read.
    TooDeep = "too-deep",
    /// More bytes than a manifest may have.
    TooLarge = "too-large",
    /// Readable as two kinds.
    AmbiguousKind = "ambiguous-kind",
    /// Not recognisable as any kind.
    UnknownKind = "unknown-kind",
    /// A media type that is no manifest's.
    UnknownMediaType = "unknown-media-type",
    /// Not the schema version of its kind.
    SchemaVersion = "schema-version",
    /// A schema 1 manifest, where those are not made anew.
    Schema1Refused = "schema1-refused",
    /// Something that must be there is not.
    MissingField = "missing-field",
    /// A value of the wrong JSON type.
    WrongType = "wrong-type",
    /// Not a media type.
    BadMediaType = "bad-media-type",
    /// Not a digest.
    BadDigest = "bad-digest",
    /// Not a size.
    BadSize = "bad-size",
    /// Not a URL to fetch a layer from.
    BadUrl = "bad-url",
    /// A platform without architecture or operating system.
    BadPlatform = "bad-platform",
    /// Not the name of a repository, or not a tag (schema 1).
    BadName = "bad-name",
    /// Not one entry of history for each layer (schema 1).
    BadHistory = "bad-history",
    /// A signature that does not verify (schema 1).
    BadSignature = "bad-signature",
    /// Embedded data that is not what the digest and size say.
    DataMismatch = "data-mismatch",
    /// A reference by an algorithm that nobody here can compute.
    UnknownAlgorithm = "unknown-algorithm",
    /// The repository lacks what is referenced.
    ReferenceMissing = "reference-missing",
    /// What is referenced has another size.
    ReferenceSize = "reference-size",
    /// The document is not what its path says.
    DigestMismatch = "digest-mismatch",
}

/// Why a document is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {} is {value}, expected {expected}", rule.name(), place(pointer))]
pub struct Refusal {
    /// The rule it breaks.
    pub rule: ManifestRule,
    /// Where, as a JSON pointer; empty for the document.
    pub pointer: String,
    /// What is there, shortened.
    pub value: String,
    /// What should be.
    pub expected: String,
}

/// Longest value shown, in characters.
const VALUE_CHARACTERS: usize = 120;

fn place(pointer: &str) -> String {
    if pointer.is_empty() {
        "the document".into()
    } else {
        shown(pointer)
    }
}

/// A text cut short where it is long, on one line and without what a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    let printable = |one: char| if one.is_control() { '\u{fffd}' } else { one };
    let mut shown: String = text.chars().take(VALUE_CHARACTERS).map(printable).collect();
    if text.chars().nth(VALUE_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

impl Refusal {
    /// The same, where what was judged stands at `parent`.
    #[must_use]
    pub(super) fn under(mut self, parent: &str) -> Self {
        self.pointer.insert_str(0, parent);
        self
    }

    /// A refusal by this rule.
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
