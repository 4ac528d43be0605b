//! Touched: directories whose change in this second is written down already.
//!
//! A time has the precision of a second: what changes a directory again in the same one has
//! nothing to write.

use std::collections::HashSet;

use parking_lot::Mutex;

/// A second, and the rows that have it as their time.
#[derive(Debug, Default)]
pub(super) struct Touched(Mutex<(u32, HashSet<Vec<u8>>)>);

impl Touched {
    /// Whether a row is known to have this second as its time.
    pub(super) fn contains(&self, row: &[u8], second: u32) -> bool {
        let touched = self.0.lock();
        touched.0 == second && touched.1.contains(row)
    }

    /// Rows were committed with this second as their time.
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

    /// A row has another time, or none.
    pub(super) fn remove(&self, row: &[u8]) {
        self.0.lock().1.remove(row);
    }
}
