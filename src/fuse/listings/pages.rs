//! Pages: what is remembered of listings that are being read, so that each continues where it
//! was.
//!
//! It reads no directories itself.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::hash::Hash;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use hashbrown::HashMap;

use super::ListedRow;
use crate::tree::{ListingEntry, ListingName};

/// Names read at once, with attributes and without.
const NAMES_SHOWN: usize = 128;
const NAMES_BARE: usize = 512;
/// Bits of an offset that are a position in a page.
const POSITION_BITS: u32 = 10;
/// Pages of a directory whose names come with attributes. A program that lists more names than
/// that wants the names, and the kernel must not cache a million inodes that nobody looks at.
const PAGES_SHOWN: usize = 8;
/// The offset after `.` and `..`, where names begin.
pub(super) const DOTS: u64 = 2;
/// Limits of what is remembered: pages as they were, pages of which the delivered names are
/// known, and pages of which the name before them is. The last are of directories with 33 million
/// names in all.
const PAGES_MAX: usize = 64;
const DELIVERED_MAX: usize = 1 << 13;
const STARTS_MAX: usize = 1 << 16;
/// Up to so many names fit into the smallest buffer that a program uses.
const FEW_NAMES: usize = 8;

/// Identifies a page: the first of an inode, or any by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PageKey {
    First(u64),
    Number(u64),
}

impl PageKey {
    /// Returns the offset of a position in the page.
    pub(super) fn offset(self, position: usize) -> u64 {
        match self {
            Self::First(_) => DOTS + position as u64,
            Self::Number(number) => number << POSITION_BITS | position as u64,
        }
    }

    /// Returns the page at an offset, and the position in it.
    pub(super) fn at(ino: u64, offset: u64) -> (Self, usize) {
        let position = |number| usize::try_from(number).unwrap_or(usize::MAX);
        match offset >> POSITION_BITS {
            0 => (Self::First(ino), position(offset.saturating_sub(DOTS))),
            number => (
                Self::Number(number),
                position(offset & ((1 << POSITION_BITS) - 1)),
            ),
        }
    }
}

/// Where a page begins.
#[derive(Clone, Debug, Default)]
pub(super) struct PageStart {
    /// The name before it, if there is one.
    pub(super) after: Option<OsString>,
    /// The number of pages before it.
    pub(super) pages_before: usize,
}

impl PageStart {
    /// Returns the number of names to read.
    pub(super) fn len(&self) -> usize {
        if self.has_attributes() {
            NAMES_SHOWN
        } else {
            NAMES_BARE
        }
    }

    /// Returns `true` if the names come with their attributes.
    pub(super) fn has_attributes(&self) -> bool {
        self.pages_before < PAGES_SHOWN
    }
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub(super) struct ListingPage {
    pub(super) names: Arc<PageNames>,
    pub(super) start: PageStart,
    /// The version of the listing when its reader began.
    pub(super) version: u32,
    /// The version when these names were read.
    pub(super) read: u32,
}

impl ListingPage {
    /// Returns the row at a position.
    pub(super) fn row(&self, position: usize) -> Option<ListedRow<'_>> {
        self.names.get(position)
    }

    /// Returns the last name, if others may follow it.
    pub(super) fn last(&self) -> Option<&OsStr> {
        let full = self.names.len() == self.start.len();
        self.names.last().filter(|_| full)
    }
}

/// The names of a page.
#[derive(Debug)]
pub(super) enum PageNames {
    /// With their attributes.
    Shown(Vec<ListingEntry>),
    /// With kind and number only.
    Bare(Vec<ListingName>),
}

impl PageNames {
    fn len(&self) -> usize {
        match self {
            Self::Shown(rows) => rows.len(),
            Self::Bare(rows) => rows.len(),
        }
    }

    fn last(&self) -> Option<&OsStr> {
        match self {
            Self::Shown(rows) => rows.last().map(|row| &*row.name),
            Self::Bare(rows) => rows.last().map(|row| &*row.name),
        }
    }

    fn get(&self, at: usize) -> Option<ListedRow<'_>> {
        match self {
            Self::Shown(rows) => rows.get(at).map(ListedRow::Shown),
            Self::Bare(rows) => rows.get(at).map(ListedRow::Bare),
        }
    }

    fn hashes(&self) -> Box<[u32]> {
        match self {
            Self::Shown(rows) => rows.iter().map(|row| hash(&row.name)).collect(),
            Self::Bare(rows) => rows.iter().map(|row| hash(&row.name)).collect(),
        }
    }
}

fn hash(name: &OsStr) -> u32 {
    crc32c::crc32c(name.as_bytes())
}

/// The names that were delivered from a page.
#[derive(Clone, Debug)]
pub(super) struct DeliveredNames {
    pub(super) start: PageStart,
    hashes: Arc<[u32]>,
}

impl DeliveredNames {
    /// Returns the position in `page`, which was read again, after the names that were delivered
    /// up to a position in this one, as far as they still exist.
    pub(super) fn position(&self, position: usize, page: &ListingPage) -> usize {
        let before = self.hashes.get(..position).unwrap_or(&self.hashes);
        let now = page.names.hashes();
        let still = before.iter().rev();
        let mut still = still.filter_map(|one| now.iter().position(|other| one == other));
        still.next().map_or(0, |last| last + 1)
    }
}

