//! Oddities: what a plain tree holds that a registry would not have written, or not so.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is odd about a file or directory. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// A link without content, as a crash leaves it.
    EmptyLink,
    /// A link whose content is no digest: cut off, with a newline, or something else.
    MalformedLink,
    /// A link that names another digest than its path, where it must not.
    WrongLink,
    /// A tag's current link that names nothing, and no index entry to mend it by.
    TagWithoutTarget,
    /// A revision whose manifest is not there: collection would end at it.
    RevisionWithoutBlob,
    /// A blob of no bytes whose digest is of some.
    EmptyBlob,
    /// A blob whose bytes are not what its digest says.
    WrongBlob,
    /// A blob that the store has with another length.
    BlobSize,
    /// A directory that cannot be a repository's.
    BadRepositoryName,
    /// A name that cannot be a tag's.
    BadTagName,
    /// A name that is no digest, algorithm or shard.
    BadDigestName,
    /// A name that cannot be an upload's.
    BadUploadName,
    /// A name that nothing in the layout has there.
    StrayFile,
    /// What distribution 3.1 had not come to rename.
    TemporaryFile,
    /// A name that is not UTF-8.
    NameNotUtf8,
    /// A symbolic link that was not followed.
    SymbolicLink,
    /// A pipe, socket or device.
    SpecialFile,
    /// A directory where a file belongs, or a file where a directory does.
    WrongKind,
    /// Something that cannot be read.
    Unreadable,
    /// An upload that its registry has forgotten: without start or without bytes.
    UnfinishedUpload,
    /// A start time or hash state that is longer than any registry writes.
    OversizedNote,
}

impl Finding {
    /// Its stable name.
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
            Self::OversizedNote => "oversized-note",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// It is in the store as it should have been.
    Mended,
    /// It is not in the store, but kept in its quarantine.
    SetAside,
    /// It is in the store as it is.
    Kept,
    /// It is not in the store, and nothing is lost by that.
    PassedOver,
}

impl Remedy {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mended => "mended",
            Self::SetAside => "set-aside",
            Self::Kept => "kept",
            Self::PassedOver => "passed-over",
        }
    }
}

/// One oddity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Oddity {
    /// What it is.
    pub finding: Finding,
    /// Where, below the tree; what is not printable is escaped.
    pub path: String,
    /// What was done about it.
    pub remedy: Remedy,
    /// What was found, in words.
    pub detail: String,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            finding,
            path,
            remedy,
            detail,
        } = self;
        write!(f, "{finding} {path}: {detail} ({})", remedy.name())
    }
}
