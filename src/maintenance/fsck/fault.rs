//! Faults: everything that fsck can find, by stable names.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::index::{Flaw, FlawKind, JournalFaultKind};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The store contradicts itself: no registry can have caused it.
    Damage,
    /// Something that is there needs something that is not: it cannot be pulled as it is.
    Dangling,
    /// As registries leave things.
    Note,
}

/// What fsck can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A segment of the journal that was in use is not there.
    JournalSegmentMissing,
    /// A segment of the journal has another length, or something in it cannot be read.
    JournalSegmentDamaged,
    /// A commit is missing in the journal before one that is there.
    JournalCommitMissing,
    /// The journal ends before a commit that was in it.
    JournalEndsEarly,
    /// Index and journal are not of one store, or not of one time.
    JournalOfAnotherTime,
    /// A row of the index cannot be read.
    RecordDamaged,
    /// A digest's number leads to another digest, or to none.
    DigestWithoutNumber,
    /// A number's digest has another number, or none.
    NumberWithoutDigest,
    /// A repository's number leads to another name, or to none.
    RepositoryWithoutNumber,
    /// A number's repository has another number, or none.
    NumberWithoutRepository,
    /// A row of a repository that does not exist.
    RowWithoutRepository,
    /// A link under another digest than its own, or to one that is not known.
    LinkOutOfPlace,
    /// Who holds, tags or names a digest is not noted with the digest.
    ReverseMissing,
    /// A digest is noted as held, tagged or named by who does not.
    ReverseStale,
    /// A hash state of an upload that does not exist.
    HashStateWithoutUpload,
    /// Bytes in the index that are no blob's.
    BytesWithoutBlob,
    /// What a manifest names was never noted.
    EdgesMissing,
    /// A blob's file is gone.
    BlobMissing,
    /// A blob's file has another length.
    BlobSize,
    /// A blob's bytes are not what its name says.
    BlobDamaged,
    /// A file among the blobs that no fact names.
    BlobWithoutFact,
    /// A tag is at a manifest that its repository does not hold.
    DanglingTag,
    /// A repository holds a manifest whose bytes are not there.
    RevisionWithoutBlob,
    /// A manifest names what its repository does not hold.
    MissingReference,
    /// A layer's link whose bytes are not there: as collection by distribution 2.8 leaves it.
    LayerWithoutBlob,
    /// A blob that nothing names: what the next collection removes.
    BlobWithoutLink,
}

impl Fault {
    /// Every one of them.
    pub const ALL: [Self; 26] = [
        Self::JournalSegmentMissing,
        Self::JournalSegmentDamaged,
        Self::JournalCommitMissing,
        Self::JournalEndsEarly,
        Self::JournalOfAnotherTime,
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
        Self::EdgesMissing,
        Self::BlobMissing,
        Self::BlobSize,
        Self::BlobDamaged,
        Self::BlobWithoutFact,
        Self::DanglingTag,
        Self::RevisionWithoutBlob,
        Self::MissingReference,
        Self::LayerWithoutBlob,
        Self::BlobWithoutLink,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::JournalSegmentMissing => "journal-segment-missing",
            Self::JournalSegmentDamaged => "journal-segment-damaged",
            Self::JournalCommitMissing => "journal-commit-missing",
            Self::JournalEndsEarly => "journal-ends-early",
            Self::JournalOfAnotherTime => "journal-of-another-time",
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
            Self::EdgesMissing => "edges-missing",
            Self::BlobMissing => "blob-missing",
            Self::BlobSize => "blob-size",
            Self::BlobDamaged => "blob-damaged",
            Self::BlobWithoutFact => "blob-without-fact",
            Self::DanglingTag => "dangling-tag",
            Self::RevisionWithoutBlob => "revision-without-blob",
            Self::MissingReference => "missing-reference",
            Self::LayerWithoutBlob => "layer-without-blob",
            Self::BlobWithoutLink => "blob-without-link",
        }
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::JournalSegmentMissing
            | Self::JournalSegmentDamaged
            | Self::JournalCommitMissing
            | Self::JournalEndsEarly
            | Self::JournalOfAnotherTime
            | Self::RecordDamaged
            | Self::DigestWithoutNumber
            | Self::NumberWithoutDigest
            | Self::RepositoryWithoutNumber
            | Self::NumberWithoutRepository
            | Self::RowWithoutRepository
            | Self::LinkOutOfPlace
            | Self::ReverseMissing
            | Self::ReverseStale
            | Self::HashStateWithoutUpload
            | Self::BytesWithoutBlob
            | Self::EdgesMissing
            | Self::BlobMissing
            | Self::BlobSize
            | Self::BlobDamaged => Severity::Damage,
            Self::DanglingTag | Self::RevisionWithoutBlob | Self::MissingReference => {
                Severity::Dangling
            }
            // A crash between the bytes and their fact leaves a file, and harms nobody.
            Self::BlobWithoutFact | Self::LayerWithoutBlob | Self::BlobWithoutLink => {
                Severity::Note
            }
        }
    }

    /// What a fault of the journal is called.
    pub(super) fn of_journal(kind: JournalFaultKind) -> Self {
        match kind {
            JournalFaultKind::SegmentMissing => Self::JournalSegmentMissing,
            JournalFaultKind::SegmentDamaged => Self::JournalSegmentDamaged,
            JournalFaultKind::CommitMissing => Self::JournalCommitMissing,
            JournalFaultKind::EndsEarly => Self::JournalEndsEarly,
            JournalFaultKind::ForeignJournal => Self::JournalOfAnotherTime,
        }
    }

    /// What a flaw of the index is called.
    pub(super) fn of(kind: FlawKind) -> Self {
        match kind {
            FlawKind::RecordDamaged => Self::RecordDamaged,
            FlawKind::DigestWithoutNumber => Self::DigestWithoutNumber,
            FlawKind::NumberWithoutDigest => Self::NumberWithoutDigest,
            FlawKind::RepositoryWithoutNumber => Self::RepositoryWithoutNumber,
            FlawKind::NumberWithoutRepository => Self::NumberWithoutRepository,
            FlawKind::RowWithoutRepository => Self::RowWithoutRepository,
            FlawKind::LinkOutOfPlace => Self::LinkOutOfPlace,
            FlawKind::ReverseMissing => Self::ReverseMissing,
            FlawKind::ReverseStale => Self::ReverseStale,
            FlawKind::HashStateWithoutUpload => Self::HashStateWithoutUpload,
            FlawKind::BytesWithoutBlob => Self::BytesWithoutBlob,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Flaw {
    /// What is wrong with the row.
    pub(super) fn kind_in_words(&self) -> &'static str {
        match self.kind {
            FlawKind::RecordDamaged => "the row cannot be read",
            FlawKind::DigestWithoutNumber | FlawKind::RepositoryWithoutNumber => {
                "its number leads elsewhere or nowhere"
            }
            FlawKind::NumberWithoutDigest => "no digest has this number",
            FlawKind::NumberWithoutRepository => "no repository has this number",
            FlawKind::RowWithoutRepository => "its repository does not exist",
            FlawKind::LinkOutOfPlace => "it is under another digest, or names an unknown one",
            FlawKind::ReverseMissing => "a fact is not noted in the other direction",
            FlawKind::ReverseStale => "it is noted, but no fact",
            FlawKind::HashStateWithoutUpload => "its upload does not exist",
            FlawKind::BytesWithoutBlob => "no small blob has these bytes",
        }
    }
}