/// What is remembered of a page that is being read.
#[derive(Debug)]
enum PageState {
    /// A reader has begun with it.
    Begun,
    /// A reader will continue in it.
    Suspended(ListingPage),
    /// All of it was delivered, up to this position, and it is the last page.
    Ended { position: usize, version: u32 },
}

/// A map that forgets its oldest entries.
#[derive(Debug)]
struct RecentMap<K, V> {
    rows: HashMap<K, V>,
    /// The oldest first.
    order: VecDeque<K>,
    max: usize,
}

impl<K: Copy + Eq + Hash, V> RecentMap<K, V> {
    fn new(max: usize) -> Self {
        Self {
            rows: HashMap::new(),
            order: VecDeque::new(),
            max,
        }
    }

    fn insert(&mut self, key: K, value: V) {
        if self.rows.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > self.max
            && let Some(old) = self.order.pop_front()
        {
            self.rows.remove(&old);
        }
    }
}

/// The pages that are being read.
#[derive(Debug)]
pub(super) struct ListingPages {
    pages: RecentMap<PageKey, PageState>,
    /// For a page that is forgotten when the kernel comes back to it: it has passed on some of
    /// what it had cached and lost the rest. Names may be gone by then, so that a position in the
    /// page read again can be that of another name.
    delivered: RecentMap<PageKey, DeliveredNames>,
    /// Where pages begin, by number.
    starts: RecentMap<u64, PageStart>,
    last_number: u64,
}

impl Default for ListingPages {
    fn default() -> Self {
        Self {
            pages: RecentMap::new(PAGES_MAX),
            delivered: RecentMap::new(DELIVERED_MAX),
            starts: RecentMap::new(STARTS_MAX),
            last_number: 0,
        }
    }
}

impl ListingPages {
    /// Forgets all pages as they were.
    pub(super) fn forget(&mut self) {
        self.pages = RecentMap::new(PAGES_MAX);
    }

    /// Returns the key of a listing that begins: that of the inode's first page, unless somebody
    /// is reading it.
    pub(super) fn begin(&mut self, ino: u64) -> PageKey {
        let first = PageKey::First(ino);
        match self.pages.rows.get(&first) {
            Some(PageState::Begun | PageState::Suspended(_)) => self.number(PageStart::default()),
            Some(PageState::Ended { .. }) | None => {
                self.pages.insert(first, PageState::Begun);
                first
            }
        }
    }

    /// Numbers a page.
    pub(super) fn number(&mut self, start: PageStart) -> PageKey {
        self.last_number += 1;
        self.starts.insert(self.last_number, start);
        PageKey::Number(self.last_number)
    }

    /// Returns the page in which a listing continues at a position, as it was then.
    pub(super) fn resume(&self, key: PageKey, position: usize) -> Option<ListingPage> {
        match self.pages.rows.get(&key)? {
            PageState::Suspended(page) => Some(page.clone()),
            PageState::Ended {
                position: end,
                version,
            } if *end == position => Some(ListingPage {
                names: Arc::new(PageNames::Bare(Vec::new())),
                start: PageStart::default(),
                version: *version,
                read: *version,
            }),
            PageState::Begun | PageState::Ended { .. } => None,
        }
    }

    /// Returns the names that were delivered from a page that is forgotten.
    pub(super) fn delivered(&self, key: PageKey) -> Option<DeliveredNames> {
        self.delivered.rows.get(&key).cloned()
    }

    /// Returns where a page begins, or `None` if that is forgotten as well.
    pub(super) fn start(&self, key: PageKey) -> Option<PageStart> {
        match key {
            PageKey::First(_) => Some(PageStart::default()),
            PageKey::Number(number) => self.starts.rows.get(&number).cloned(),
        }
    }

    /// Remembers a page in which a reply ended.
    pub(super) fn suspend(&mut self, key: PageKey, page: ListingPage) {
        self.deliver(key, &page);
        self.pages.insert(key, PageState::Suspended(page));
    }

    /// Remembers that a reply ended at a position of the last page.
    pub(super) fn end(&mut self, key: PageKey, position: usize, page: &ListingPage) {
        self.deliver(key, page);
        let version = page.version;
        let ended = PageState::Ended { position, version };
        self.pages.insert(key, ended);
    }

    /// Remembers the names of a page that is delivered: once, by however many replies.
    pub(super) fn deliver(&mut self, key: PageKey, page: &ListingPage) {
        let known = match self.pages.rows.get(&key) {
            Some(PageState::Suspended(known)) => Arc::ptr_eq(&known.names, &page.names),
            Some(PageState::Begun | PageState::Ended { .. }) | None => false,
        };
        if !known && page.names.len() > FEW_NAMES {
            let delivered = DeliveredNames {
                start: page.start.clone(),
                hashes: page.names.hashes().into(),
            };
            self.delivered.insert(key, delivered);
        }
    }
}

/// The listings that are being read.
#[derive(Debug, Default)]
pub(in crate::fuse) struct OpenListings {
    pub(super) pages: Mutex<ListingPages>,
}

impl OpenListings {
    /// Forgets all pages, so that listings continue with the current names: places have moved.
    pub(in crate::fuse) fn forget_pages(&self) {
        self.pages.lock().forget();
    }
}
