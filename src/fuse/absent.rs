//! Absent names: those that the kernel keeps as not being there.
//!
//! When one comes by another way than through the kernel, the kernel has to ask again. Of a single
//! name it can be told only under locks that whoever waits for our answer may hold; of all names
//! at once it can be told without any. Each name that it keeps leaves a mark here, so that it is
//! told only if one of them may have come: many names share a mark.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;

use crate::tree::{Packed, Place};

/// Numbers of 64 marks: 8 KiB. A registry that pushes an image makes about a hundred.
const WORDS: usize = 1024;

/// The marks.
#[derive(Debug)]
pub(super) struct Absent {
    marks: Box<[AtomicU64]>,
    hasher: DefaultHashBuilder,
    /// How often names came.
    comings: AtomicU64,
}

impl Default for Absent {
    fn default() -> Self {
        Self {
            marks: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
            hasher: DefaultHashBuilder::default(),
            comings: AtomicU64::new(0),
        }
    }
}

impl Absent {
    /// How often names came until now: to be asked before a name is looked for.
    pub(super) fn comings(&self) -> u64 {
        self.comings.load(Ordering::SeqCst)
    }

    /// Marks a name that is not there; whether the kernel may keep that, since none came
    /// meanwhile.
    pub(super) fn keep(&self, place: &Place, comings: u64) -> bool {
        if let Some((word, mark)) = self.mark(place) {
            word.fetch_or(mark, Ordering::SeqCst);
        }
        self.comings() == comings
    }

    /// Takes note that these came; whether the kernel has to ask for all names again. Then
    /// nothing is marked any more.
    pub(super) fn came(&self, mut places: impl Iterator<Item = Place>) -> bool {
        self.comings.fetch_add(1, Ordering::SeqCst);
        let kept = places.any(|place| {
            let mark = self.mark(&place);
            mark.is_some_and(|(word, mark)| word.load(Ordering::SeqCst) & mark != 0)
        });
        if kept {
            self.clear();
        }
        kept
    }

    /// Marks nothing any more: the kernel is about to be told to ask again.
    pub(super) fn clear(&self) {
        self.comings.fetch_add(1, Ordering::SeqCst);
        for word in &self.marks {
            word.store(0, Ordering::SeqCst);
        }
    }

    fn mark(&self, place: &Place) -> Option<(&AtomicU64, u64)> {
        let hash = self.hasher.hash_one(Packed::from(place));
        let word = usize::try_from(hash / 64).ok()? % self.marks.len();
        Some((self.marks.get(word)?, 1 << (hash % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(path: &str) -> Place {
        Place::Plain(path.into())
    }

    #[test]
    fn the_kernel_asks_again_if_what_it_keeps_as_absent_comes() {
        let absent = Absent::default();
        assert!(absent.keep(&plain("a"), absent.comings()));
        assert!(!absent.came([plain("b")].into_iter()));
        assert!(absent.came([plain("b"), plain("a")].into_iter()));
        assert!(!absent.came([plain("a")].into_iter()));
    }

    #[test]
    fn what_came_while_it_was_looked_for_is_not_kept() {
        let absent = Absent::default();
        let before = absent.comings();
        absent.came([plain("a")].into_iter());
        assert!(!absent.keep(&plain("a"), before));
    }
}
