//! Ids: 4-byte numbers that stand for repositories and digests in keys and records.

/// The id of a repository, allocated once and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId(pub(super) u32);

/// The id of a digest, allocated once and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestId(pub(super) u32);

impl RepositoryId {
    /// The id as a number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl DigestId {
    /// The id as a number.
    pub fn number(self) -> u32 {
        self.0
    }
}
