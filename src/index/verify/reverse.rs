//! Reverse tables, compared with their facts: by sums first, and row by row where the sums differ.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::flaw::{Flaw, FlawKind, FlawSink};
use crate::index::field_reader::FieldReader;
use crate::index::id::{DigestId, RepositoryId};
use crate::index::key::Key;
use crate::index::{Index, IndexError};

/// A table and its reverse table.
#[derive(Clone, Copy, Debug)]
enum Direction {
    /// Revisions, and the repositories that hold them.
    Revisions,
    /// Tags, and the tags of a digest.
    Tags,
    /// References of a manifest, and the manifests that reference a digest.
    Edges,
}

impl Direction {
    const ALL: [Self; 3] = [Self::Revisions, Self::Tags, Self::Edges];

    fn table(self) -> u8 {
        match self {
            Self::Revisions => b'R',
            Self::Tags => b'T',
            Self::Edges => b'E',
        }
    }

    fn reverse(self) -> u8 {
        match self {
            Self::Revisions => b'r',
            Self::Tags => b't',
            Self::Edges => b'e',
        }
    }

    /// The reverse key that a row requires, if any.
    fn wanted(self, key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let mut fields = FieldReader(key.get(1..)?);
        let mut value = FieldReader(value);
        match self {
            Self::Revisions => {
                let repository = RepositoryId(fields.u32()?);
                let id = DigestId(u32::from_be_bytes(*key.last_chunk()?));
                value.u32()?;
                Some(Key::table(b'r').id(id).repository(repository).into_bytes())
            }
            Self::Tags => {
                let repository = RepositoryId(fields.u32()?);
                let rest = fields.0;
                fields.skip_tag()?;
                let tag = rest.get(..rest.len() - fields.0.len() - 1)?;
                value.u8()?;
                let id = value.id()?;
                let key = Key::table(b't').id(id).repository(repository);
                Some(key.bytes(tag).into_bytes())
            }
            Self::Edges => {
                let manifest = fields.id()?;
                let (role, target) = (value.u8()?, value.id()?);
                Some(
                    Key::table(b'e')
                        .id(target)
                        .byte(role)
                        .id(manifest)
                        .into_bytes(),
                )
            }
        }
    }
}

fn sum(total: &mut u64, key: &[u8]) {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    *total = total.wrapping_add(hasher.finish());
}

impl Index {
    /// Verifies every reverse table.
    pub(super) fn verify_reverse(&self, report: FlawSink<'_>) -> Result<(), IndexError> {
        for direction in Direction::ALL {
            let (mut wanted, mut there) = (0, 0);
            self.each_wanted(direction, |key| {
                sum(&mut wanted, &key);
                Ok(())
            })?;
            self.each(direction.reverse(), |(key, _)| {
                sum(&mut there, &key);
                Ok(())
            })?;
            if wanted != there {
                self.compare(direction, report)?;
            }
        }
        Ok(())
    }

    /// Visits every reverse key that a table requires, once.
    fn each_wanted(
        &self,
        direction: Direction,
        mut visit: impl FnMut(Vec<u8>) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        // A manifest may reference a digest twice; its rows are adjacent.
        let (mut manifest, mut seen) = (Vec::new(), BTreeSet::new());
        self.each(direction.table(), |(key, value)| {
            let Some(wanted) = direction.wanted(&key, &value) else {
                return Ok(());
            };
            if matches!(direction, Direction::Edges) {
                let of = key.get(..5).unwrap_or_default();
                if manifest != of {
                    manifest = of.to_vec();
                    seen.clear();
                }
                if !seen.insert(wanted.clone()) {
                    return Ok(());
                }
            }
            visit(wanted)
        })
    }

    /// Finds the rows that differ.
    fn compare(&self, direction: Direction, report: FlawSink<'_>) -> Result<(), IndexError> {
        let mut wanted = BTreeSet::new();
        self.each_wanted(direction, |key| {
            if self.store.get(&key)?.is_none() {
                report(Flaw {
                    kind: FlawKind::ReverseMissing,
                    key: key.clone(),
                    value: None,
                });
            }
            wanted.insert(key);
            Ok(())
        })?;
        self.each(direction.reverse(), |(key, value)| {
            if !wanted.contains(&key) {
                report(Flaw::found(FlawKind::ReverseStale, key, value));
            }
            Ok(())
        })
    }
}
