//! Findings of an import: what the plain tree holds that no registry would have written so.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a finding. The serialized names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A link without content, as a crash of distribution 2.x or 3.0 leaves it.
    EmptyLink,
    /// A link whose content is not a digest: truncated, with a newline, or anything else.
    MalformedLink,
    /// A link whose digest differs from its path where both must be equal.
    WrongLink,
    /// A tag whose current link holds no digest and whose index has no entry to repair it from.
    TagWithoutTarget,
    /// A revision whose manifest is missing; a registry's garbage collection would fail at it.
    RevisionWithoutBlob,
    /// An empty blob file whose digest is not that of zero bytes.
    EmptyBlob,
    /// A blob whose bytes do not match its digest.
    WrongBlob,
    /// A blob that the store holds with another length.
    BlobSize,
    /// A directory whose name is not valid in a repository name.
    BadRepositoryName,
    /// A directory whose name is not a valid tag.
    BadTagName,
    /// A directory whose name is not a digest, an algorithm or a two-digit prefix.
    BadDigestName,
    /// A directory whose name is not an upload id.
    BadUploadName,
    /// A file whose name the layout does not have in this directory.
    StrayFile,
    /// A temporary file that distribution 3.1 or later has not renamed.
    TemporaryFile,
    /// A name that is not UTF-8.
    NameNotUtf8,
    /// A symbolic link that was not followed.
    SymbolicLink,
    /// A FIFO, socket or device.
    SpecialFile,
    /// A directory where the layout has a file, or the reverse.
    WrongKind,
    /// A file or directory that cannot be read.
    Unreadable,
    /// An upload without a start time or without data, which no registry will finish or remove.
    UnfinishedUpload,
    /// A start time or hash state that is longer than any registry writes.
    #[serde(rename = "oversized-note")]
    OversizedMetadata,
}

impl FindingKind {
    /// Returns the stable name, as it is serialized.
    pub fn name(self) -> &'static str {
        match self {
            Self::EmptyLink => "empty-link",
            Self::MalformedLink => "malformed-link",
            Self::WrongLink => "wrong-link",
            Self::TagWithoutTarget => "tag-without-target",
            Self::RevisionWithoutBlob => "revision-without-blob",
            Self::EmptyBlob => "empty-blob",
            Self::WrongBlob => "wrong-blob",
            Self::BlobSize => "blob-size",
            Self::BadRepositoryName => "bad-repository-name",
            Self::BadTagName => "bad-tag-name",
            Self::BadDigestName => "bad-digest-name",
            Self::BadUploadName => "bad-upload-name",
            Self::StrayFile => "stray-file",
            Self::TemporaryFile => "temporary-file",
            Self::NameNotUtf8 => "name-not-utf8",
            Self::SymbolicLink => "symbolic-link",
            Self::SpecialFile => "special-file",
            Self::WrongKind => "wrong-kind",
            Self::Unreadable => "unreadable",
            Self::UnfinishedUpload => "unfinished-upload",
            Self::OversizedMetadata => "oversized-note",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the import did about a finding. The serialized names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Remedy {
    /// It is in the store as it should have been.
    #[serde(rename = "mended")]
    Repaired,
    /// It is not in the store; a copy is in the store's quarantine.
    #[serde(rename = "set-aside")]
    Quarantined,
    /// It is in the store unchanged.
    #[serde(rename = "kept")]
    Imported,
    /// It is not in the store, and there is no copy in the quarantine.
    #[serde(rename = "passed-over")]
    Skipped,
}

impl Remedy {
    /// Returns the stable name, as it is serialized.
    pub fn name(self) -> &'static str {
        match self {
            Self::Repaired => "mended",
            Self::Quarantined => "set-aside",
            Self::Imported => "kept",
            Self::Skipped => "passed-over",
        }
    }
}

/// Something in a plain tree that no registry would have written so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The kind of finding.
    #[serde(rename = "finding")]
    pub kind: FindingKind,
    /// The path below the tree, with unprintable bytes escaped.
    pub path: String,
    /// What the import did about it.
    pub remedy: Remedy,
    /// What was found, in words.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            path,
            remedy,
            detail,
        } = self;
        write!(f, "{kind} {path}: {detail} ({})", remedy.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_is_serialized() {
        let remedies = [
            Remedy::Repaired,
            Remedy::Quarantined,
            Remedy::Imported,
            Remedy::Skipped,
        ];
        for remedy in remedies {
            assert_eq!(serde_json::to_value(remedy).unwrap(), remedy.name());
        }
        for kind in [FindingKind::NameNotUtf8, FindingKind::OversizedMetadata] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
