//! Pages: what is remembered of listings that somebody is reading, so that each goes on where
//! it was.
//!
//! It reads nothing itself.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::hash::Hash;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use hashbrown::HashMap;

use super::ListedRow;
use crate::tree::{Listed, Named};

/// Names read at once, with attributes and alone.
const PAGE: usize = 128;
const PAGE_BARE: usize = 512;
/// Bits of an offset that are a place in a page.
const PLACE_BITS: u32 = 10;
/// Pages of a directory whose names come with attributes. Who lists more names than that wants
/// the names; the kernel shall not remember a million files that nobody looked at.
const SHOWN: usize = 8;
/// The offset behind `.` and `..`, where names begin.
pub(super) const DOTS: u64 = 2;
/// Pages kept as they were, pages of which is known what was given out, and pages of which the
/// name before them is: of directories with 33 million names in all.
const KEPT: usize = 64;
const GIVEN: usize = 1 << 13;
const KNOWN: usize = 1 << 16;
/// Names of which any program takes all at once.
const FEW: usize = 8;

/// Which page: the first of an inode, or one by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    First(u64),
    Number(u64),
}

impl Key {
    /// The offset behind so many names of the page.
    pub(super) fn offset(self, place: usize) -> u64 {
        match self {
            Self::First(_) => DOTS + place as u64,
            Self::Number(number) => number << PLACE_BITS | place as u64,
        }
    }

    /// The page at an offset, and the place in it.
    pub(super) fn at(ino: u64, offset: u64) -> (Self, usize) {
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

/// Where a page begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    /// The name before it, if there is one.
    pub(super) behind: Option<OsString>,
    /// How many pages are before it.
    pub(super) before: usize,
}

impl Start {
    /// How many names are to be read.
    pub(super) fn len(&self) -> usize {
        if self.is_shown() { PAGE } else { PAGE_BARE }
    }

    /// Whether they come with their attributes.
    pub(super) fn is_shown(&self) -> bool {
        self.before < SHOWN
    }
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) names: Arc<Names>,
    pub(super) start: Start,
    /// Which version of the listing its reader began with.
    pub(super) version: u32,
    /// Which version these names are of.
    pub(super) read: u32,
}

impl Page {
    /// The row at a place.
    pub(super) fn row(&self, place: usize) -> Option<ListedRow<'_>> {
        self.names.get(place)
    }

    /// The last name, if others may be behind it.
    pub(super) fn last(&self) -> Option<&OsStr> {
        let full = self.names.len() == self.start.len();
        self.names.last().filter(|_| full)
    }
}

/// The names of a page.
#[derive(Debug)]
pub(super) enum Names {
    /// With their attributes.
    Shown(Vec<Listed>),
    /// Alone.
    Bare(Vec<Named>),
}

impl Names {
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

    /// A mark of each, by which it is known again.
    fn marks(&self) -> Box<[u32]> {
        match self {
            Self::Shown(rows) => rows.iter().map(|row| mark(&row.name)).collect(),
            Self::Bare(rows) => rows.iter().map(|row| mark(&row.name)).collect(),
        }
    }
}

fn mark(name: &OsStr) -> u32 {
    crc32c::crc32c(name.as_bytes())
}

/// What was given out of a page.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) start: Start,
    marks: Arc<[u32]>,
}

impl Given {
    /// The place in a page read again behind the names that were up to a place in this one, as
    /// far as they are still there.
    pub(super) fn place(&self, place: usize, page: &Page) -> usize {
        let before = self.marks.get(..place).unwrap_or(&self.marks);
        let now = page.names.marks();
        let still = before.iter().rev();
        let mut still = still.filter_map(|one| now.iter().position(|other| one == other));
        still.next().map_or(0, |last| last + 1)
    }
}

/// What is kept of a page.
#[derive(Debug)]
enum Kept {
    /// Somebody has begun with it.
    Begun,
    /// All of it.
    Page(Page),
    /// All of it was given out, up to this place, and nothing is behind it.
    End { place: usize, version: u32 },
}

