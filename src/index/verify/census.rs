//! The census: what is known of every digest, by its number, in a few bytes each.

use std::collections::HashMap;

use super::{Algorithm, Blob, Digest, DigestId, Namespace, RepositoryId};

/// What is known of a digest.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
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
const NUMBERED: u8 = 1 << 6;
const BYTES: u8 = 1 << 7;
/// Bits of the algorithm; 0 where no digest has the number.
const ALGORITHM: u8 = 3;

/// What is known of every digest, and every repository.
#[derive(Debug, Default)]
pub struct Census {
    prefixes: Vec<u64>,
    flags: Vec<u8>,
    /// Every repository and directory on the way to one, by its number.
    pub repositories: HashMap<RepositoryId, Namespace>,
}

fn place(id: DigestId) -> usize {
    usize::try_from(id.0).unwrap_or(usize::MAX)
}

fn prefix(digest: &Digest) -> u64 {
    let first = digest.as_bytes().first_chunk().copied();
    u64::from_be_bytes(first.unwrap_or_default())
}

/// Highest number that is believed: what is beyond this many behind all others is damage.
const NUMBER_MAX: usize = 1 << 30;

impl Census {
    /// Takes note of a digest; whether no other has its number.
    pub(super) fn know(&mut self, digest: &Digest, blob: &Blob) -> bool {
        let place = place(blob.id);
        if place > NUMBER_MAX {
            return false;
        }
        if place >= self.flags.len() {
            self.flags.resize(place + 1, 0);
            self.prefixes.resize(place + 1, 0);
        }
        let (Some(flags), Some(first)) = (self.flags.get_mut(place), self.prefixes.get_mut(place))
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
    pub(super) fn number(&mut self, id: DigestId, digest: &Digest) -> bool {
        let known = self.get(id);
        let same = known.is_some_and(|known| {
            (known.algorithm, known.prefix) == (digest.algorithm(), prefix(digest))
        });
        if same {
            self.set(id, NUMBERED);
        }
        same
    }

    fn set(&mut self, id: DigestId, flag: u8) {
        if let Some(flags) = self.flags.get_mut(place(id)) {
            *flags |= flag;
        }
    }

    pub(super) fn is_manifest(&mut self, id: DigestId) {
        self.set(id, MANIFEST);
    }

    pub(super) fn use_of(&mut self, id: DigestId) {
        self.set(id, USED);
    }

    pub(super) fn has_bytes(&mut self, id: DigestId) {
        self.set(id, BYTES);
    }

    /// What is known of a number's digest.
    pub fn get(&self, id: DigestId) -> Option<Known> {
        let flags = *self.flags.get(place(id))?;
        let algorithm = crate::index::key::algorithm_of(flags & ALGORITHM)?;
        Some(Known {
            algorithm,
            prefix: *self.prefixes.get(place(id))?,
            present: flags & PRESENT != 0,
            inline: flags & INLINE != 0,
            manifest: flags & MANIFEST != 0,
            used: flags & USED != 0,
        })
    }

    fn having(&self, wanted: u8, of: u8) -> impl Iterator<Item = DigestId> {
        let rows = self.flags.iter().enumerate();
        let found =
            rows.filter(move |(_, flags)| **flags & ALGORITHM != 0 && **flags & of == wanted);
        found.filter_map(|(number, _)| u32::try_from(number).ok().map(DigestId))
    }

    /// Digests to which their number does not lead.
    pub(super) fn unnumbered(&self) -> Vec<DigestId> {
        self.having(0, NUMBERED).collect()
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
