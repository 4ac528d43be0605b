//! Inodes: the numbers by which the kernel knows places. The inode numbers that stat(2) shows are
//! others, which survive a remount (`tree/number.rs`).
//!
//! A place gets its number at the first lookup and loses it when the kernel has forgotten it as
//! often as it looked it up. A file that is renamed keeps its number.

use std::hash::BuildHasher;
use std::path::Path;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::RwLock;

use crate::tree::{CompactPlace, Place, Relocation};

mod rows;

use rows::Rows;

/// The number of the root directory.
pub(super) const TOP: u64 = 1;

/// The table of numbers and places.
#[derive(Debug)]
pub(super) struct Inodes {
    table: RwLock<InodeTable>,
}

/// A row takes 97 bytes, and its entry in `numbers` six to eleven.
#[derive(Debug)]
struct InodeTable {
    rows: Rows<InodeRow>,
    /// The newest number of each place.
    numbers: HashTable<u64>,
    hasher: DefaultHashBuilder,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent facts about one inode"
)]
#[derive(Debug)]
struct InodeRow {
    /// Where the file is; `None` once it was removed, while it is open. A place at which another
    /// file was put stays here: by the old number, too, what is there now is read.
    place: Option<CompactPlace>,
    lookups: u32,
    /// The number of changes of its listing.
    version: u32,
    /// The kernel must neither read and write the backing file itself nor cache its content.
    passthrough_disabled: bool,
    /// The kernel may have cached its content.
    content_cached: bool,
    /// The kernel may have cached its listing.
    listing_cached: bool,
    /// It was created as a pending file and is a fact at another place now.
    was_pending: bool,
    /// The kernel may have cached what was written through a mapping, while it was an upload.
    mapped: bool,
}

impl InodeRow {
    fn new(place: CompactPlace) -> Self {
        Self {
            place: Some(place),
            lookups: 1,
            version: 0,
            passthrough_disabled: false,
            content_cached: false,
            listing_cached: false,
            was_pending: false,
            mapped: false,
        }
    }
}

impl Rows<InodeRow> {
    fn place(&self, ino: u64) -> Option<&CompactPlace> {
        self.get(ino)?.place.as_ref()
    }
}

impl InodeTable {
    fn number(&self, place: &CompactPlace) -> Option<u64> {
        let hash = self.hasher.hash_one(place);
        let is_it = |ino: &u64| self.rows.place(*ino) == Some(place);
        self.numbers.find(hash, is_it).copied()
    }

    /// Returns the entry of a place in `numbers`, and the rows.
    fn entry(&mut self, place: &CompactPlace) -> (Entry<'_, u64>, &mut Rows<InodeRow>) {
        let (rows, hasher) = (&mut self.rows, &self.hasher);
        let is_it = |ino: &u64| rows.place(*ino) == Some(place);
        let hash_of = |ino: &u64| rows.place(*ino).map_or(0, |place| hasher.hash_one(place));
        let entry = self.numbers.entry(hasher.hash_one(place), is_it, hash_of);
        (entry, rows)
    }

    /// Makes this number the newest of a place.
    fn give(&mut self, place: &CompactPlace, ino: u64) {
        self.entry(place).0.insert(ino);
    }

    /// Takes its number from a place; the row still has the place.
    fn take(&mut self, place: &CompactPlace) -> Option<u64> {
        match self.entry(place).0 {
            Entry::Occupied(known) => Some(known.remove().0),
            Entry::Vacant(_) => None,
        }
    }

