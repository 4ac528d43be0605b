//! Refused writes, remembered so that people can read why.

use std::collections::VecDeque;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::name::RepositoryName;

/// Refusals remembered.
const REMEMBERED: usize = 1_000;

/// The newest refusals, and how many there ever were.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    rows: VecDeque<Row>,
    count: u64,
}

#[derive(Debug)]
struct Row {
    when: SystemTime,
    repository: Option<RepositoryName>,
    path: String,
    reason: String,
}

impl Rejected {
    /// Remembers a refusal.
    pub(super) fn add(
        &mut self,
        repository: Option<&RepositoryName>,
        path: String,
        reason: String,
    ) {
        if self.rows.len() >= REMEMBERED {
            self.rows.pop_front();
        }
        let repository = repository.cloned();
        self.rows.push_back(Row {
            when: SystemTime::now(),
            repository,
            path,
            reason,
        });
        self.count += 1;
    }

    /// Refusals since the mount.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Why the newest refusal in a repository was.
    pub(super) fn last(&self, repository: &RepositoryName) -> Option<&str> {
        let newest = self.rows.iter().rev();
        let mut of = newest.filter(|row| row.repository.as_ref() == Some(repository));
        of.next().map(|row| row.reason.as_str())
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let when = row
                .when
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            writeln!(f, "{when}\t{}\t{}", row.path, row.reason)?;
        }
        Ok(())
    }
}
