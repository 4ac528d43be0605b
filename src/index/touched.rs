//! Directories whose change in the current second is already written.
//!
//! Times have a precision of one second: a further change of a directory in the same second writes
//! nothing.

use std::collections::HashSet;

use parking_lot::Mutex;

/// A second, and the keys of the rows that have it as their time.
#[derive(Debug, Default)]
pub(super) struct Touched(Mutex<(u32, HashSet<Vec<u8>>)>);

impl Touched {
    /// Returns `true` if a row is known to have this second as its time.
    pub(super) fn contains(&self, row: &[u8], second: u32) -> bool {
        let touched = self.0.lock();
        touched.0 == second && touched.1.contains(row)
    }

    /// Records that rows were committed with this second as their time.
    pub(super) fn insert(&self, rows: Vec<Vec<u8>>, second: u32) {
        if rows.is_empty() {
            return;
        }
        let mut touched = self.0.lock();
        if touched.0 != second {
            *touched = (second, HashSet::new());
        }
        touched.1.extend(rows);
    }

    /// Forgets a row that has another time now, or none.
    pub(super) fn remove(&self, row: &[u8]) {
        self.0.lock().1.remove(row);
    }
}