    /// Gives a number another place. A number that had this place before also keeps it.
    fn moves(&mut self, ino: u64, old: &CompactPlace, new: &CompactPlace) {
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

    /// Removes a row that is not needed: the kernel does not know its number, and will not look
    /// it up again because of a disabled passthrough.
    fn clear(&mut self, ino: u64) {
        let needed = |row: &&InodeRow| row.lookups > 0 || row.passthrough_disabled;
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
    /// Returns a table with the root directory only.
    pub(super) fn new(top: &Place) -> Self {
        let mut table = InodeTable {
            rows: Rows::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        };
        let top = CompactPlace::from(top);
        let ino = table.rows.insert(InodeRow::new(top.clone()));
        table.give(&top, ino);
        Self {
            table: RwLock::new(table),
        }
    }

    /// Returns the place of a number, if it still has one.
    pub(super) fn place(&self, ino: u64) -> Option<Place> {
        self.table.read().rows.place(ino).map(Place::from)
    }

    /// Returns every number that has a place, with the place.
    pub(super) fn all(&self) -> Vec<(u64, Place)> {
        let table = self.table.read();
        let rows = table.rows.iter();
        rows.filter_map(|(ino, row)| Some((ino, row.place.as_ref()?.into())))
            .collect()
    }

    /// Returns the number of a place, if the kernel knows it.
    pub(super) fn number(&self, place: &Place) -> Option<u64> {
        self.table.read().number(&place.into())
    }

    /// Returns the number of a place, and counts a lookup by the kernel.
    pub(super) fn look_up(&self, place: &Place) -> u64 {
        let place = CompactPlace::from(place);
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
                let ino = rows.insert(InodeRow::new(place));
                slot.insert(ino);
                ino
            }
        }
    }

    /// The kernel forgets `count` lookups of a number.
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

    /// Takes the place from its number, since it was removed. Another file at this place will get
    /// another number.
    pub(super) fn removed(&self, place: &Place) {
        let mut table = self.table.write();
        if let Some(ino) = table.take(&place.into())
            && let Some(row) = table.rows.get_mut(ino)
        {
            row.place = None;
            row.passthrough_disabled = false;
            table.clear(ino);
        }
    }

    /// Sets whether the kernel may cache the content. Returns whether it might before.
    pub(super) fn set_content_cached(&self, ino: u64, cached: bool) -> bool {
        let mut table = self.table.write();
        let row = table.rows.get_mut(ino);
        row.is_some_and(|row| std::mem::replace(&mut row.content_cached, cached))
    }

    /// Returns the version of a listing that begins. The kernel may cache it.
    pub(super) fn begin_listing(&self, ino: u64) -> u32 {
        let mut table = self.table.write();
        table.rows.get_mut(ino).map_or(0, |row| {
            row.listing_cached = true;
            row.version
        })
    }

    /// Returns the current version of a listing.
    pub(super) fn listing_version(&self, ino: u64) -> u32 {
        let table = self.table.read();
        table.rows.get(ino).map_or(0, |row| row.version)
    }

    /// Increases the version of a directory's listing. Returns the directory's number if the
    /// kernel may have cached the listing and must drop it.
    pub(super) fn invalidate_listing(&self, directory: &Place) -> Option<u64> {
        let ino = self.number(directory)?;
        let mut table = self.table.write();
        let row = table.rows.get_mut(ino)?;
        row.version = row.version.wrapping_add(1);
        std::mem::take(&mut row.listing_cached).then_some(ino)
    }

    /// Increases the version of a listing whose change the kernel knows.
    pub(super) fn bump_listing_version(&self, directory: u64) {
        let mut table = self.table.write();
        if let Some(row) = table.rows.get_mut(directory) {
            row.version = row.version.wrapping_add(1);
        }
    }

    /// Gives a place another number from its next lookup on, which is without passthrough if
    /// `passthrough_disabled`. The old number stays valid.
    pub(super) fn renumber(&self, ino: u64, passthrough_disabled: bool) {
        let mut table = self.table.write();
        let place = table.rows.get(ino).and_then(|row| row.place.clone());
        let Some(place) = place.filter(|place| table.number(place) == Some(ino)) else {
            return;
        };
        let row = InodeRow {
            lookups: 0,
            passthrough_disabled,
            ..InodeRow::new(place.clone())
        };
        let new = table.rows.insert(row);
        table.give(&place, new);
    }

