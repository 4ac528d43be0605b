//! Faults: every kind of fault that fsck can find, under stable names.
//!
//! The faults of one index and of one journal are defined where these are verified; this adds
//! those that show only when facts are compared with files and with each other.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::index::{FlawKind, JournalFaultKind};

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The store contradicts itself; no registry can have caused that.
    Damage,
    /// A manifest, tag or link needs something that is missing: it cannot be pulled as it is.
    Dangling,
    /// A state that registries or crashes leave behind; it needs no action.
    Note,
}

/// A kind of fault. Reports list the kinds in this order, by their [names](Self::name).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreFault {
    /// The journal is damaged.
    Journal(JournalFaultKind),
    /// A row of the index contradicts other rows, or cannot be decoded.
    Index(FlawKind),
    /// The index does not have the references of a manifest.
    EdgesMissing,
    /// A blob's file is missing.
    BlobMissing,
    /// A blob's file has another length than the index says.
    BlobSize,
    /// A blob's bytes do not have its digest.
    BlobDamaged,
    /// No fact names a blob's file.
    BlobWithoutFact,
    /// A tag names a manifest that its repository does not hold.
    DanglingTag,
    /// A repository holds a manifest whose bytes are not stored.
    RevisionWithoutBlob,
    /// A manifest references something that its repository does not hold.
    MissingReference,
    /// A layer is linked whose bytes are not stored: the state that collection by distribution 2.8
    /// leaves behind.
    LayerWithoutBlob,
    /// Nothing names a blob: the next collection removes it.
    BlobWithoutLink,
}

impl StoreFault {
    /// The kinds that are neither the journal's nor the index's own.
    const BETWEEN_FACTS_AND_FILES: [Self; 10] = [
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

    /// Returns every kind, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        let journal = JournalFaultKind::ALL.into_iter().map(Self::Journal);
        let index = FlawKind::ALL.into_iter().map(Self::Index);
        journal.chain(index).chain(Self::BETWEEN_FACTS_AND_FILES)
    }

    /// Returns the stable name, in kebab case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Journal(kind) => kind.name(),
            Self::Index(kind) => kind.name(),
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

    /// Returns how bad this kind of fault is.
    pub fn severity(self) -> Severity {
        match self {
            Self::Journal(_)
            | Self::Index(_)
            | Self::EdgesMissing
            | Self::BlobMissing
            | Self::BlobSize
            | Self::BlobDamaged => Severity::Damage,
            Self::DanglingTag | Self::RevisionWithoutBlob | Self::MissingReference => {
                Severity::Dangling
            }
            // A crash after the bytes are durable and before their fact is leaves such a file.
            Self::BlobWithoutFact | Self::LayerWithoutBlob | Self::BlobWithoutLink => {
                Severity::Note
            }
        }
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for StoreFault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for StoreFault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = Self::all().find(|fault| fault.name() == name);
        found.ok_or_else(|| D::Error::custom(format!("no fault is named {name}")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn names_and_their_order_are_stable() {
        let names: Vec<&str> = StoreFault::all().map(StoreFault::name).collect();
        assert_eq!(
            names,
            [
                "journal-segment-missing",
                "journal-segment-damaged",
                "journal-commit-missing",
                "journal-ends-early",
                "journal-of-another-time",
                "record-damaged",
                "digest-without-number",
                "number-without-digest",
                "repository-without-number",
                "number-without-repository",
                "row-without-repository",
                "link-out-of-place",
                "reverse-missing",
                "reverse-stale",
                "hash-state-without-upload",
                "bytes-without-blob",
                "edges-missing",
                "blob-missing",
                "blob-size",
                "blob-damaged",
                "blob-without-fact",
                "dangling-tag",
                "revision-without-blob",
                "missing-reference",
                "layer-without-blob",
                "blob-without-link",
            ]
        );
        assert!(StoreFault::all().is_sorted());
        let counts: BTreeMap<StoreFault, u64> = StoreFault::all().zip(1..).collect();
        let json = serde_json::to_string(&counts).unwrap();
        assert!(
            json.starts_with("{\"journal-segment-missing\":1,"),
            "{json}"
        );
        assert!(json.ends_with("\"blob-without-link\":26}"), "{json}");
        let read: BTreeMap<StoreFault, u64> = serde_json::from_str(&json).unwrap();
        assert_eq!(read, counts);
        assert!(serde_json::from_str::<StoreFault>("\"nothing\"").is_err());
    }
}
