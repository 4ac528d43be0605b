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
