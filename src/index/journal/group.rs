//! Groups: the encoding of committed batches in a segment, byte for byte.
//!
//! All numbers are big-endian. A group is what one flush writes. It starts at a multiple of
//! [`ALIGNMENT`] and is padded with zeros to the next, so that no write touches a block that holds
//! acknowledged data.
//!
//! ```text
//! group    "RGJ2" crc4 len4 batches4 first8 epoch8 id8, then len4 bytes of batches, then zeros
//!          "RGJ1" the same without id8, by programs of format 1
//! batch    len4, then len4 bytes of changes
//! change   1 klen4 key vlen4 value     put
//!          2 klen4 key                 delete
//! ```
//!
//! `crc4` is the CRC-32C of everything after it, to the end of the batches. `first8` is the number
//! of the first batch; batch numbers increase by one without a gap. `epoch8` changes whenever a
//! journal is opened, so that remains of an earlier use of a segment are never taken for the
//! continuation of a later one. `id8` identifies the journal (`superblock.rs`) and is unknown to
//! clients: no blob content can pass for a group.

use crate::index::field_reader::FieldReader;
use crate::index::store::WriteOp;

/// Alignment of groups, and the least that is written, in bytes.
pub(super) const ALIGNMENT: usize = 4096;
/// Bytes before the batches.
const HEADER: usize = 40;
const MAGIC: &[u8; 4] = b"RGJ2";
/// The same in format 1.
const OLD_HEADER: usize = 32;
const OLD_MAGIC: &[u8; 4] = b"RGJ1";

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Encodes a batch.
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
    // A batch is at most 1 MiB.
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

fn field(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend(length(field.len()));
    bytes.extend(field);
}

/// Encodes a group of batches; `first` is the number of the first.
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

/// The size of a group, given the total size of its batches, in bytes.
pub(super) fn group_len(batches: usize) -> usize {
    (HEADER + batches).next_multiple_of(ALIGNMENT)
}

/// An intact group, as its header describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group<'a> {
    /// The number of its first batch.
    pub(super) first: u64,
    /// The epoch in which it was written.
    pub(super) epoch: u64,
    /// The id of the journal; `None` in format 1.
    pub(super) id: Option<u64>,
    /// The number of batches, at least one.
    count: u32,
    body: &'a [u8],
    /// Its size in bytes.
    len: usize,
}

impl<'a> Group<'a> {
    /// Reads the group at the start of `bytes`; `None` if there is no intact one.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = FieldReader(bytes);
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

    /// Its size in the segment, in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The changes of all batches in order; `None` if they are malformed, which this program never
    /// writes.
    pub(super) fn changes(&self) -> Option<Vec<WriteOp>> {
        let mut body = FieldReader(self.body);
        let mut all = Vec::new();
        for _ in 0..self.count {
            let len = usize::try_from(body.u32()?).ok()?;
            all.append(&mut changes(body.take(len)?)?);
        }
        body.0.is_empty().then_some(all)
    }
}

fn changes(bytes: &[u8]) -> Option<Vec<WriteOp>> {
    let mut fields = FieldReader(bytes);
    let mut changes = Vec::new();
    while let Some(kind) = fields.take(1) {
        let key = read_field(&mut fields)?;
        changes.push(match kind {
            [PUT] => WriteOp::Put(key, read_field(&mut fields)?),
            [DELETE] => WriteOp::Delete(key),
            _ => return None,
        });
    }
    Some(changes)
}

/// Reads a field with its length before it.
fn read_field(fields: &mut FieldReader<'_>) -> Option<Vec<u8>> {
    let len = usize::try_from(fields.u32()?).ok()?;
    Some(fields.take(len)?.to_vec())
}