    /// An upload is opened by this number without passthrough, and may be mapped for writing.
    pub(super) fn set_mapped(&self, ino: u64) {
        let mut table = self.table.write();
        if let Some(row) = table.rows.get_mut(ino) {
            row.mapped = true;
        }
    }

    /// Returns `true` if the kernel may have cached, by this number, what a mapping has written.
    pub(super) fn is_mapped(&self, ino: u64) -> bool {
        let table = self.table.read();
        table.rows.get(ino).is_some_and(|row| row.mapped)
    }

    /// Returns `true` if files must be opened without passthrough by this number.
    pub(super) fn is_passthrough_disabled(&self, ino: u64) -> bool {
        let table = self.table.read();
        table
            .rows
            .get(ino)
            .is_some_and(|row| row.passthrough_disabled)
    }

    /// Allows passthrough of files that are opened by this number.
    pub(super) fn enable_passthrough(&self, ino: u64) {
        let mut table = self.table.write();
        if let Some(row) = table.rows.get_mut(ino) {
            row.passthrough_disabled = false;
            table.clear(ino);
        }
    }

    /// A place has become another one, which gets its number.
    pub(super) fn became(&self, old: &Place, new: &Place) {
        if old == new {
            return;
        }
        let was_pending = matches!(old, Place::Pending(_));
        let (old, new) = (CompactPlace::from(old), CompactPlace::from(new));
        let mut table = self.table.write();
        if let Some(ino) = table.number(&old) {
            table.moves(ino, &old, &new);
            if let Some(row) = table.rows.get_mut(ino) {
                row.was_pending |= was_pending;
            }
        }
    }

    /// Two plain files or directories have exchanged their places, with everything below.
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

    /// Everything below a part of the layout has moved with it.
    pub(super) fn relocated(&self, relocation: &Relocation) {
        let mut table = self.table.write();
        let below = |(ino, row): (u64, &InodeRow)| {
            let place = row.place.as_ref()?;
            let moved = CompactPlace::from(&relocation.place(&place.into())?);
            Some((ino, place.clone(), moved))
        };
        let rows: Vec<_> = table.rows.iter().filter_map(below).collect();
        for (ino, old, new) in rows {
            table.moves(ino, &old, &new);
        }
    }

    /// Returns `true` if the number was given to a pending file that is a fact now.
    pub(super) fn was_pending(&self, ino: u64) -> bool {
        let table = self.table.read();
        table.rows.get(ino).is_some_and(|row| row.was_pending)
    }

    /// Everything below a plain directory has moved with it.
    pub(super) fn moved_along(&self, old: &Path, new: &Path) {
        let mut table = self.table.write();
        let below = |(ino, row): (u64, &InodeRow)| {
            let place = row.place.as_ref()?;
            let rest = place.plain()?.strip_prefix(old).ok()?;
            let moved = CompactPlace::from(&Place::Plain(new.join(rest)));
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
    fn a_number_is_valid_until_the_kernel_forgets_it() {
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
    fn a_row_takes_at_most_96_bytes() {
        assert!(size_of::<Option<(u32, InodeRow)>>() <= 96);
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
    fn files_below_a_directory_move_with_it() {
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
    fn an_exchange_moves_numbers_of_files_below_too() {
        let inodes = Inodes::new(&plain(""));
        let numbers = ["a", "a/f", "b"].map(|name| inodes.look_up(&plain(name)));
        inodes.exchanged(&plain("a"), &plain("b"));
        let places = numbers.map(|ino| inodes.place(ino));
        assert_eq!(places, ["b", "b/f", "a"].map(|name| Some(plain(name))));
        assert_eq!(inodes.number(&plain("b/f")), Some(numbers[1]));
    }

    #[test]
    fn a_renamed_file_keeps_its_number() {
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
