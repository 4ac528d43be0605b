//! Inodes: the numbers under which the kernel knows places.
//!
//! A number is given at the first lookup and goes when the kernel has forgotten it as often as
//! it looked it up. A place that becomes another (a renamed file) keeps its number.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::tree::Place;

/// The number of the top.
pub(super) const TOP: u64 = 1;

/// Numbers and places.
#[derive(Debug)]
pub(super) struct Inodes {
    table: RwLock<Table>,
}

#[derive(Debug)]
struct Table {
    rows: HashMap<u64, Row>,
    numbers: HashMap<Arc<Place>, u64>,
    next: u64,
}

#[derive(Debug)]
struct Row {
    /// Where it is; nothing once it was removed, while files are open on it. A place that was
    /// replaced is still where it was: who found it under its old number reads what is there.
    place: Option<Arc<Place>>,
    lookups: u64,
    /// Whether the kernel may not read and write its file by itself.
    through_us: bool,
    /// Whether the kernel may have cached its content.
    kept: bool,
    /// Whether the kernel may have cached its listing.
    listed: bool,
    /// How often that was found to be wrong.
    version: u32,
}

impl Row {
    fn new(place: Arc<Place>) -> Self {
        Self {
            place: Some(place),
            lookups: 1,
            through_us: false,
            kept: false,
            listed: false,
            version: 0,
        }
    }
}

impl Inodes {
    /// A table that knows just the top.
    pub(super) fn new(top: Place) -> Self {
        let top = Arc::new(top);
        let rows = HashMap::from([(TOP, Row::new(Arc::clone(&top)))]);
        let numbers = HashMap::from([(top, TOP)]);
        Self {
            table: RwLock::new(Table {
                rows,
                numbers,
                next: TOP + 1,
            }),
        }
    }

    /// The place of a number, if it still has one.
    pub(super) fn place(&self, ino: u64) -> Option<Place> {
        self.table.read().rows.get(&ino)?.place.as_deref().cloned()
    }

    /// Every number that leads somewhere, and where.
    pub(super) fn all(&self) -> Vec<(u64, Arc<Place>)> {
        let table = self.table.read();
        let rows = table.rows.iter();
        rows.filter_map(|(ino, row)| Some((*ino, Arc::clone(row.place.as_ref()?))))
            .collect()
    }

    /// The number of a place, if the kernel knows it.
    pub(super) fn number(&self, place: &Place) -> Option<u64> {
        self.table.read().numbers.get(place).copied()
    }

    /// The number of a place that the kernel is told of once more.
    pub(super) fn look_up(&self, place: &Place) -> u64 {
        let mut table = self.table.write();
        if let Some(ino) = table.numbers.get(place).copied() {
            if let Some(row) = table.rows.get_mut(&ino) {
                row.lookups += 1;
            }
            return ino;
        }
        let ino = table.next;
        table.next += 1;
        let place = Arc::new(place.clone());
        table.rows.insert(ino, Row::new(Arc::clone(&place)));
        table.numbers.insert(place, ino);
        ino
    }

    /// The kernel has forgotten a number `count` times.
    pub(super) fn forget(&self, ino: u64, count: u64) {
        if ino == TOP {
            return;
        }
        let mut table = self.table.write();
        let Some(row) = table.rows.get_mut(&ino) else {
            return;
        };
        row.lookups = row.lookups.saturating_sub(count);
        if row.lookups == 0
            && let Some(place) = table.rows.remove(&ino).and_then(|row| row.place)
            && table.numbers.get(&place) == Some(&ino)
        {
            table.numbers.remove(&place);
        }
    }

    /// A place is gone: its number leads nowhere, and another file of its name gets another.
    pub(super) fn removed(&self, place: &Place) {
        let mut table = self.table.write();
        if let Some(row) = table
            .numbers
            .remove(place)
            .and_then(|ino| table.rows.get_mut(&ino))
        {
            row.place = None;
        }
    }

    /// Takes note whether the kernel caches the content; whether it may have before.
    pub(super) fn keep(&self, ino: u64, keeps: bool) -> bool {
        let mut table = self.table.write();
        let row = table.rows.get_mut(&ino);
        row.is_some_and(|row| std::mem::replace(&mut row.kept, keeps))
    }

