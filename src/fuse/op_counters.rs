//! Operation counters: how many requests of each kind the kernel has sent, by either transport.
//! What the kernel answers from its caches, or does itself, is not counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// The kinds of operations that are counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationKind {
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

impl OperationKind {
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

/// The number of requests of each kind.
#[derive(Debug, Default)]
pub(super) struct OperationCounters([AtomicU64; OperationKind::ALL.len()]);

impl OperationCounters {
    /// Counts one request.
    pub(super) fn count(&self, kind: OperationKind) {
        if let Some(count) = self.0.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the kinds that were requested at least once, each with its count.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let named = OperationKind::ALL
            .map(OperationKind::name)
            .into_iter()
            .zip(counts);
        named.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_by_its_name() {
        let counters = OperationCounters::default();
        for (number, kind) in (1..).zip(OperationKind::ALL) {
            for _ in 0..number {
                counters.count(kind);
            }
        }
        let expected: Vec<_> = OperationKind::ALL
            .map(OperationKind::name)
            .into_iter()
            .zip(1..)
            .collect();
        assert_eq!(counters.counts(), expected);
    }
}
