//! The log of rejections: why operations were refused, and what the audit found, for
//! `.regfs/rejected` and `user.regfs.error`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::{Timestamp, Unit};
use log::Level;

use super::rate_limited_log::RateLimitedLog;
use super::relocation::Relocation;
use super::{TreeError, Writer};
use crate::manifest::Refusal;
use crate::name::RepositoryName;
use crate::printable;
use crate::registry::Error;

/// The number of rejections that are stored, and the length of the text of each, in bytes.
const REMEMBERED: usize = 1_000;
const TEXT_MAX: usize = 1_024;
/// The names under which rejections are counted that break no rule for manifests: removals of
/// referenced blobs, and everything else.
const REFERENCED: &str = "referenced";
const OTHER: &str = "other";

/// The newest rejections, and the number of all of them by rule.
#[derive(Debug, Default)]
pub(super) struct RejectionLog {
    rows: VecDeque<Rejection>,
    counts: BTreeMap<&'static str, u64>,
    log: RateLimitedLog,
    /// The text of all rejections, until there is another one.
    shown: Option<Arc<[u8]>>,
}

#[derive(Debug)]
struct Rejection {
    when: Timestamp,
    writer: Writer,
    repository: Option<RepositoryName>,
    /// The path, if it is in no repository.
    blob: Option<String>,
    text: String,
}

impl RejectionLog {
    /// Records and logs why a write to `path` was refused.
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
            // Removing a referenced blob is no mistake of a registry: its garbage collection asks
            // for that.
            TreeError::Registry(Error::Referenced { .. }) => (REFERENCED, Level::Info),
            _ => (OTHER, Level::Warn),
        };
        let text = format!("refused {path}: {error}");
        self.add(rule, writer, (repository, path), &text);
    }

    /// Records and logs what the audit found in a manifest that was admitted.
    pub(super) fn audited(
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
        self.log.log(rule, level, &text, Instant::now());
        self.shown = None;
        self.rows.push_back(Rejection {
            when: Timestamp::now(),
            writer,
            repository: repository.cloned(),
            blob: repository.is_none().then(|| path.to_owned()),
            text,
        });
    }

    /// Logs how many lines were suppressed. Called when the mount ends.
    pub(super) fn log_suppressed(&mut self) {
        self.log.log_suppressed();
    }

    /// Returns the content of `.regfs/rejected`; the same allocation until there is another
    /// rejection.
    pub(super) fn text(&mut self) -> Arc<[u8]> {
        let shown = self.shown.take();
        let shown = shown.unwrap_or_else(|| self.to_string().into_bytes().into());
        self.shown = Some(Arc::clone(&shown));
        shown
    }

    /// Applies a rename of a namespace, so that a repository's rejections are found under its new
    /// name.
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

    /// Returns the number of rejections of each rule since the mount.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Returns the text of the newest rejection at a path that is in no repository.
    pub(super) fn last_at(&self, path: &str) -> Option<&str> {
        let mut newest = self.rows.iter().rev();
        newest
            .find(|row| row.blob.as_deref() == Some(path))
            .map(|row| row.text.as_str())
    }

    /// Returns the text of the newest rejection in a repository.
    pub(super) fn last(&self, repository: &RepositoryName) -> Option<&str> {
        let mut newest = self.rows.iter().rev();
        newest
            .find(|row| row.repository.as_ref() == Some(repository))
            .map(|row| row.text.as_str())
    }
}

/// One line for each rejection, the oldest first: time, process, user and text.
impl fmt::Display for RejectionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let when = row.when.round(Unit::Second).unwrap_or(row.when);
            let Writer { pid, uid } = row.writer;
            writeln!(f, "{when} pid {pid} uid {uid} {}", row.text)?;
        }
        Ok(())
    }
}
