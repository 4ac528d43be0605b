//! Refused writes, and what the audit found, remembered so that people can read why.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::{Timestamp, Unit};
use log::Level;

use super::flood::Flood;
use super::relocate::Relocation;
use super::{TreeError, Writer};
use crate::manifest::Refusal;
use crate::name::RepositoryName;
use crate::printable;
use crate::registry::Error;

/// Refusals remembered, and bytes of the text of each.
const REMEMBERED: usize = 1_000;
const TEXT_MAX: usize = 1_024;
/// What is counted that no rule for manifests names: removals of what is needed, and the rest.
const REFERENCED: &str = "referenced";
const OTHER: &str = "other";

/// The newest refusals, and how many there ever were of each rule.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    rows: VecDeque<Row>,
    counts: BTreeMap<&'static str, u64>,
    flood: Flood,
    /// All rows as they are shown, until there is another one.
    shown: Option<Arc<[u8]>>,
}

#[derive(Debug)]
struct Row {
    when: Timestamp,
    writer: Writer,
    repository: Option<RepositoryName>,
    /// The path of what is in no repository.
    blob: Option<String>,
    text: String,
}

impl Rejected {
    /// Remembers and logs why a write to `path` was refused.
    pub(super) fn refused(
        &mut self,
        writer: Writer,
        repository: Option<&RepositoryName>,
        path: &str,
        error: &TreeError,
    ) {
        let rule = match error {
            TreeError::Registry(Error::Refused { refusal, .. }) => {
                (refusal.rule.name(), Level::Warn)
            }
            // Whoever keeps what is needed still asked for that.
            TreeError::Registry(Error::Referenced { .. }) => (REFERENCED, Level::Info),
            _ => (OTHER, Level::Warn),
        };
        let text = format!("refused {path}: {error}");
        self.add(rule, writer, (repository, path), &text);
    }

    /// Remembers and logs what the audit found in a manifest that was admitted all the same.
    pub(super) fn found(
        &mut self,
        writer: Writer,
        repository: &RepositoryName,
        path: &str,
        finding: &Refusal,
    ) {
        let rule = (finding.rule.name(), Level::Warn);
        let text = format!("admitted {path}, but the audit finds: {finding}");
        self.add(rule, writer, (Some(repository), path), &text);
    }

    fn add(
        &mut self,
        (rule, level): (&'static str, Level),
        writer: Writer,
        (repository, path): (Option<&RepositoryName>, &str),
        text: &str,
    ) {
        let mut text = printable::line(text);
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        if self.rows.len() >= REMEMBERED {
            self.rows.pop_front();
        }
        *self.counts.entry(rule).or_default() += 1;
        self.flood.log(rule, level, &text, Instant::now());
        self.shown = None;
        self.rows.push_back(Row {
            when: Timestamp::now(),
            writer,
            repository: repository.cloned(),
            blob: repository.is_none().then(|| path.to_owned()),
            text,
        });
    }

    /// Logs what is only counted so far: the mount ends.
    pub(super) fn end(&mut self) {
        self.flood.end();
    }

    /// All that is remembered, as it is shown: one text for all who look until there is more.
    pub(super) fn shown(&mut self) -> Arc<[u8]> {
        let shown = self.shown.take();
        let shown = shown.unwrap_or_else(|| self.to_string().into_bytes().into());
        self.shown = Some(Arc::clone(&shown));
        shown
    }

    /// What was refused in a repository is told of it where it is now.
    pub(super) fn follow(&mut self, relocation: &Relocation) {
        for repository in self
            .rows
            .iter_mut()
            .filter_map(|row| row.repository.as_mut())
        {
            if let Some(moved) = relocation.repository(repository) {
                *repository = moved;
            }
        }
    }

    /// How many there were of each rule since the mount.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Why the newest refusal at a path that is in no repository was.
    pub(super) fn last_at(&self, path: &str) -> Option<&str> {
        let mut newest = self.rows.iter().rev();
        newest
            .find(|row| row.blob.as_deref() == Some(path))
            .map(|row| row.text.as_str())
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
