//! Listings: readdir(3) without opendir, in pages, from an offset on.
//!
//! The kernel continues at an offset, which is a number, and the tree after a name. An offset
//! consists of a page and a position in it. Pages that somebody is reading are remembered as they
//! were, so that names that come and go meanwhile do not shift the rest. Of older pages only
//! hashes of their names are remembered, by which a page that is read again continues at the
//! right name. The first page of a directory needs no number: most directories have no other, and
//! a program that walks a tree may come back to a directory after reading hundreds of thousands
//! below it.

use std::ffi::OsStr;
use std::sync::Arc;

use fuser::Errno;

use super::access::READ;
use super::caller::Caller;
use super::coherence::Coherent;
use super::errno::logged;
use super::service::Service;
use crate::tree::{FileKind, ListingEntry, ListingName, Permissions, Place, Resolved, TreeError};

mod pages;

pub(super) use pages::OpenListings;
use pages::{DOTS, ListingPage, PageKey, PageNames, PageStart};

/// A row of a listing.
pub(super) enum ListedRow<'a> {
    /// `.` or `..`, with its inode number.
    Dots(u64, &'static str),
    /// A name with its attributes.
    Shown(&'a ListingEntry),
    /// A name with its kind and inode number only.
    Bare(&'a ListingName),
}

impl ListedRow<'_> {
    pub(super) fn name(&self) -> &OsStr {
        match self {
            Self::Dots(_, name) => name.as_ref(),
            Self::Shown(row) => &row.name,
            Self::Bare(row) => &row.name,
        }
    }

    /// Returns the inode number.
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

/// How far a page was read.
struct PageCursor {
    key: PageKey,
    /// The next name to look at.
    position: usize,
    /// The position after the last name that was delivered.
    delivered: usize,
    page: ListingPage,
    /// The directory may have changed since the page was read.
    outdated: bool,
}

impl PageCursor {
    /// Returns a cursor at a position in a page that was just read.
    fn of(key: PageKey, position: usize, page: ListingPage) -> Self {
        Self {
            key,
            position,
            delivered: position,
            page,
            outdated: false,
        }
    }
}

impl Service {
    /// Lists a directory from an offset on. `add` takes a row, the offset after it and the
    /// permissions of the directory, and returns `true` if it had no room for the row.
    pub(super) fn list(
        &self,
        caller: Caller,
        ino: u64,
        offset: u64,
        mut add: impl FnMut(u64, &ListedRow<'_>, Permissions) -> bool,
    ) -> Result<Coherent<()>, Errno> {
        let directory = self.place(ino)?;
        let permissions = self.may(caller, &directory, READ)?;
        let mut add = |next, row: &ListedRow<'_>| add(next, row, permissions);
        let version = if offset < DOTS {
            self.inodes.begin_listing(ino)
        } else {
            self.inodes.listing_version(ino)
        };
        if offset < DOTS && self.add_dots(&directory, offset, &mut add)? {
            return Ok(Coherent::unchanged(()));
        }
        let cursor = self.cursor(&directory, ino, offset, version)?;
        let Some(page) = self.add_pages(&directory, ino, cursor, &mut add)? else {
            return Ok(Coherent::unchanged(()));
        };
        // A notification of a change may have reached the kernel before it had cached this
        // listing.
        let changed = page.version != self.inodes.listing_version(ino);
        // The kernel must not show another user a listing that not every user may read.
        let private = !permissions.allow_all(READ);
        let lasts = self.tree.listings().is_listing_cacheable(&directory);
        let stale = changed || private || !lasts.map_err(|error| logged(&error))?;
        Ok(Coherent {
            value: (),
            stale: stale.then_some(ino).into_iter().collect(),
        })
    }

    /// Adds `.` and `..`. Returns `true` if there was no room.
    fn add_dots(
        &self,
        directory: &Place,
        offset: u64,
        add: &mut impl FnMut(u64, &ListedRow<'_>) -> bool,
    ) -> Result<bool, Errno> {
        let numbers = self.tree.inode_numbers(directory);
        let (own, above) = numbers.map_err(|error| logged(&error))?;
        let rows = [(0, own, "."), (1, above, "..")];
        let mut rows = rows.into_iter().filter(|(at, ..)| offset <= *at);
        Ok(rows.any(|(at, number, name)| add(at + 1, &ListedRow::Dots(number, name))))
    }

    /// Adds pages from a cursor on. Returns the last page of the directory, or `None` if there
    /// was no room for all.
    fn add_pages(
        &self,
        directory: &Place,
        ino: u64,
        mut cursor: PageCursor,
        add: &mut impl FnMut(u64, &ListedRow<'_>) -> bool,
    ) -> Result<Option<ListingPage>, Errno> {
        // The kernel continues after the last row that it got, which may be of the page before.
        let before = |last: Option<PageCursor>, delivered| last.filter(|_| delivered == 0);
        let mut last = None;
        loop {
            if self.add_page(&mut cursor, add)? {
                let mut pages = self.listings.pages.lock();
                let last = before(last, cursor.delivered);
                for one in [Some(cursor), last].into_iter().flatten() {
                    pages.suspend(one.key, one.page);
                }
                return Ok(None);
            }
            let Some(after) = cursor.page.last() else {
                cursor = before(last, cursor.delivered).unwrap_or(cursor);
                break;
            };
            let start = PageStart {
                after: Some(after.to_owned()),
                pages_before: cursor.page.start.pages_before + 1,
            };
            let mut pages = self.listings.pages.lock();
            let key = pages.number(start.clone());
            pages.deliver(cursor.key, &cursor.page);
            drop(pages);
            let page = self.read_page(directory, ino, start, cursor.page.version)?;
            last = Some(std::mem::replace(&mut cursor, PageCursor::of(key, 0, page)));
        }
        let mut pages = self.listings.pages.lock();
        pages.end(cursor.key, cursor.delivered, &cursor.page);
        Ok(Some(cursor.page))
    }

    /// Adds the rows of a page. Returns `true` if there was no room for all.
    fn add_page(
        &self,
        cursor: &mut PageCursor,
        add: &mut impl FnMut(u64, &ListedRow<'_>) -> bool,
    ) -> Result<bool, Errno> {
        while let Some(row) = cursor.page.row(cursor.position) {
            let next = cursor.key.offset(cursor.position + 1);
            let full = match row {
                ListedRow::Shown(listed) if cursor.outdated => self
                    .current(listed)?
                    .map(|listed| add(next, &ListedRow::Shown(&listed))),
                row => Some(add(next, &row)),
            };
            if full == Some(true) {
                return Ok(true);
            }
            cursor.position += 1;
            if full.is_some() {
                cursor.delivered = cursor.position;
            }
        }
        Ok(false)
    }

    /// Returns a row of an outdated page with its current attributes, which the kernel will
    /// cache, or `None` if the file is gone.
    fn current(&self, listed: &ListingEntry) -> Result<Option<ListingEntry>, Errno> {
        let found = listed.found.clone();
        let attributes = match self.tree.metadata().get(&found.place) {
            Err(TreeError::NotFound) => return Ok(None),
            attributes => attributes.map_err(|error| logged(&error))?,
        };
        Ok(Some(ListingEntry {
            name: listed.name.clone(),
            found: Resolved {
                attributes,
                ..found
            },
        }))
    }

    /// Returns the page at an offset, with the position in it: as it was, if it is remembered and
    /// the listing continues there, else read again.
    fn cursor(
        &self,
        directory: &Place,
        ino: u64,
        offset: u64,
        version: u32,
    ) -> Result<PageCursor, Errno> {
        let mut pages = self.listings.pages.lock();
        if offset <= DOTS {
            let key = pages.begin(ino);
            drop(pages);
            let page = self.read_page(directory, ino, PageStart::default(), version)?;
            return Ok(PageCursor::of(key, 0, page));
        }
        let (key, position) = PageKey::at(ino, offset);
        if let Some(page) = pages.resume(key, position) {
            let plain = matches!(directory, Place::Plain(_));
            let outdated = plain || page.read != self.inodes.listing_version(ino);
            return Ok(PageCursor {
                outdated,
                ..PageCursor::of(key, position, page)
            });
        }
        // With which version the listing began is not known any more.
        let version = version.wrapping_sub(1);
        if let Some(delivered) = pages.delivered(key) {
            let new = pages.number(delivered.start.clone());
            drop(pages);
            let page = self.read_page(directory, ino, delivered.start.clone(), version)?;
            return Ok(PageCursor::of(
                new,
                delivered.position(position, &page),
                page,
            ));
        }
        // After too many other listings this one must start again.
        let start = pages.start(key).ok_or(Errno::EINVAL)?;
        drop(pages);
        let page = self.read_page(directory, ino, start, version)?;
        Ok(PageCursor::of(key, position, page))
    }

    fn read_page(
        &self,
        directory: &Place,
        ino: u64,
        start: PageStart,
        version: u32,
    ) -> Result<ListingPage, Errno> {
        let read = self.inodes.listing_version(ino);
        let after = start.after.as_deref();
        let names = if start.has_attributes() {
            let rows = self.tree.listings().list(directory, after, start.len());
            rows.map(PageNames::Shown)
        } else {
            let rows = self
                .tree
                .listings()
                .list_names(directory, after, start.len());
            rows.map(PageNames::Bare)
        };
        Ok(ListingPage {
            names: Arc::new(names.map_err(|error| logged(&error))?),
            start,
            version,
            read,
        })
    }
}
