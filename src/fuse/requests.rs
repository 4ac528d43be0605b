//! Requests counted: how often the kernel asked for what, by either transport. What it keeps or
//! does by itself is not among them.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the kernel asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lookup,
    Attributes,
    Set,
    Make,
    Remove,
    Rename,
    Open,
    Create,
    Read,
    Write,
    Flush,
    Release,
    Sync,
    List,
    SyncDirectory,
    Extended,
    Space,
    Other,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Lookup,
        Self::Attributes,
        Self::Set,
        Self::Make,
        Self::Remove,
        Self::Rename,
        Self::Open,
        Self::Create,
        Self::Read,
        Self::Write,
        Self::Flush,
        Self::Release,
        Self::Sync,
        Self::List,
        Self::SyncDirectory,
        Self::Extended,
        Self::Space,
        Self::Other,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Attributes => "getattr",
            Self::Set => "setattr",
            Self::Make => "mkdir",
            Self::Remove => "unlink",
            Self::Rename => "rename",
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Release => "release",
            Self::Sync => "fsync",
            Self::List => "readdir",
            Self::SyncDirectory => "fsyncdir",
            Self::Extended => "getxattr",
            Self::Space => "statfs",
            Self::Other => "other",
        }
    }
}

/// How many there were of each kind.
#[derive(Debug, Default)]
pub(super) struct Requests([AtomicU64; Kind::ALL.len()]);

impl Requests {
    /// There is one more.
    pub(super) fn count(&self, kind: Kind) {
        if let Some(count) = self.0.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The kinds of which there were any, with how many.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let named = Kind::ALL.map(Kind::name).into_iter().zip(counts);
        named.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_by_its_name() {
        let requests = Requests::default();
        for (number, kind) in (1..).zip(Kind::ALL) {
            for _ in 0..number {
                requests.count(kind);
            }
        }
        let expected: Vec<_> = Kind::ALL.map(Kind::name).into_iter().zip(1..).collect();
        assert_eq!(requests.counts(), expected);
    }
}
