//! Inodes: the numbers by which the kernel knows places. stat shows others, which last
//! (`tree/number.rs`).
//!
//! A number is given at the first lookup and goes when the kernel has forgotten it as often as
//! it looked it up. A place that becomes another (a renamed file) keeps its number.

use std::hash::BuildHasher;
use std::path::Path;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::RwLock;

use crate::tree::{Packed, Place, Relocation};

mod rows;

use rows::Rows;

/// The number of the top.
pub(super) const TOP: u64 = 1;

/// Numbers and places.
#[derive(Debug)]
pub(super) struct Inodes {
    table: RwLock<Table>,
}

/// A row takes 97 bytes, and its number by place six to eleven.
#[derive(Debug)]
struct Table {
    rows: Rows<Row>,
    /// The newest number of each place.
    numbers: HashTable<u64>,
    hasher: DefaultHashBuilder,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something of its own that the kernel may have"
)]
#[derive(Debug)]
struct Row {
    /// Where it is; nothing once it was removed, while files are open on it. A place that was
    /// replaced is still where it was: who found it under its old number reads what is there.
    place: Option<Packed>,
    lookups: u32,
    /// How often its listing was found to be wrong.
    version: u32,
    /// Whether the kernel may neither read and write its file by itself nor cache it.
    through_us: bool,
    /// Whether the kernel may have cached its content.
    kept: bool,
    /// Whether the kernel may have cached its listing.
    listed: bool,
    /// Whether it was made as a file that was no fact yet, and has become another place.
    made: bool,
    /// Whether the kernel may cache what a mapping has written, while it was an upload.
    mapped: bool,
}

impl Row {
    fn new(place: Packed) -> Self {
        Self {
            place: Some(place),
            lookups: 1,
            version: 0,
            through_us: false,
            kept: false,
            listed: false,
            made: false,
            mapped: false,
        }
    }
}

impl Rows<Row> {
    fn place(&self, ino: u64) -> Option<&Packed> {
        self.get(ino)?.place.as_ref()
    }
}

impl Table {
    fn number(&self, place: &Packed) -> Option<u64> {
        let hash = self.hasher.hash_one(place);
        let is_it = |ino: &u64| self.rows.place(*ino) == Some(place);
        self.numbers.find(hash, is_it).copied()
    }

    /// The entry of a place among the numbers, and the rows.
    fn entry(&mut self, place: &Packed) -> (Entry<'_, u64>, &mut Rows<Row>) {
        let (rows, hasher) = (&mut self.rows, &self.hasher);
        let is_it = |ino: &u64| rows.place(*ino) == Some(place);
        let hash_of = |ino: &u64| rows.place(*ino).map_or(0, |place| hasher.hash_one(place));
        let entry = self.numbers.entry(hasher.hash_one(place), is_it, hash_of);
        (entry, rows)
    }

    /// Makes this number the newest of a place.
    fn give(&mut self, place: &Packed, ino: u64) {
        self.entry(place).0.insert(ino);
    }

    /// Takes the number of a place from it; the row still says where it is.
    fn take(&mut self, place: &Packed) -> Option<u64> {
        match self.entry(place).0 {
            Entry::Occupied(known) => Some(known.remove().0),
            Entry::Vacant(_) => None,
        }
    }

    /// The place of a number is now another one. Who found what was replaced under its number
    /// reads what is there now.
    fn moves(&mut self, ino: u64, old: &Packed, new: &Packed) {
        let newest = self.number(old) == Some(ino);
        if newest {
            self.take(old);
        }
        if let Some(row) = self.rows.get_mut(ino) {
            row.place = Some(new.clone());
        }
        if newest {
            self.give(new, ino);
        }
    }

    /// Removes a row that nobody needs: the kernel does not know it, and does not come back to
    /// look it up.
    fn clear(&mut self, ino: u64) {
        let needed = |row: &&Row| row.lookups > 0 || row.through_us;
        let Some(row) = self.rows.get(ino).filter(|row| !needed(row)) else {
            return;
        };
        // Its place may have a newer number.
        if let Some(place) = &row.place
            && let Ok(known) = self
                .numbers
                .find_entry(self.hasher.hash_one(place), |other| *other == ino)
        {
            known.remove();
        }
        self.rows.remove(ino);
    }
}

impl Inodes {
    /// A table that knows just the top.
    pub(super) fn new(top: &Place) -> Self {
        let mut table = Table {
            rows: Rows::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        };
        let top = Packed::from(top);
        let ino = table.rows.insert(Row::new(top.clone()));
        table.give(&top, ino);
        Self {
            table: RwLock::new(table),
        }
    }

