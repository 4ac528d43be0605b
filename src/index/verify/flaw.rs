//! Flaws: rows of the index that verification found faulty.

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlawKind {
    /// The row cannot be decoded.
    RecordDamaged,
    /// The id of a digest leads to another digest, or to none.
    DigestWithoutNumber,
    /// The digest of an id has another id, or none.
    NumberWithoutDigest,
    /// The id of a repository leads to another name, or to none.
    RepositoryWithoutNumber,
    /// The repository of an id has another id, or none.
    NumberWithoutRepository,
    /// The row belongs to a repository that does not exist.
    RowWithoutRepository,
    /// The row refers to an unknown digest, or its key does not match its digest.
    LinkOutOfPlace,
    /// A fact has no reverse row.
    ReverseMissing,
    /// A reverse row has no fact.
    ReverseStale,
    /// A hash state belongs to an upload that does not exist.
    HashStateWithoutUpload,
    /// The content of an inline blob belongs to a digest that is none.
    BytesWithoutBlob,
}

impl FlawKind {
    /// Every kind, in the order in which reports list them.
    pub const ALL: [Self; 11] = [
        Self::RecordDamaged,
        Self::DigestWithoutNumber,
        Self::NumberWithoutDigest,
        Self::RepositoryWithoutNumber,
        Self::NumberWithoutRepository,
        Self::RowWithoutRepository,
        Self::LinkOutOfPlace,
        Self::ReverseMissing,
        Self::ReverseStale,
        Self::HashStateWithoutUpload,
        Self::BytesWithoutBlob,
    ];

    /// Returns the stable name that fsck reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::RecordDamaged => "record-damaged",
            Self::DigestWithoutNumber => "digest-without-number",
            Self::NumberWithoutDigest => "number-without-digest",
            Self::RepositoryWithoutNumber => "repository-without-number",
            Self::NumberWithoutRepository => "number-without-repository",
            Self::RowWithoutRepository => "row-without-repository",
            Self::LinkOutOfPlace => "link-out-of-place",
            Self::ReverseMissing => "reverse-missing",
            Self::ReverseStale => "reverse-stale",
            Self::HashStateWithoutUpload => "hash-state-without-upload",
            Self::BytesWithoutBlob => "bytes-without-blob",
        }
    }

    /// Returns the description of a row with this flaw, for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::RecordDamaged => "the row cannot be decoded",
            Self::DigestWithoutNumber | Self::RepositoryWithoutNumber => {
                "its id belongs to another name, or to none"
            }
            Self::NumberWithoutDigest => "no digest has this id",
            Self::NumberWithoutRepository => "no repository has this id",
            Self::RowWithoutRepository => "its repository does not exist",
            Self::LinkOutOfPlace => "its key does not match its digest, or its target is unknown",
            Self::ReverseMissing => "a fact has no reverse row",
            Self::ReverseStale => "no fact belongs to this reverse row",
            Self::HashStateWithoutUpload => "its upload does not exist",
            Self::BytesWithoutBlob => "the content belongs to no small blob",
        }
    }
}

/// A row with a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The kind of fault.
    pub kind: FlawKind,
    /// The key of the row, or the key that a missing row should have.
    pub key: Vec<u8>,
    /// The value of the row; `None` for a missing row.
    pub value: Option<Vec<u8>>,
}

/// Receives flaws.
pub(super) type FlawSink<'a> = &'a mut dyn FnMut(Flaw);

impl Flaw {
    /// A flaw of a row that exists.
    pub(super) fn found(kind: FlawKind, key: Vec<u8>, value: Vec<u8>) -> Self {
        Self {
            kind,
            key,
            value: Some(value),
        }
    }
}
