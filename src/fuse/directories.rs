//! Listings: directories are not opened; they are listed in pages, from a cursor.
//!
//! The kernel goes on at an offset, a number; the tree goes on behind a name. An offset is a
//! page and a place in it. Pages that are being read are kept as they were, so that what comes
//! or goes meanwhile moves nothing; of older ones marks of their names are, by which they go on
//! where they were when they are read again. The first page of a directory has no number of its own: most have no other, and
//! programs that walk trees go on with a directory after hundreds of thousands below it.

use std::ffi::OsStr;
use std::sync::Arc;

use fuser::Errno;
use parking_lot::Mutex;

use super::access::{Caller, READ};
use super::coherence::Coherent;
use super::service::{Service, logged};
use crate::tree::{FileKind, Found, Listed, Named, Permissions, Place, TreeError};

mod pages;

use pages::{DOTS, Key, Names, Page, Pages, Start};

/// Pages that are being read.
#[derive(Debug, Default)]
pub(super) struct Directories {
    pages: Mutex<Pages>,
}

impl Directories {
    /// Listings that are being read go on with what is there now: places are not where they were.
    pub(super) fn forget_pages(&self) {
        self.pages.lock().forget();
    }
}

/// A row of a listing, for the kernel.
pub(super) enum ListedRow<'a> {
    /// `.` or `..`, by its number.
    Dots(u64, &'static str),
    /// A name, with its attributes.
    Shown(&'a Listed),
    /// A name alone.
    Bare(&'a Named),
}

impl ListedRow<'_> {
    pub(super) fn name(&self) -> &OsStr {
        match self {
            Self::Dots(_, name) => name.as_ref(),
            Self::Shown(row) => &row.name,
            Self::Bare(row) => &row.name,
        }
    }

    /// The inode number.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Dots(number, _) => *number,
            Self::Shown(row) => row.found.attributes.number,
            Self::Bare(row) => row.number,
        }
    }

    pub(super) fn kind(&self) -> FileKind {
        match self {
            Self::Dots(..) => FileKind::Directory,
            Self::Shown(row) => row.found.attributes.kind,
            Self::Bare(row) => row.kind,
        }
    }
}

