//! Listings: directories are not opened; they are listed in pages, from a cursor.
//!
//! The kernel goes on at an offset, a number; the tree goes on behind a name. An offset is a
//! page and a place in it. Pages that are being read are kept as they were, so that what comes
//! or goes meanwhile moves nothing; of older ones just the name before them is, behind which
//! they are read again. The first page of a directory has no number of its own: most have no
//! other, and programs that walk trees go on with a directory after hundreds of thousands
//! below it.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use fuser::Errno;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::service::{Entry, Service, logged};
use crate::tree::{Found, Listed, Place};

/// Names read at once, with attributes and alone.
const PAGE: usize = 128;
const PAGE_BARE: usize = 512;
/// Bits of an offset that are a place in a page.
const PLACE_BITS: u32 = 10;
/// Pages of a directory whose names come with attributes. Who lists more names than that wants
/// the names; the kernel shall not remember a million files that nobody looked at.
const SHOWN: usize = 8;
/// The offset behind `.` and `..`, where names begin.
const DOTS: u64 = 2;
/// Pages kept as they were, and pages of which the name before them is known: of directories
/// with 33 million names in all.
const KEPT: usize = 64;
const KNOWN: usize = 1 << 16;

/// Pages that are being read.
#[derive(Debug, Default)]
pub(super) struct Directories {
    pages: Mutex<Pages>,
}

/// Which page: the first of an inode, or one by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    First(u64),
    Number(u64),
}

#[derive(Debug, Default)]
struct Pages {
    /// The names before pages, and how many pages are, by number, the oldest first.
    behind: BTreeMap<u64, (OsString, usize)>,
    kept: HashMap<Key, Kept>,
    /// Those that are kept, the oldest first.
    order: VecDeque<Key>,
    last: u64,
}

/// What is kept of a page.
#[derive(Clone, Debug)]
enum Kept {
    /// All of it.
    Page(Page),
    /// All of it was given out, up to this place, and nothing is behind it.
    End { place: usize, version: u32 },
}

/// A page of a listing.
#[derive(Clone, Debug)]
struct Page {
    names: Arc<Vec<Listed>>,
    /// Which version of the listing it belongs to.
    version: u32,
    /// How many pages are before it.
    before: usize,
}

impl Page {
    /// Names of a page behind so many others.
    fn len(before: usize) -> usize {
        if before < SHOWN { PAGE } else { PAGE_BARE }
    }

    /// The last name, if others may be behind it.
    fn last(&self) -> Option<&OsString> {
        let full = self.names.len() == Self::len(self.before);
        self.names
            .last()
            .filter(|_| full)
            .map(|listed| &listed.name)
    }
}

impl Key {
    /// The offset behind so many names of the page.
    fn offset(self, place: usize) -> u64 {
        match self {
            Self::First(_) => DOTS + place as u64,
            Self::Number(number) => number << PLACE_BITS | place as u64,
        }
    }

    /// The page at an offset, and the place in it.
    fn at(ino: u64, offset: u64) -> (Self, usize) {
        let place = |place| usize::try_from(place).unwrap_or(usize::MAX);
        match offset >> PLACE_BITS {
            0 => (Self::First(ino), place(offset.saturating_sub(DOTS))),
            number => (
                Self::Number(number),
                place(offset & ((1 << PLACE_BITS) - 1)),
            ),
        }
    }
}

impl Pages {
    /// Keeps a page as it is for a while.
    fn keep(&mut self, key: Key, page: Kept) {
        if self.kept.insert(key, page).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > KEPT
            && let Some(old) = self.order.pop_front()
        {
            self.kept.remove(&old);
        }
    }

    /// Keeps of a page that all of it was given out; of one that somebody else is still reading
    /// it keeps that.
    fn end(&mut self, key: Key, place: usize, page: &Page) {
        let theirs = match self.kept.get(&key) {
            Some(Kept::Page(kept)) => !Arc::ptr_eq(&kept.names, &page.names),
            Some(Kept::End { .. }) | None => false,
        };
        if !theirs {
            let version = page.version;
            self.keep(key, Kept::End { place, version });
        }
    }

    /// A number for the page behind a name, and so many pages.
    fn number(&mut self, behind: OsString, before: usize) -> Key {
        self.last += 1;
        self.behind.insert(self.last, (behind, before));
        if self.behind.len() > KNOWN {
            self.behind.pop_first();
        }
        Key::Number(self.last)
    }
}

