//! The census: a few bytes about every digest, by id.

use std::collections::HashMap;

use hashbrown::HashMap as FastMap;

use crate::digest::{Algorithm, Digest};
use crate::index::id::{DigestId, RepositoryId};
use crate::index::key::{algorithm_byte, algorithm_of};
use crate::index::record::Blob;
use crate::name::Namespace;

/// What the index knows about a digest.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CensusEntry {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its first 8 bytes.
    pub prefix: u64,
    /// `true` if its content is stored, according to the index.
    pub present: bool,
    /// `true` if its content is in the index.
    pub inline: bool,
    /// `true` if it is recorded as a manifest.
    pub manifest: bool,
    /// `true` if any link, tag or manifest references it.
    pub used: bool,
}

const PRESENT: u8 = 1 << 2;
const INLINE: u8 = 1 << 3;
const MANIFEST: u8 = 1 << 4;
const USED: u8 = 1 << 5;
const CONFIRMED: u8 = 1 << 6;
const BYTES: u8 = 1 << 7;
/// Bits of the algorithm; 0 if no digest has the id.
const ALGORITHM: u8 = 3;

/// Every digest, and every repository.
#[derive(Debug, Default)]
pub struct Census {
    /// By id / [`ROWS`]. A damaged row costs one page, whatever its id.
    pages: FastMap<u32, Box<CensusPage>>,
    /// Every repository and directory that leads to one, by id.
    pub repositories: HashMap<RepositoryId, Namespace>,
}

/// Digests with consecutive ids.
#[derive(Debug)]
struct CensusPage {
    prefixes: [u64; ROWS as usize],
    flags: [u8; ROWS as usize],
}

/// Digests in a page.
const ROWS: u32 = 1 << 10;

/// The offset of an id in its page.
fn place(id: DigestId) -> usize {
    (id.0 % ROWS) as usize
}

fn prefix(digest: &Digest) -> u64 {
    let first = digest.as_bytes().first_chunk().copied();
    u64::from_be_bytes(first.unwrap_or_default())
}

impl Census {
    /// Adds a digest. Returns `false` if another one has its id.
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
        *flags = algorithm_byte(digest.algorithm());
        *flags |= if blob.present { PRESENT } else { 0 };
        *flags |= if blob.inline { INLINE } else { 0 };
        *first = prefix(digest);
        true
    }

    /// Records that an id leads to a digest. Returns `false` if the digest has another id.
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

    /// Returns what is known about the digest of an id.
    pub fn get(&self, id: DigestId) -> Option<CensusEntry> {
        let page = self.pages.get(&(id.0 / ROWS))?;
        let flags = *page.flags.get(place(id))?;
        let algorithm = algorithm_of(flags & ALGORITHM)?;
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

    /// Digests to which their id does not lead.
    pub(super) fn unconfirmed(&self) -> Vec<DigestId> {
        self.having(0, CONFIRMED).collect()
    }

    /// Returns the digests whose content should be in the index and is not.
    pub fn without_bytes(&self) -> Vec<DigestId> {
        self.having(INLINE, INLINE | BYTES).collect()
    }

    /// Returns the digests whose content is in the index.
    pub fn with_bytes(&self) -> impl Iterator<Item = DigestId> {
        self.having(INLINE | BYTES, INLINE | BYTES)
    }

    /// Returns the blobs that nothing references.
    pub fn unused(&self) -> impl Iterator<Item = DigestId> {
        self.having(PRESENT, PRESENT | USED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_damaged_row_costs_one_page_only() {
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
