//! Listings: directories are not opened; they are listed in pages, from a cursor.
//!
//! The kernel goes on at an offset, a number; the tree goes on behind a name. An offset is a
//! page and a place in it. Pages that are being read are kept as they were, so that what comes
//! or goes meanwhile moves nothing; of older ones just the name before them is, behind which
//! they are read again.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use fuser::Errno;
use parking_lot::Mutex;

use super::service::{Service, logged};
use crate::tree::{Listed, Place};

/// Names read at once.
const PAGE: usize = 128;
/// Bits of an offset that are a place in a page.
const PLACE_BITS: u32 = 8;
/// The offset behind `.` and `..`, where names begin.
const DOTS: u64 = 2;
/// Pages kept as they were, and pages of which the name before them is known.
const KEPT: usize = 64;
const KNOWN: usize = 1 << 16;

/// Pages that are being read.
#[derive(Debug, Default)]
pub(super) struct Directories {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    known: HashMap<u64, Page>,
    /// The oldest first.
    order: VecDeque<u64>,
    /// Those that are kept as they were, the oldest first.
    kept: VecDeque<u64>,
    last: u64,
}

/// A page of a listing.
#[derive(Clone, Debug)]
struct Page {
    /// The name before it.
    behind: Option<OsString>,
    /// Its names; nothing if they must be read again.
    names: Option<Arc<Vec<Listed>>>,
    /// Which version of the listing it belongs to.
    version: u32,
}

impl Directories {
    fn get(&self, number: u64) -> Option<Page> {
        self.pages.lock().known.get(&number).cloned()
    }

    /// Keeps a page, as it is; its number.
    fn keep(&self, page: Page) -> u64 {
        let mut pages = self.pages.lock();
        pages.last += 1;
        let number = pages.last;
        pages.known.insert(number, page);
        pages.order.push_back(number);
        pages.kept.push_back(number);
        if pages.kept.len() > KEPT
            && let Some(old) = pages.kept.pop_front()
            && let Some(page) = pages.known.get_mut(&old)
        {
            page.names = None;
        }
        if pages.order.len() > KNOWN
            && let Some(old) = pages.order.pop_front()
        {
            pages.known.remove(&old);
        }
        number
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
    /// The number of a row in a listing without attributes. One is given at lookup only; until
    /// then any but 0 serves.
    pub(super) fn listed_number(&self, place: &Place) -> u64 {
        self.inodes.number(place).unwrap_or(u64::MAX)
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
        let (mut number, mut page, mut place) = if offset <= DOTS {
            let (number, page) = self.page(&directory, None, version)?;
            (number, page, 0)
        } else {
            let number = offset >> PLACE_BITS;
            let mask = (1 << PLACE_BITS) - 1;
            let place = usize::try_from(offset & mask).unwrap_or(usize::MAX);
            // So many other listings have begun since that this one must begin anew.
            let page = self.directories.get(number).ok_or(Errno::EINVAL)?;
            (number, page, place)
        };
        loop {
            let names = match &page.names {
                Some(names) => Arc::clone(names),
                None => self.read_page(&directory, page.behind.as_deref())?,
            };
            for row in names.get(place..).unwrap_or_default() {
                place += 1;
                let next = number << PLACE_BITS | place as u64;
                if add(next, &Row::Name(row)) {
                    return Ok(Vec::new());
                }
            }
            let Some(last) = names.last().filter(|_| names.len() == PAGE) else {
                break;
            };
            let last = Some(last.name.clone());
            (number, page) = self.page(&directory, last, page.version)?;
            place = 0;
        }
        // What changed while it was listed the kernel may have been told of before it had put
        // the listing away.
        let stale = page.version != self.inodes.listed(ino);
        Ok(stale.then_some(ino).into_iter().collect())
    }

    /// The page behind a name, and its number.
    fn page(
        &self,
        directory: &Place,
        behind: Option<OsString>,
        version: u32,
    ) -> Result<(u64, Page), Errno> {
        let names = self.read_page(directory, behind.as_deref())?;
        let page = Page {
            behind,
            names: Some(names),
            version,
        };
        Ok((self.directories.keep(page.clone()), page))
    }

    fn read_page(
        &self,
        directory: &Place,
        behind: Option<&OsStr>,
    ) -> Result<Arc<Vec<Listed>>, Errno> {
        let names = self.tree.list(directory, behind, PAGE);
        Ok(Arc::new(names.map_err(|error| logged(&error))?))
    }
}
