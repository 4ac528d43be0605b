//! The census: what is known of every digest, by its number, in a few bytes each.

use std::collections::HashMap;

use hashbrown::HashMap as FastMap;

use super::{Algorithm, Blob, Digest, DigestId, Namespace, RepositoryId};

/// What is known of a digest.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CensusEntry {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its first bytes.
    pub prefix: u64,
    /// Whether its bytes are there, as the facts say.
    pub present: bool,
    /// Whether they are in the index.
    pub inline: bool,
    /// Whether it is known as a manifest.
    pub manifest: bool,
    /// Whether any link, tag or manifest names it.
    pub used: bool,
}

const PRESENT: u8 = 1 << 2;
const INLINE: u8 = 1 << 3;
const MANIFEST: u8 = 1 << 4;
const USED: u8 = 1 << 5;
const CONFIRMED: u8 = 1 << 6;
const BYTES: u8 = 1 << 7;
/// Bits of the algorithm; 0 where no digest has the number.
const ALGORITHM: u8 = 3;

/// What is known of every digest, and every repository.
#[derive(Debug, Default)]
pub struct Census {
    /// By the number divided by [`ROWS`]. A row that is damaged costs a page, whatever number it
    /// says.
    pages: FastMap<u32, Box<CensusPage>>,
    /// Every repository and directory on the way to one, by its number.
    pub repositories: HashMap<RepositoryId, Namespace>,
}

/// Digests whose numbers follow each other.
#[derive(Debug)]
struct CensusPage {
    prefixes: [u64; ROWS as usize],
    flags: [u8; ROWS as usize],
}

/// Digests of a page.
const ROWS: u32 = 1 << 10;

/// Where a number is in its page.
fn place(id: DigestId) -> usize {
    (id.0 % ROWS) as usize
}

fn prefix(digest: &Digest) -> u64 {
    let first = digest.as_bytes().first_chunk().copied();
    u64::from_be_bytes(first.unwrap_or_default())
}

impl Census {
    /// Takes note of a digest; whether no other has its number.
    pub(super) fn insert(&mut self, digest: &Digest, blob: &Blob) -> bool {
        let page = self.pages.entry(blob.id.0 / ROWS).or_insert_with(|| {
            Box::new(CensusPage {
                prefixes: [0; ROWS as usize],
                flags: [0; ROWS as usize],
            })
        });
        let place = place(blob.id);
        let (Some(flags), Some(first)) = (page.flags.get_mut(place), page.prefixes.get_mut(place))
        else {
            return false;
        };
        if *flags != 0 {
            return false;
        }
        *flags = crate::index::key::algorithm_byte(digest.algorithm());
        *flags |= if blob.present { PRESENT } else { 0 };
        *flags |= if blob.inline { INLINE } else { 0 };
        *first = prefix(digest);
        true
    }

    /// Takes note of a number's digest; whether it is the one that has this number.
    pub(super) fn confirm(&mut self, id: DigestId, digest: &Digest) -> bool {
        let known = self.get(id);
        let same = known.is_some_and(|known| {
            (known.algorithm, known.prefix) == (digest.algorithm(), prefix(digest))
        });
        if same {
            self.set(id, CONFIRMED);
        }
        same
    }

    fn set(&mut self, id: DigestId, flag: u8) {
        let page = self.pages.get_mut(&(id.0 / ROWS));
        if let Some(flags) = page.and_then(|page| page.flags.get_mut(place(id))) {
            *flags |= flag;
        }
    }

    pub(super) fn mark_manifest(&mut self, id: DigestId) {
        self.set(id, MANIFEST);
    }

    pub(super) fn mark_used(&mut self, id: DigestId) {
        self.set(id, USED);
    }

    pub(super) fn mark_bytes(&mut self, id: DigestId) {
        self.set(id, BYTES);
    }

    /// What is known of a number's digest.
    pub fn get(&self, id: DigestId) -> Option<CensusEntry> {
        let page = self.pages.get(&(id.0 / ROWS))?;
        let flags = *page.flags.get(place(id))?;
        let algorithm = crate::index::key::algorithm_of(flags & ALGORITHM)?;
        Some(CensusEntry {
            algorithm,
            prefix: *page.prefixes.get(place(id))?,
            present: flags & PRESENT != 0,
            inline: flags & INLINE != 0,
            manifest: flags & MANIFEST != 0,
            used: flags & USED != 0,
        })
    }

    fn having(&self, wanted: u8, of: u8) -> impl Iterator<Item = DigestId> {
        let mut pages: Vec<_> = self.pages.iter().collect();
        pages.sort_unstable_by_key(|(number, _)| **number);
        let rows = pages.into_iter().flat_map(|(number, page)| {
            let first = number * ROWS;
            (first..=first + (ROWS - 1)).zip(&page.flags)
        });
        let found =
            rows.filter(move |(_, flags)| **flags & ALGORITHM != 0 && **flags & of == wanted);
        found.map(|(number, _)| DigestId(number))
    }

    /// Digests to which their number does not lead.
    pub(super) fn unconfirmed(&self) -> Vec<DigestId> {
        self.having(0, CONFIRMED).collect()
    }

    /// Digests whose bytes should be in the index and are not.
    pub fn without_bytes(&self) -> Vec<DigestId> {
        self.having(INLINE, INLINE | BYTES).collect()
    }

    /// Digests whose bytes are in the index.
    pub fn with_bytes(&self) -> impl Iterator<Item = DigestId> {
        self.having(INLINE | BYTES, INLINE | BYTES)
    }

    /// Blobs that nothing names.
    pub fn unused(&self) -> impl Iterator<Item = DigestId> {
        self.having(PRESENT, PRESENT | USED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_a_damaged_row_says_takes_no_room_for_those_below_it() {
        let mut census = Census::default();
        let mut ids: Vec<u32> = (0..32).map(|bit| u32::MAX >> bit).collect();
        ids.sort_unstable();
        for (number, id) in ids.iter().enumerate() {
            let digest = Digest::of(Algorithm::Sha256, &number.to_be_bytes());
            let blob = Blob {
                id: DigestId(*id),
                present: true,
                has_directory: false,
                inline: false,
                damaged: false,
                size: 1,
                created: 1,
            };
            assert!(census.insert(&digest, &blob));
            assert!(!census.insert(&digest, &blob), "the number is taken");
        }
        assert!(census.pages.len() <= ids.len());
        let unused: Vec<u32> = census.unused().map(|id| id.0).collect();
        assert_eq!(unused, ids);
        assert!(census.get(DigestId(12_345_678)).is_none());
    }
}
