//! Recent: repositories that something comes into at the moment, and that nobody has made a
//! directory for layers in.
//!
//! A repository that holds a revision shows that directory in any case, or distribution's
//! collection up to 2.8 would destroy it. But a program that copies a tree makes its
//! directories itself, in any order, and stops at one that is there already. So the directory is
//! shown once nothing has come for a while; with the process this is forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::name::{Namespace, RepositoryName};

/// How long nothing must have come.
const QUIET: Duration = Duration::from_mins(1);
/// How many there are at least before those are looked for that are quiet.
const CLEARED_FROM: usize = 1_024;

/// When something last came.
#[derive(Debug)]
pub(in crate::registry) struct Recent {
    quiet: Duration,
    newest: Mutex<HashMap<RepositoryName, Instant>>,
    /// How many they are: mostly none, which everybody who writes a link asks.
    count: AtomicUsize,
}

impl Default for Recent {
    fn default() -> Self {
        Self::with(QUIET)
    }
}

impl Recent {
    fn with(quiet: Duration) -> Self {
        Self {
            quiet,
            newest: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// A revision comes into a repository without a directory for layers.
    pub(super) fn begin(&self, name: &RepositoryName) {
        let mut newest = self.newest.lock();
        if newest.len() >= CLEARED_FROM && newest.len() == newest.capacity() {
            newest.retain(|_, when| when.elapsed() < self.quiet);
        }
        newest.insert(name.clone(), Instant::now());
        self.count.store(newest.len(), Ordering::Relaxed);
    }

    /// Something else comes into a repository.
    pub(in crate::registry) fn go_on(&self, name: &RepositoryName) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(when) = self.newest.lock().get_mut(name)
            && when.elapsed() < self.quiet
        {
            *when = Instant::now();
        }
    }

    /// Repositories have other names.
    pub(super) fn rename(&self, names: &[(Namespace, Namespace)]) {
        let mut newest = self.newest.lock();
        let repository =
            |(old, new): &(Namespace, Namespace)| Some((old.repository()?, new.repository()?));
        for (old, new) in names.iter().filter_map(repository) {
            // What was known of another of that name goes with that.
            newest.remove(&new);
            if let Some(when) = newest.remove(&old) {
                newest.insert(new, when);
            }
        }
        self.count.store(newest.len(), Ordering::Relaxed);
    }

    /// Whether something came a moment ago.
    pub(super) fn is(&self, name: &RepositoryName) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut newest = self.newest.lock();
        let recent = newest.get(name).map(|when| when.elapsed() < self.quiet);
        if recent == Some(false) {
            newest.remove(name);
            self.count.store(newest.len(), Ordering::Relaxed);
        }
        recent.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_recent_until_nothing_has_come_for_a_while() {
        let recent = Recent::with(Duration::from_millis(200));
        let (one, other) = ("one".parse().unwrap(), "other".parse().unwrap());
        recent.begin(&one);
        recent.go_on(&other);
        assert!(recent.is(&one) && !recent.is(&other));
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            recent.go_on(&one);
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while recent.is(&one) {
            assert!(Instant::now() < deadline, "it stays recent");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        // What comes later begins nothing: the directory has been shown.
        recent.go_on(&one);
        assert!(!recent.is(&one));
    }
}