/// A row of a listing, for the kernel.
pub(super) enum Row<'a> {
    /// `.` or `..`, which get the directory's own number.
    Dots(u64, &'static str),
    /// A name, with its attributes.
    Name(&'a Listed),
    /// A name alone.
    Bare(&'a Listed),
}

impl Service {
    /// The number of a row of which the kernel gets no attributes: any but 0 serves.
    pub(super) const BARE: u64 = u64::MAX;

    /// The number of a row in a listing without attributes. One is given at lookup only, and
    /// nobody looks for it where there are many rows.
    pub(super) fn listed_number(&self, row: &Row<'_>) -> u64 {
        let number = match row {
            Row::Dots(ino, _) => Some(*ino),
            Row::Name(row) => self.inodes.number(&row.found.place),
            Row::Bare(_) => None,
        };
        number.unwrap_or(Self::BARE)
    }

    /// What the kernel takes for no attributes, where it asks for names with them.
    pub(super) fn bare(&self, found: &Found) -> Entry {
        Entry {
            attributes: self.attributes(0, &found.attributes),
            lifetime: Duration::ZERO,
        }
    }

    /// Lists from an offset on. `add` takes a row and the offset behind it, and says whether
    /// there was no more room for it. Gives the inodes that the kernel must be told of.
    pub(super) fn list(
        &self,
        ino: u64,
        offset: u64,
        mut add: impl FnMut(u64, &Row<'_>) -> bool,
    ) -> Result<Vec<u64>, Errno> {
        let directory = self.place(ino)?;
        let version = if offset < DOTS {
            self.inodes.list(ino)
        } else {
            self.inodes.listed(ino)
        };
        for (at, name) in [(0, "."), (1, "..")] {
            if offset <= at && add(at + 1, &Row::Dots(ino, name)) {
                return Ok(Vec::new());
            }
        }
        let (mut key, mut place) = Key::at(ino, offset);
        let goes_on = (offset > DOTS).then_some(place);
        let mut page = self.page(&directory, key, version, goes_on)?;
        let mut last_page = None;
        loop {
            for row in page.names.get(place..).unwrap_or_default() {
                place += 1;
                let row = if page.before < SHOWN {
                    Row::Name(row)
                } else {
                    Row::Bare(row)
                };
                if add(key.offset(place), &row) {
                    let mut pages = self.directories.pages.lock();
                    pages.keep(key, Kept::Page(page));
                    // The kernel goes on behind the row before, which may be of the page before.
                    if let Some((key, page)) = last_page.filter(|_| place == 1) {
                        pages.keep(key, Kept::Page(page));
                    }
                    return Ok(Vec::new());
                }
            }
            let Some(behind) = page.last().cloned() else {
                break;
            };
            let before = page.before + 1;
            let next = self.directories.pages.lock().number(behind, before);
            let new = self.page(&directory, next, page.version, None)?;
            last_page = Some((key, std::mem::replace(&mut page, new)));
            key = next;
            place = 0;
        }
        self.directories.pages.lock().end(key, place, &page);
        // What changed while it was listed the kernel may have been told of before it had put
        // the listing away.
        let stale = page.version != self.inodes.listed(ino);
        Ok(stale.then_some(ino).into_iter().collect())
    }

    /// A page: as it was, if the listing `goes_on` at a place in it and it is kept, else as it
    /// is.
    fn page(
        &self,
        directory: &Place,
        key: Key,
        version: u32,
        goes_on: Option<usize>,
    ) -> Result<Page, Errno> {
        let behind = {
            let pages = self.directories.pages.lock();
            match pages.kept.get(&key).filter(|_| goes_on.is_some()) {
                Some(Kept::Page(page)) => return Ok(page.clone()),
                Some(Kept::End { place, version }) if goes_on == Some(*place) => {
                    return Ok(Page {
                        names: Arc::default(),
                        version: *version,
                        before: 0,
                    });
                }
                Some(Kept::End { .. }) | None => {}
            }
            match key {
                Key::First(_) => None,
                // So much was listed since that this listing must begin anew.
                Key::Number(number) => {
                    let behind = pages.behind.get(&number).cloned();
                    Some(behind.ok_or(Errno::EINVAL)?)
                }
            }
        };
        let (behind, before) = behind.unzip();
        let before = before.unwrap_or_default();
        let limit = Page::len(before);
        let names = self.tree.list(directory, behind.as_deref(), limit);
        let names = Arc::new(names.map_err(|error| logged(&error))?);
        // How old the listing is that goes on with a page read again, nobody knows.
        let version = version.wrapping_sub(u32::from(goes_on.is_some()));
        Ok(Page {
            names,
            version,
            before,
        })
    }
}