    /// The place of a number, if it still has one.
    pub(super) fn place(&self, ino: u64) -> Option<Place> {
        self.table.read().rows.place(ino).map(Place::from)
    }

    /// Every number that leads somewhere, and where.
    pub(super) fn all(&self) -> Vec<(u64, Place)> {
        let table = self.table.read();
        let rows = table.rows.iter();
        rows.filter_map(|(ino, row)| Some((ino, row.place.as_ref()?.into())))
            .collect()
    }

    /// The number of a place, if the kernel knows it.
    pub(super) fn number(&self, place: &Place) -> Option<u64> {
        self.table.read().number(&place.into())
    }

    /// The number of a place that the kernel is told of once more.
    pub(super) fn look_up(&self, place: &Place) -> u64 {
        let place = Packed::from(place);
        let mut table = self.table.write();
        match table.entry(&place) {
            (Entry::Occupied(known), rows) => {
                let ino = *known.get();
                if let Some(row) = rows.get_mut(ino) {
                    row.lookups = row.lookups.saturating_add(1);
                }
                ino
            }
            (Entry::Vacant(slot), rows) => {
                let ino = rows.insert(Row::new(place));
                slot.insert(ino);
                ino
            }
        }
    }

    /// The kernel has forgotten a number `count` times.
    pub(super) fn forget(&self, ino: u64, count: u64) {
        if ino == TOP {
            return;
        }
        let mut table = self.table.write();
        let Some(row) = table.rows.get_mut(ino) else {
            return;
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        row.lookups = row.lookups.saturating_sub(count);
        table.clear(ino);
    }

    /// A place is gone: its number leads nowhere, and another file of its name gets another.
    pub(super) fn removed(&self, place: &Place) {
        let mut table = self.table.write();
        if let Some(ino) = table.take(&place.into())
            && let Some(row) = table.rows.get_mut(ino)
        {
            row.place = None;
            row.through_us = false;
            table.clear(ino);
        }
    }

    /// Takes note whether the kernel caches the content; whether it may have before.
    pub(super) fn keep(&self, ino: u64, keeps: bool) -> bool {
        let mut table = self.table.write();
        let row = table.rows.get_mut(ino);
        row.is_some_and(|row| std::mem::replace(&mut row.kept, keeps))
    }

    /// A listing begins; which version of it.
    pub(super) fn list(&self, ino: u64) -> u32 {
        let mut table = self.table.write();
        table.rows.get_mut(ino).map_or(0, |row| {
            row.listed = true;
            row.version
        })
    }

    /// Which version of its listing is the newest.
    pub(super) fn listed(&self, ino: u64) -> u32 {
        let table = self.table.read();
        table.rows.get(ino).map_or(0, |row| row.version)
    }

    /// The listing of a directory is not what it was; its number, if the kernel may have cached
    /// it.
    pub(super) fn invalidate_listing(&self, directory: &Place) -> Option<u64> {
        let ino = self.number(directory)?;
        let mut table = self.table.write();
        let row = table.rows.get_mut(ino)?;
        row.version = row.version.wrapping_add(1);
        std::mem::take(&mut row.listed).then_some(ino)
    }

    /// The listing of a directory is not what it was, and the kernel knows.
    pub(super) fn bump_listing_version(&self, directory: u64) {
        let mut table = self.table.write();
        if let Some(row) = table.rows.get_mut(directory) {
            row.version = row.version.wrapping_add(1);
        }
    }

    /// A place gets another number from its next lookup on, and if `through_us`, whatever is
    /// opened by that comes through us. The old number still leads there.
    pub(super) fn renew(&self, ino: u64, through_us: bool) {
        let mut table = self.table.write();
        let place = table.rows.get(ino).and_then(|row| row.place.clone());
        let Some(place) = place.filter(|place| table.number(place) == Some(ino)) else {
            return;
        };
        let row = Row {
            lookups: 0,
            through_us,
            ..Row::new(place.clone())
        };
        let new = table.rows.insert(row);
        table.give(&place, new);
    }

    /// An upload is opened through us by this number, and may be mapped to be written.
    pub(super) fn map(&self, ino: u64) {
        let mut table = self.table.write();
        if let Some(row) = table.rows.get_mut(ino) {
            row.mapped = true;
        }
    }

    /// Whether the kernel may cache by this number what a mapping has written.
    pub(super) fn is_mapped(&self, ino: u64) -> bool {
        let table = self.table.read();
        table.rows.get(ino).is_some_and(|row| row.mapped)
    }

    /// Whether whatever is opened by this number comes through us.
    pub(super) fn is_through_us(&self, ino: u64) -> bool {
        let table = self.table.read();
        table.rows.get(ino).is_some_and(|row| row.through_us)
    }

    /// What is opened by this number need not come through us any more.
    pub(super) fn allow(&self, ino: u64) {
        let mut table = self.table.write();
        if let Some(row) = table.rows.get_mut(ino) {
            row.through_us = false;
            table.clear(ino);
        }
    }

    /// A place is now another one, and takes its number along.
    pub(super) fn became(&self, old: &Place, new: &Place) {
        if old == new {
            return;
        }
        let made = matches!(old, Place::Draft(_));
        let (old, new) = (Packed::from(old), Packed::from(new));
        let mut table = self.table.write();
        if let Some(ino) = table.number(&old) {
            table.moves(ino, &old, &new);
            if let Some(row) = table.rows.get_mut(ino) {
                row.made |= made;
            }
        }
    }

    /// Two plain files have changed their places, with what is below them.
    pub(super) fn exchanged(&self, one: &Place, other: &Place) {
        let (Place::Plain(first), Place::Plain(second)) = (one, other) else {
            return;
        };
        // No file has such a name.
        let aside = Path::new("\0");
        for (old, new) in [(&**first, aside), (&**second, &**first), (aside, &**second)] {
            self.became(&Place::Plain(old.into()), &Place::Plain(new.into()));
            self.moved_along(old, new);
        }
    }

    /// What is below a part of the layout has moved with it.
    pub(super) fn relocated(&self, relocation: &Relocation) {
        let mut table = self.table.write();
        let below = |(ino, row): (u64, &Row)| {
            let place = row.place.as_ref()?;
            let moved = Packed::from(&relocation.place(&place.into())?);
            Some((ino, place.clone(), moved))
        };
        let rows: Vec<_> = table.rows.iter().filter_map(below).collect();
        for (ino, old, new) in rows {
            table.moves(ino, &old, &new);
        }
    }

    /// Whether a number was given to a file that was no fact yet, and is another place now.
    pub(super) fn was_made(&self, ino: u64) -> bool {
        let table = self.table.read();
        table.rows.get(ino).is_some_and(|row| row.made)
    }

    /// What is below a plain directory has moved with it.
    pub(super) fn moved_along(&self, old: &Path, new: &Path) {
        let mut table = self.table.write();
        let below = |(ino, row): (u64, &Row)| {
            let place = row.place.as_ref()?;
            let rest = place.plain()?.strip_prefix(old).ok()?;
            let moved = Packed::from(&Place::Plain(new.join(rest)));
            Some((ino, place.clone(), moved))
        };
        let rows: Vec<_> = table.rows.iter().filter_map(below).collect();
        for (ino, old, new) in rows {
            table.moves(ino, &old, &new);
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
        let inodes = Inodes::new(&plain(""));
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
    fn a_row_takes_little_room() {
        assert!(size_of::<Option<(u32, Row)>>() <= 96);
    }

    #[test]
    fn a_removed_place_leaves_its_number_without_one() {
        let inodes = Inodes::new(&plain(""));
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
    fn what_is_below_a_directory_moves_with_it() {
        let inodes = Inodes::new(&plain(""));
        let (file, beside) = (
            inodes.look_up(&plain("a/b/f")),
            inodes.look_up(&plain("ab/f")),
        );
        inodes.moved_along("a".as_ref(), "c".as_ref());
        assert_eq!(inodes.place(file), Some(plain("c/b/f")));
        assert_eq!(inodes.number(&plain("c/b/f")), Some(file));
        assert_ne!(inodes.look_up(&plain("a/b/f")), file);
        assert_eq!(inodes.place(beside), Some(plain("ab/f")));
    }

    #[test]
    fn what_is_exchanged_changes_numbers_with_what_is_below() {
        let inodes = Inodes::new(&plain(""));
        let numbers = ["a", "a/f", "b"].map(|name| inodes.look_up(&plain(name)));
        inodes.exchanged(&plain("a"), &plain("b"));
        let places = numbers.map(|ino| inodes.place(ino));
        assert_eq!(places, ["b", "b/f", "a"].map(|name| Some(plain(name))));
        assert_eq!(inodes.number(&plain("b/f")), Some(numbers[1]));
    }

    #[test]
    fn what_becomes_another_place_keeps_its_number() {
        let inodes = Inodes::new(&plain(""));
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