impl Service {
    /// Lists from an offset on. `add` takes a row, the offset behind it and the permissions of
    /// the directory, and says whether there was no more room for it. Gives the inodes that the
    /// kernel must be told of.
    pub(super) fn list(
        &self,
        caller: Caller,
        ino: u64,
        offset: u64,
        mut add: impl FnMut(u64, &ListedRow<'_>, Permissions) -> bool,
    ) -> Result<Coherent<()>, Errno> {
        let directory = self.place(ino)?;
        let permissions = self.may(caller, &directory, READ)?;
        let mut add = |behind, row: &ListedRow<'_>| add(behind, row, permissions);
        let version = if offset < DOTS {
            self.inodes.list(ino)
        } else {
            self.inodes.listed(ino)
        };
        if offset < DOTS {
            let numbers = self.tree.numbers(&directory);
            let (own, above) = numbers.map_err(|error| logged(&error))?;
            for (at, number, name) in [(0, own, "."), (1, above, "..")] {
                if offset <= at && add(at + 1, &ListedRow::Dots(number, name)) {
                    return Ok(Coherent::unchanged(()));
                }
            }
        }
        let mut reading = self.go_on(&directory, ino, offset, version)?;
        let mut last = None;
        loop {
            // The kernel goes on behind the last row, which may be of the page before.
            let before = |last: Option<Reading>, given| last.filter(|_| given == 0);
            if self.give(&mut reading, &mut add)? {
                let mut pages = self.directories.pages.lock();
                let last = before(last, reading.given);
                for one in [Some(reading), last].into_iter().flatten() {
                    pages.cut(one.key, one.page);
                }
                return Ok(Coherent::unchanged(()));
            }
            let Some(behind) = reading.page.last() else {
                reading = before(last, reading.given).unwrap_or(reading);
                break;
            };
            let start = Start {
                behind: Some(behind.to_owned()),
                before: reading.page.start.before + 1,
            };
            let key = self.directories.pages.lock().number(start.clone());
            self.directories
                .pages
                .lock()
                .give(reading.key, &reading.page);
            let page = self.read_page(&directory, ino, start, reading.page.version)?;
            last = Some(std::mem::replace(&mut reading, Reading::of(key, 0, page)));
        }
        let mut pages = self.directories.pages.lock();
        pages.end(reading.key, reading.given, &reading.page);
        drop(pages);
        // What changed while it was listed the kernel may have been told of before it had put
        // the listing away.
        let stale = reading.page.version != self.inodes.listed(ino);
        // What not everybody may read the kernel must not give to whoever asks next.
        let stale = stale || !permissions.allow_all(READ);
        let lasts = self.tree.listing_lasts(&directory);
        let stale = stale || !lasts.map_err(|error| logged(&error))?;
        Ok(Coherent {
            value: (),
            stale: stale.then_some(ino).into_iter().collect(),
        })
    }

    /// Gives the rows of a page; whether there was no more room.
    fn give(
        &self,
        reading: &mut Reading,
        add: &mut impl FnMut(u64, &ListedRow<'_>) -> bool,
    ) -> Result<bool, Errno> {
        while let Some(row) = reading.page.row(reading.place) {
            let offset = reading.key.offset(reading.place + 1);
            let full = match row {
                ListedRow::Shown(listed) if reading.aged => self
                    .again(listed)?
                    .map(|listed| add(offset, &ListedRow::Shown(&listed))),
                row => Some(add(offset, &row)),
            };
            if full == Some(true) {
                return Ok(true);
            }
            reading.place += 1;
            if full.is_some() {
                reading.given = reading.place;
            }
        }
        Ok(false)
    }

    /// A row that was read before something changed, as it is now; nothing if it is gone. The
    /// kernel would remember what it is told.
    fn again(&self, listed: &Listed) -> Result<Option<Listed>, Errno> {
        let found = listed.found.clone();
        let attributes = match self.tree.attributes(&found.place) {
            Err(TreeError::NotFound) => return Ok(None),
            attributes => attributes.map_err(|error| logged(&error))?,
        };
        Ok(Some(Listed {
            name: listed.name.clone(),
            found: Found {
                attributes,
                ..found
            },
        }))
    }

    /// The page at an offset and the place in it: as it was, if the listing goes on there and it
    /// is kept, else as it is.
    fn go_on(
        &self,
        directory: &Place,
        ino: u64,
        offset: u64,
        version: u32,
    ) -> Result<Reading, Errno> {
        let mut pages = self.directories.pages.lock();
        if offset <= DOTS {
            let key = pages.begin(ino);
            drop(pages);
            let page = self.read_page(directory, ino, Start::default(), version)?;
            return Ok(Reading::of(key, 0, page));
        }
        let (key, place) = Key::at(ino, offset);
        if let Some(page) = pages.going_on(key, place) {
            let plain = matches!(directory, Place::Plain(_));
            let aged = plain || page.read != self.inodes.listed(ino);
            return Ok(Reading {
                aged,
                ..Reading::of(key, place, page)
            });
        }
        // How old the listing is that goes on with a page read again, nobody knows.
        let version = version.wrapping_sub(1);
        if let Some(given) = pages.given(key) {
            let new = pages.number(given.start.clone());
            drop(pages);
            let page = self.read_page(directory, ino, given.start.clone(), version)?;
            return Ok(Reading::of(new, given.place(place, &page), page));
        }
        // So much was listed since that this listing must begin anew.
        let start = pages.start(key).ok_or(Errno::EINVAL)?;
        drop(pages);
        let page = self.read_page(directory, ino, start, version)?;
        Ok(Reading::of(key, place, page))
    }

    fn read_page(
        &self,
        directory: &Place,
        ino: u64,
        start: Start,
        version: u32,
    ) -> Result<Page, Errno> {
        let read = self.inodes.listed(ino);
        let behind = start.behind.as_deref();
        let names = if start.is_shown() {
            let rows = self.tree.list(directory, behind, start.len());
            rows.map(Names::Shown)
        } else {
            let rows = self.tree.names(directory, behind, start.len());
            rows.map(Names::Bare)
        };
        Ok(Page {
            names: Arc::new(names.map_err(|error| logged(&error))?),
            start,
            version,
            read,
        })
    }
}

/// How far a page was read.
struct Reading {
    key: Key,
    /// How many of its names were seen, and up to which they were given out.
    place: usize,
    given: usize,
    page: Page,
    /// Whether something may have changed since it was read.
    aged: bool,
}

impl Reading {
    /// A page that was just read, from a place in it on.
    fn of(key: Key, place: usize, page: Page) -> Self {
        Self {
            key,
            place,
            given: place,
            page,
            aged: false,
        }
    }
}