/// The newest of something, by what it is known by.
#[derive(Debug)]
struct Newest<K, V> {
    rows: HashMap<K, V>,
    /// The oldest first.
    order: VecDeque<K>,
    most: usize,
}

impl<K: Copy + Eq + Hash, V> Newest<K, V> {
    fn new(most: usize) -> Self {
        Self {
            rows: HashMap::new(),
            order: VecDeque::new(),
            most,
        }
    }

    fn insert(&mut self, key: K, value: V) {
        if self.rows.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > self.most
            && let Some(old) = self.order.pop_front()
        {
            self.rows.remove(&old);
        }
    }
}

/// Pages that are being read.
#[derive(Debug)]
pub(super) struct Pages {
    kept: Newest<Key, Kept>,
    /// For when a page is not kept any more, and the kernel, which has given out some of what it
    /// kept, has lost the rest: what was before may be gone by then, so that counting leads
    /// elsewhere.
    given: Newest<Key, Given>,
    /// Where pages begin, by number.
    starts: Newest<u64, Start>,
    last: u64,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            kept: Newest::new(KEPT),
            given: Newest::new(GIVEN),
            starts: Newest::new(KNOWN),
            last: 0,
        }
    }
}

impl Pages {
    /// Keeps no page as it was.
    pub(super) fn forget(&mut self) {
        self.kept = Newest::new(KEPT);
    }

    /// The key of a listing that begins: the first page's own, unless somebody is reading that.
    pub(super) fn begin(&mut self, ino: u64) -> Key {
        let first = Key::First(ino);
        match self.kept.rows.get(&first) {
            Some(Kept::Begun | Kept::Page(_)) => self.number(Start::default()),
            Some(Kept::End { .. }) | None => {
                self.kept.insert(first, Kept::Begun);
                first
            }
        }
    }

    /// A number for a page.
    pub(super) fn number(&mut self, start: Start) -> Key {
        self.last += 1;
        self.starts.insert(self.last, start);
        Key::Number(self.last)
    }

    /// The page that a listing goes on with at a place in it, as it was then.
    pub(super) fn going_on(&self, key: Key, place: usize) -> Option<Page> {
        match self.kept.rows.get(&key)? {
            Kept::Page(page) => Some(page.clone()),
            Kept::End {
                place: end,
                version,
            } if *end == place => Some(Page {
                names: Arc::new(Names::Bare(Vec::new())),
                start: Start::default(),
                version: *version,
                read: *version,
            }),
            Kept::Begun | Kept::End { .. } => None,
        }
    }

    /// What was given out of a page that is not kept any more.
    pub(super) fn given(&self, key: Key) -> Option<Given> {
        self.given.rows.get(&key).cloned()
    }

    /// Where a page begins; nothing if so much was listed since that nobody knows.
    pub(super) fn start(&self, key: Key) -> Option<Start> {
        match key {
            Key::First(_) => Some(Start::default()),
            Key::Number(number) => self.starts.rows.get(&number).cloned(),
        }
    }

    /// A reply ended in a page, which is kept as it is for a while.
    pub(super) fn cut(&mut self, key: Key, page: Page) {
        self.give(key, &page);
        self.kept.insert(key, Kept::Page(page));
    }

    /// A reply ended behind so many names of a page, and nothing is behind them.
    pub(super) fn end(&mut self, key: Key, place: usize, page: &Page) {
        self.give(key, page);
        let version = page.version;
        self.kept.insert(key, Kept::End { place, version });
    }

    /// Remembers the names of a page that is given out: once, however many replies that takes.
    pub(super) fn give(&mut self, key: Key, page: &Page) {
        let known = match self.kept.rows.get(&key) {
            Some(Kept::Page(kept)) => Arc::ptr_eq(&kept.names, &page.names),
            Some(Kept::Begun | Kept::End { .. }) | None => false,
        };
        if !known && page.names.len() > FEW {
            let given = Given {
                start: page.start.clone(),
                marks: page.names.marks().into(),
            };
            self.given.insert(key, given);
        }
    }
}
