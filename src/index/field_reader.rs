//! Decoding of keys, values and journal groups: big-endian fields, one after the other.

use super::id::DigestId;
use super::key::algorithm_of;
use crate::digest::{Algorithm, Digest};

/// Reads fields from the front of a key or value. A field that is truncated is `None`.
pub(super) struct FieldReader<'a>(pub(super) &'a [u8]);

impl<'a> FieldReader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub(super) fn id(&mut self) -> Option<DigestId> {
        self.u32().map(DigestId)
    }

    pub(super) fn algorithm(&mut self) -> Option<Algorithm> {
        algorithm_of(self.u8()?)
    }

    /// Reads a digest, which extends to the end of the key or value.
    pub(super) fn digest(&mut self) -> Option<Digest> {
        let algorithm = self.algorithm()?;
        Digest::from_bytes(algorithm, self.take(algorithm.len_bytes())?)
    }

    /// Skips a tag and its terminator.
    pub(super) fn skip_tag(&mut self) -> Option<()> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        self.take(end + 1).map(drop)
    }
}