    /// A listing begins; which version of it.
    pub(super) fn list(&self, ino: u64) -> u32 {
        let mut table = self.table.write();
        table.rows.get_mut(&ino).map_or(0, |row| {
            row.listed = true;
            row.version
        })
    }

    /// Which version of its listing is the newest.
    pub(super) fn listed(&self, ino: u64) -> u32 {
        let table = self.table.read();
        table.rows.get(&ino).map_or(0, |row| row.version)
    }

    /// The listing of a directory is not what it was; its number, if the kernel may have cached
    /// it.
    pub(super) fn unlist(&self, directory: &Place) -> Option<u64> {
        let ino = self.number(directory)?;
        let mut table = self.table.write();
        let row = table.rows.get_mut(&ino)?;
        row.version = row.version.wrapping_add(1);
        std::mem::take(&mut row.listed).then_some(ino)
    }

    /// A place gets another number from its next lookup on, and if `through_us`, whatever is
    /// opened by that comes through us. The old number still leads there.
    pub(super) fn renew(&self, ino: u64, through_us: bool) {
        let mut table = self.table.write();
        let place = table.rows.get(&ino).and_then(|row| row.place.clone());
        let Some(place) = place.filter(|place| table.numbers.get(place) == Some(&ino)) else {
            return;
        };
        let new = table.next;
        table.next += 1;
        let row = Row {
            lookups: 0,
            through_us,
            ..Row::new(Arc::clone(&place))
        };
        table.rows.insert(new, row);
        table.numbers.insert(place, new);
    }

    /// Whether whatever is opened by this number comes through us.
    pub(super) fn is_through_us(&self, ino: u64) -> bool {
        let table = self.table.read();
        table.rows.get(&ino).is_some_and(|row| row.through_us)
    }

    /// A place is now another one, and takes its number along.
    pub(super) fn became(&self, old: &Place, new: &Place) {
        if old == new {
            return;
        }
        let mut table = self.table.write();
        let Some(ino) = table.numbers.remove(old) else {
            return;
        };
        let new = Arc::new(new.clone());
        table.numbers.insert(Arc::clone(&new), ino);
        if let Some(row) = table.rows.get_mut(&ino) {
            row.place = Some(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> Place {
        Place::Plain(name.into())
    }

    #[test]
    fn a_number_lives_as_long_as_the_kernel_remembers_it() {
        let inodes = Inodes::new(plain(""));
        let ino = inodes.look_up(&plain("a"));
        assert_eq!(inodes.look_up(&plain("a")), ino);
        inodes.forget(ino, 1);
        assert_eq!(inodes.place(ino), Some(plain("a")));
        inodes.forget(ino, 1);
        assert_eq!(inodes.place(ino), None);
        assert_eq!(inodes.number(&plain("a")), None);
        assert_ne!(inodes.look_up(&plain("a")), ino);
        inodes.forget(TOP, 9);
        assert_eq!(inodes.place(TOP), Some(plain("")));
    }

    #[test]
    fn a_removed_place_leaves_its_number_without_one() {
        let inodes = Inodes::new(plain(""));
        let old = inodes.look_up(&plain("a"));
        inodes.removed(&plain("a"));
        let new = inodes.look_up(&plain("a"));
        assert_ne!(old, new);
        assert_eq!(
            (inodes.place(old), inodes.place(new)),
            (None, Some(plain("a")))
        );
        inodes.forget(old, 1);
        assert_eq!(inodes.number(&plain("a")), Some(new));
    }

    #[test]
    fn what_becomes_another_place_keeps_its_number() {
        let inodes = Inodes::new(plain(""));
        let (temporary, link) = (inodes.look_up(&plain("t")), inodes.look_up(&plain("link")));
        inodes.became(&plain("t"), &plain("link"));
        assert_eq!(inodes.number(&plain("link")), Some(temporary));
        assert_eq!(inodes.place(link), Some(plain("link")));
        inodes.forget(link, 1);
        assert_eq!(inodes.number(&plain("link")), Some(temporary));
        assert_eq!(inodes.place(temporary), Some(plain("link")));
        assert_eq!(inodes.number(&plain("t")), None);
    }
}
