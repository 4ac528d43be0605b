//! Records: how changes are written into a segment, byte for byte.
//!
//! All numbers are big-endian. A group is what one flush writes; it begins at a multiple of
//! [`ALIGNMENT`] and is filled up with zeros to the next, so that no write ever touches a block
//! that holds something acknowledged.
//!
//! ```text
//! group    "RGJ2" crc4 len4 batches4 first8 epoch8 id8, then len4 bytes of batches, then zeros
//!          "RGJ1" the same without id8, by programs of format 1
//! batch    len4, then len4 bytes of changes
//! change   1 klen4 key vlen4 value     put
//!          2 klen4 key                 delete
//! ```
//!
//! `crc4` is the CRC-32C of what follows it, to the end of the batches. `first8` is the number of
//! the first batch; numbers count up by one without a gap. `epoch8` changes whenever a journal
//! is opened, so that what was left in a segment by an earlier use is never taken for the
//! continuation of a later one. `id8` is the journal's own (`superblock.rs`), and known to nobody who
//! stores something: no content of a blob can pass for a group.

use crate::index::store::WriteOp;

/// Where groups begin, and what is written at least, in bytes.
pub(super) const ALIGNMENT: usize = 4096;
/// Bytes before the batches.
const HEADER: usize = 40;
const MAGIC: &[u8; 4] = b"RGJ2";
/// The same of groups of format 1.
const OLD_HEADER: usize = 32;
const OLD_MAGIC: &[u8; 4] = b"RGJ1";

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// A batch as it is written.
pub(super) fn encode_batch(changes: &[WriteOp]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for change in changes {
        match change {
            WriteOp::Put(key, value) => {
                bytes.push(PUT);
                field(&mut bytes, key);
                field(&mut bytes, value);
            }
            WriteOp::Delete(key) => {
                bytes.push(DELETE);
                field(&mut bytes, key);
            }
        }
    }
    let len = length(bytes.len() - 4);
    if let Some(place) = bytes.get_mut(..4) {
        place.copy_from_slice(&len);
    }
    bytes
}

fn length(len: usize) -> [u8; 4] {
    // A batch is far smaller than what would not fit.
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

fn field(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend(length(field.len()));
    bytes.extend(field);
}

/// A group of batches, of which the first has this number.
pub(super) fn encode_group(batches: &[Vec<u8>], first: u64, epoch: u64, id: u64) -> Vec<u8> {
    let len: usize = batches.iter().map(Vec::len).sum();
    let mut bytes = Vec::with_capacity((HEADER + len).next_multiple_of(ALIGNMENT));
    bytes.extend(MAGIC);
    bytes.extend([0; 4]);
    bytes.extend(length(len));
    bytes.extend(length(batches.len()));
    bytes.extend(first.to_be_bytes());
    bytes.extend(epoch.to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(batches.iter().flatten());
    let sum = crc32c::crc32c(bytes.get(8..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(4..8) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

/// Bytes that a group of these batches takes.
pub(super) fn group_len(batches: usize) -> usize {
    (HEADER + batches).next_multiple_of(ALIGNMENT)
}

/// A whole group, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group<'a> {
    /// The number of its first batch.
    pub(super) first: u64,
    /// The epoch in which it was written.
    pub(super) epoch: u64,
    /// The journal's; nothing in format 1.
    pub(super) id: Option<u64>,
    /// How many batches there are, at least one.
    count: u32,
    body: &'a [u8],
    /// Bytes that it takes.
    len: usize,
}

impl<'a> Group<'a> {
    /// The group that begins here, if there is a whole one.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = GroupReader(bytes);
        let old = match fields.take(4)? {
            magic if magic == MAGIC => false,
            magic if magic == OLD_MAGIC => true,
            _ => return None,
        };
        let sum = fields.u32()?;
        let len = usize::try_from(fields.u32()?).ok()?;
        let count = fields.u32()?;
        let (first, epoch) = (fields.u64()?, fields.u64()?);
        let id = if old { None } else { Some(fields.u64()?) };
        let header = if old { OLD_HEADER } else { HEADER };
        let body = fields.take(len)?;
        let checked = bytes.get(8..header + len)?;
        let last = first.checked_add(u64::from(count));
        let whole = count > 0 && last.is_some() && crc32c::crc32c(checked) == sum;
        whole.then_some(Self {
            first,
            epoch,
            id,
            count,
            body,
            len: (header + len).next_multiple_of(ALIGNMENT),
        })
    }

    /// The number of its last batch.
    pub(super) fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    /// Bytes that it takes in the segment.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The changes of its batches, one behind the other; nothing if they are not of their form,
    /// which no writer of ours makes.
    pub(super) fn changes(&self) -> Option<Vec<WriteOp>> {
        let mut body = GroupReader(self.body);
        let mut all = Vec::new();
        for _ in 0..self.count {
            let len = usize::try_from(body.u32()?).ok()?;
            all.append(&mut changes(body.take(len)?)?);
        }
        body.0.is_empty().then_some(all)
    }
}

fn changes(bytes: &[u8]) -> Option<Vec<WriteOp>> {
    let mut fields = GroupReader(bytes);
    let mut changes = Vec::new();
    while let Some(kind) = fields.take(1) {
        let key = fields.field()?;
        changes.push(match kind {
            [PUT] => WriteOp::Put(key, fields.field()?),
            [DELETE] => WriteOp::Delete(key),
            _ => return None,
        });
    }
    Some(changes)
}

/// Bytes, read from the front.
struct GroupReader<'a>(&'a [u8]);

impl<'a> GroupReader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn field(&mut self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.u32()?).ok()?;
        Some(self.take(len)?.to_vec())
    }
}
