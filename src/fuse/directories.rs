//! Open directories: listed in pages, from a cursor.
//!
//! The kernel goes on at an offset, a number; the tree goes on behind a name. An open
//! directory remembers the page it is in, and here and there a name with its offset, so that
//! any offset can be found again without holding the whole listing.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::Arc;

use fuser::{Errno, FopenFlags};
use parking_lot::{Mutex, RwLock};

use super::files::Opened;
use super::service::{Service, logged};
use crate::tree::{Listed, Place};

/// Names read at once.
const PAGE: usize = 128;
/// The offsets of `.` and `..` come before those of names.
const DOTS: u64 = 2;

/// Directories that are open.
#[derive(Debug, Default)]
pub(super) struct Directories {
    table: RwLock<(u64, HashMap<u64, Arc<Directory>>)>,
}

/// An open directory.
#[derive(Debug)]
struct Directory {
    ino: u64,
    place: Place,
    page: Mutex<Page>,
}

/// The page that a listing is in.
#[derive(Debug, Default)]
struct Page {
    /// How many names come before the page.
    first: u64,
    names: Vec<Listed>,
    /// Of each page so far: how many names come before it, and the last of these.
    before: Vec<(u64, Option<OsString>)>,
}

impl Directories {
    fn open(&self, ino: u64, place: Place) -> u64 {
        let directory = Directory {
            ino,
            place,
            page: Mutex::default(),
        };
        let mut table = self.table.write();
        table.0 += 1;
        let number = table.0;
        table.1.insert(number, Arc::new(directory));
        number
    }

    fn get(&self, number: u64) -> Option<Arc<Directory>> {
        self.table.read().1.get(&number).cloned()
    }

    pub(super) fn close(&self, number: u64) {
        self.table.write().1.remove(&number);
    }
}

/// A row of a listing, for the kernel.
pub(super) enum Row<'a> {
    /// `.` or `..`, which get the directory's own number.
    Dots(u64, &'static str),
    /// A name.
    Name(&'a Listed),
}

impl Service {
    /// opendir(3)
    pub(super) fn open_directory(&self, ino: u64) -> Result<Opened, Errno> {
        let number = self.directories.open(ino, self.place(ino)?);
        Ok(Opened {
            number,
            flags: FopenFlags::empty(),
            backing: None,
        })
    }

    /// The number of a row in a listing without attributes. One is given at lookup only; until
    /// then any but 0 serves.
    pub(super) fn listed_number(&self, place: &Place) -> u64 {
        self.inodes.number(place).unwrap_or(u64::MAX)
    }

    /// Lists from an offset on. `add` takes a row and the offset behind it, and says whether
    /// there was no more room for it.
    pub(super) fn list(
        &self,
        handle: u64,
        offset: u64,
        mut add: impl FnMut(u64, &Row<'_>) -> bool,
    ) -> Result<(), Errno> {
        let directory = self.directories.get(handle).ok_or(Errno::EBADF)?;
        let directory = directory.as_ref();
        for (at, name) in [(0, "."), (1, "..")] {
            if offset <= at && add(at + 1, &Row::Dots(directory.ino, name)) {
                return Ok(());
            }
        }
        let mut number = offset.saturating_sub(DOTS);
        let mut page = directory.page.lock();
        if offset < DOTS {
            // The listing begins anew, and shows what is there now.
            *page = Page::default();
        }
        loop {
            self.turn(directory, &mut page, number)?;
            let skip = usize::try_from(number - page.first).unwrap_or(usize::MAX);
            let Some(rows) = page.names.get(skip..).filter(|rows| !rows.is_empty()) else {
                return Ok(());
            };
            for row in rows {
                if add(number + 1 + DOTS, &Row::Name(row)) {
                    return Ok(());
                }
                number += 1;
            }
        }
    }

    /// Turns to the page that the name of this number is on.
    fn turn(&self, directory: &Directory, page: &mut Page, number: u64) -> Result<(), Errno> {
        let within =
            |page: &Page| (page.first..page.first + page.names.len() as u64).contains(&number);
        if within(page) {
            return Ok(());
        }
        let known = page
            .before
            .iter()
            .rev()
            .find(|(first, _)| *first <= number)
            .cloned();
        let behind = page.first + page.names.len() as u64;
        let (mut first, mut last) = known.unwrap_or_default();
        if !page.names.is_empty() && behind <= number {
            first = behind;
            last = page.names.last().map(|row| row.name.clone());
        }
        loop {
            let names = self.tree.list(&directory.place, last.as_deref(), PAGE);
            let names = names.map_err(|error| logged(&error))?;
            if page.before.last().is_none_or(|(newest, _)| *newest < first) {
                page.before.push((first, last.clone()));
            }
            (page.first, page.names) = (first, names);
            if page.names.is_empty() {
                page.first = number;
                return Ok(());
            }
            if within(page) {
                return Ok(());
            }
            first += page.names.len() as u64;
            last = page.names.last().map(|row| row.name.clone());
        }
    }
}
