//! Refused writes, and what the audit found, remembered so that people can read why.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use jiff::{Timestamp, Unit};

use super::{TreeError, Writer};
use crate::manifest::Refusal;
use crate::name::RepositoryName;
use crate::registry::Error;

/// Refusals remembered.
const REMEMBERED: usize = 1_000;
/// What is counted that no rule for manifests names.
const OTHER: &str = "other";

/// The newest refusals, and how many there ever were of each rule.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    rows: VecDeque<Row>,
    counts: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Row {
    when: Timestamp,
    writer: Writer,
    repository: Option<RepositoryName>,
    text: String,
}

impl Rejected {
    /// Remembers why a write to `path` was refused; the text for people, wherever they look.
    pub(super) fn refused(
        &mut self,
        writer: Writer,
        repository: Option<&RepositoryName>,
        path: &str,
        error: &TreeError,
    ) -> String {
        let rule = match error {
            TreeError::Registry(Error::Refused { refusal, .. }) => refusal.rule.name(),
            _ => OTHER,
        };
        self.add(rule, writer, repository, format!("refused {path}: {error}"))
    }

    /// Remembers what the audit found in a manifest that was admitted all the same.
    pub(super) fn found(
        &mut self,
        writer: Writer,
        repository: &RepositoryName,
        path: &str,
        finding: &Refusal,
    ) -> String {
        let text = format!("admitted {path}, but the audit finds: {finding}");
        self.add(finding.rule.name(), writer, Some(repository), text)
    }

    fn add(
        &mut self,
        rule: &'static str,
        writer: Writer,
        repository: Option<&RepositoryName>,
        text: String,
    ) -> String {
        if self.rows.len() >= REMEMBERED {
            self.rows.pop_front();
        }
        *self.counts.entry(rule).or_default() += 1;
        self.rows.push_back(Row {
            when: Timestamp::now(),
            writer,
            repository: repository.cloned(),
            text: text.clone(),
        });
        text
    }

    /// How many there were of each rule since the mount.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Why the newest refusal in a repository was.
    pub(super) fn last(&self, repository: &RepositoryName) -> Option<&str> {
        let mut newest = self.rows.iter().rev();
        newest
            .find(|row| row.repository.as_ref() == Some(repository))
            .map(|row| row.text.as_str())
    }
}

/// One line each, the oldest first: when, who, and what is said everywhere else too.
impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let when = row.when.round(Unit::Second).unwrap_or(row.when);
            let Writer { pid, uid } = row.writer;
            writeln!(f, "{when} pid {pid} uid {uid} {}", row.text)?;
        }
        Ok(())
    }
}
