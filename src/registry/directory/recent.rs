//! Recent repositories: those that are being filled, and in which nobody has made a directory for
//! layers.
//!
//! A repository that holds a revision shows that directory even if nobody made it, because the
//! collection of distribution up to 2.8 would destroy the repository otherwise. But a program
//! that copies a tree makes its directories itself, in any order, and fails on a directory that
//! exists already. The directory is therefore shown only after the repository had no change for
//! a minute. The list is not stored: after a restart the directory is shown at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::name::{Namespace, RepositoryName};

/// How long a repository must have had no change before it is no longer recent.
const QUIET: Duration = Duration::from_mins(1);
/// Number of repositories from which on entries that are no longer recent are removed.
const CLEARED_FROM: usize = 1_024;

/// The recent repositories, each with the time of its last change.
#[derive(Debug)]
pub(in crate::registry) struct RecentRepositories {
    quiet: Duration,
    changed: Mutex<HashMap<RepositoryName, Instant>>,
    /// The number of entries, so that writing a link takes no lock while there are none, which is
    /// the usual case.
    count: AtomicUsize,
}

impl Default for RecentRepositories {
    fn default() -> Self {
        Self::with(QUIET)
    }
}

impl RecentRepositories {
    fn with(quiet: Duration) -> Self {
        Self {
            quiet,
            changed: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Adds a repository that gets its first revision and has no directory for layers.
    pub(super) fn add(&self, name: &RepositoryName) {
        let mut changed = self.changed.lock();
        if changed.len() >= CLEARED_FROM && changed.len() == changed.capacity() {
            changed.retain(|_, when| when.elapsed() < self.quiet);
        }
        changed.insert(name.clone(), Instant::now());
        self.count.store(changed.len(), Ordering::Relaxed);
    }

    /// Records a change of a repository, if the repository is recent.
    pub(in crate::registry) fn touch(&self, name: &RepositoryName) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(when) = self.changed.lock().get_mut(name)
            && when.elapsed() < self.quiet
        {
            *when = Instant::now();
        }
    }

    /// Follows a rename: each pair is an old and a new name.
    pub(super) fn rename(&self, names: &[(Namespace, Namespace)]) {
        let mut changed = self.changed.lock();
        let repository =
            |(old, new): &(Namespace, Namespace)| Some((old.repository()?, new.repository()?));
        for (old, new) in names.iter().filter_map(repository) {
            // The rename replaces an empty repository of the new name.
            changed.remove(&new);
            if let Some(when) = changed.remove(&old) {
                changed.insert(new, when);
            }
        }
        self.count.store(changed.len(), Ordering::Relaxed);
    }

    /// Returns `true` if a repository is recent.
    pub(super) fn contains(&self, name: &RepositoryName) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut changed = self.changed.lock();
        let recent = changed.get(name).map(|when| when.elapsed() < self.quiet);
        if recent == Some(false) {
            changed.remove(name);
            self.count.store(changed.len(), Ordering::Relaxed);
        }
        recent.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_recent_until_it_had_no_change_for_a_while() {
        let recent = RecentRepositories::with(Duration::from_millis(200));
        let (one, other) = ("one".parse().unwrap(), "other".parse().unwrap());
        recent.add(&one);
        recent.touch(&other);
        assert!(recent.contains(&one) && !recent.contains(&other));
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            recent.touch(&one);
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while recent.contains(&one) {
            assert!(Instant::now() < deadline, "it stays recent");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        // A later change does not make it recent again: the directory has been shown.
        recent.touch(&one);
        assert!(!recent.contains(&one));
    }
}
