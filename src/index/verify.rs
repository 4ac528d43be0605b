//! Verification: checks the index table by table, on one snapshot.
//!
//! Every row must decode, the ids of digests and repositories must agree in both directions, and
//! each reverse table must match its forward table: both are compared by a sum over all rows, and
//! row by row only if the sums differ. A [`Census`] collects a few bytes about every digest, for
//! callers that compare the facts with the stored blobs.
//!
//! It changes nothing; [`Index::repair`] does.

use std::collections::HashMap;

use super::field_reader::FieldReader;
use super::id::{DigestId, RepositoryId};
use super::key::Key;
use super::ownership::{OwnedDirectory, Ownership};
use super::record::{Blob, EdgeRole, LoggedBytes, Repository, Upload};
use super::{DirectoryTime, Index, IndexError};
use crate::name::Namespace;

mod by_id;
mod census;
mod flaw;
mod repair;
mod reverse;

pub use census::{Census, CensusEntry};
use flaw::FlawSink;
pub use flaw::{Flaw, FlawKind};

/// Reads what follows the repository in a key; `None` if it is malformed.
type KeySuffix = fn(&mut FieldReader<'_>) -> Option<()>;

impl Index {
    /// Verifies every table. Calls `report` with each flaw, and returns what it learned about
    /// digests and repositories.
    ///
    /// # Errors
    /// Those of [`Store::scan`](super::Store::scan); a damaged row is a flaw and not an error.
    pub fn verify(&self, report: &mut dyn FnMut(Flaw)) -> Result<Census, IndexError> {
        let mut census = Census::default();
        self.verify_digests(&mut census, report)?;
        self.verify_repositories(&mut census, report)?;
        self.verify_links(&mut census, report)?;
        self.verify_manifests(&mut census, report)?;
        self.verify_pending(report)?;
        self.verify_uploads(&census, report)?;
        self.verify_ownership(&census, report)?;
        self.verify_times(&census, report)?;
        self.verify_reverse(report)?;
        Ok(census)
    }

    fn verify_digests(&self, census: &mut Census, report: FlawSink<'_>) -> Result<(), IndexError> {
        self.each(b'B', |(key, value)| {
            let digest = FieldReader(key.get(1..).unwrap_or_default()).digest();
            match digest.zip(Blob::decode(&value)) {
                Some((digest, blob)) if census.insert(&digest, &blob) => {}
                Some(_) => report(Flaw::found(FlawKind::DigestWithoutNumber, key, value)),
                None => report(Flaw::found(FlawKind::RecordDamaged, key, value)),
            }
            Ok(())
        })?;
        self.each(b'd', |(key, value)| {
            let id = FieldReader(key.get(1..).unwrap_or_default()).id();
            match id.zip(FieldReader(&value).digest()) {
                Some((id, digest)) if census.confirm(id, &digest) => {}
                Some(_) => report(Flaw::found(FlawKind::NumberWithoutDigest, key, value)),
                None => report(Flaw::found(FlawKind::RecordDamaged, key, value)),
            }
            Ok(())
        })?;
        for id in census.unconfirmed() {
            let key = Key::table(b'd').id(id).into_bytes();
            let kind = FlawKind::DigestWithoutNumber;
            let value = None;
            report(Flaw { kind, key, value });
        }
        self.each(b'K', |(key, value)| {
            let id = FieldReader(key.get(1..).unwrap_or_default()).id();
            let inline = id.and_then(|id| census.get(id)).map(|one| one.inline);
            match inline {
                Some(true) => census.mark_bytes(id.unwrap_or(DigestId(0))),
                Some(false) | None => report(Flaw::found(FlawKind::BytesWithoutBlob, key, value)),
            }
            Ok(())
        })
    }

    fn verify_repositories(
        &self,
        census: &mut Census,
        report: FlawSink<'_>,
    ) -> Result<(), IndexError> {
        let mut numbers: HashMap<RepositoryId, Namespace> = HashMap::new();
        self.each(b'n', |(key, value)| {
            let id = FieldReader(key.get(1..).unwrap_or_default()).u32();
            let name = String::from_utf8(value.clone()).ok();
            let name = name.and_then(|name| name.parse().ok());
            match id.zip(name) {
                Some((id, name)) => drop(numbers.insert(RepositoryId(id), name)),
                None => report(Flaw::found(FlawKind::RecordDamaged, key, value)),
            }
            Ok(())
        })?;
        self.each(b'N', |(key, value)| {
            let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).replace('\0', "/");
            let name: Option<Namespace> = name.parse().ok();
            match name.zip(Repository::decode(&value)) {
                Some((name, one)) => {
                    if numbers.get(&one.id) == Some(&name) {
                        numbers.remove(&one.id);
                    } else {
                        let kind = FlawKind::RepositoryWithoutNumber;
                        report(Flaw::found(kind, key, value));
                    }
                    census.repositories.insert(one.id, name);
                }
                None => report(Flaw::found(FlawKind::RecordDamaged, key, value)),
            }
            Ok(())
        })?;
        for (id, name) in numbers {
            let key = Key::table(b'n').repository(id).into_bytes();
            let value = name.as_str().as_bytes().to_vec();
            report(Flaw::found(FlawKind::NumberWithoutRepository, key, value));
        }
        Ok(())
    }

    /// Verifies the tables whose rows belong to a repository and a digest.
    fn verify_links(&self, census: &mut Census, report: FlawSink<'_>) -> Result<(), IndexError> {
        let tables: [(u8, KeySuffix); 4] = [
            (b'L', nothing),
            (b'R', nothing),
            (b'I', |key| key.skip_tag()),
            (b'S', |key| key.id().map(drop)),
        ];
        for (table, rest) in tables {
            self.each(table, |(key, value)| {
                if let Err(kind) = link(census, rest, &key, &value) {
                    report(Flaw::found(kind, key, value));
                }
                Ok(())
            })?;
        }
        let tables: [(u8, KeySuffix); 3] = [
            (b'T', |key| key.skip_tag()),
            (b'G', nothing),
            (b'U', nothing),
        ];
        for (table, rest) in tables {
            self.each(table, |(key, value)| {
                let mut fields = FieldReader(key.get(1..).unwrap_or_default());
                let decoded = match table {
                    b'T' => tag_value(census, &value),
                    b'U' => Upload::decode(&value).map(drop),
                    _ => Some(()),
                };
                let kind = match refers_to(census, rest, &mut fields) {
                    Ok(()) if decoded.is_some() => return Ok(()),
                    Ok(()) => FlawKind::RecordDamaged,
                    Err(kind) => kind,
                };
                report(Flaw::found(kind, key, value));
                Ok(())
            })?;
        }
        Ok(())
    }

    fn verify_manifests(
        &self,
        census: &mut Census,
        report: FlawSink<'_>,
    ) -> Result<(), IndexError> {
        self.each(b'M', |(key, value)| {
            let id = FieldReader(key.get(1..).unwrap_or_default()).id();
            match id.filter(|_| std::str::from_utf8(&value).is_ok()) {
                Some(id) if census.get(id).is_some() => census.mark_manifest(id),
                Some(_) => report(Flaw::found(FlawKind::LinkOutOfPlace, key, value)),
                None => report(Flaw::found(FlawKind::RecordDamaged, key, value)),
            }
            Ok(())
        })?;
        self.each(b'E', |(key, value)| {
            let manifest = FieldReader(key.get(1..).unwrap_or_default()).id();
            let mut fields = FieldReader(&value);
            let role = fields.u8().and_then(EdgeRole::of);
            match manifest.zip(role).zip(fields.id()) {
                Some(((manifest, _), target)) if census.get(manifest).is_some() => {
                    if census.get(target).is_some() {
                        census.mark_used(target);
                    } else {
                        report(Flaw::found(FlawKind::LinkOutOfPlace, key, value));
                    }
                }
                Some(_) => report(Flaw::found(FlawKind::LinkOutOfPlace, key, value)),
                None => report(Flaw::found(FlawKind::RecordDamaged, key, value)),
            }
            Ok(())
        })
    }

    fn verify_pending(&self, report: FlawSink<'_>) -> Result<(), IndexError> {
        self.each(b'Y', |(key, value)| {
            let digest = FieldReader(key.get(1..).unwrap_or_default()).digest();
            if digest.is_none() || FieldReader(&value).u64().is_none() {
                report(Flaw::found(FlawKind::RecordDamaged, key, value));
            }
            Ok(())
        })?;
        self.each(b'Z', |(key, value)| {
            let number = FieldReader(key.get(1..).unwrap_or_default()).u64();
            if number.is_none_or(|number| LoggedBytes::decode(number, &value).is_none()) {
                report(Flaw::found(FlawKind::RecordDamaged, key, value));
            }
            Ok(())
        })
    }

    fn verify_uploads(&self, census: &Census, report: FlawSink<'_>) -> Result<(), IndexError> {
        self.each(b'H', |(key, value)| {
            let upload = key.get(1..21).unwrap_or_default();
            let there = self.store.get(&[b"U", upload].concat())?.is_some();
            let mut fields = FieldReader(key.get(1..).unwrap_or_default());
            let kind = match refers_to(census, nothing, &mut fields) {
                Err(kind) => kind,
                Ok(()) if !there => FlawKind::HashStateWithoutUpload,
                Ok(()) => return Ok(()),
            };
            report(Flaw::found(kind, key, value));
            Ok(())
        })
    }

    fn verify_ownership(&self, census: &Census, report: FlawSink<'_>) -> Result<(), IndexError> {
        self.each(b'A', |(key, value)| {
            let of = OwnedDirectory::decode(key.get(1..).unwrap_or_default());
            let kind = match (of, Ownership::decode(&value)) {
                (Some(OwnedDirectory::Repository(id)), Some(_))
                    if !census.repositories.contains_key(&id) =>
                {
                    FlawKind::RowWithoutRepository
                }
                (Some(_), Some(_)) => return Ok(()),
                (None, _) | (_, None) => FlawKind::RecordDamaged,
            };
            report(Flaw::found(kind, key, value));
            Ok(())
        })
    }

    fn verify_times(&self, census: &Census, report: FlawSink<'_>) -> Result<(), IndexError> {
        self.each(b'W', |(key, value)| {
            let mut fields = FieldReader(key.get(1..).unwrap_or_default());
            let of = match fields.u8() {
                Some(0) => fields.u8().map(drop).ok_or(FlawKind::RecordDamaged),
                Some(1) => fields.algorithm().map(drop).ok_or(FlawKind::RecordDamaged),
                Some(2) => refers_to(census, nothing, &mut fields),
                _ => Err(FlawKind::RecordDamaged),
            };
            let kind = match of {
                Ok(()) if DirectoryTime::decode(&value).is_some() => return Ok(()),
                Ok(()) => FlawKind::RecordDamaged,
                Err(kind) => kind,
            };
            report(Flaw::found(kind, key, value));
            Ok(())
        })
    }
}

/// The rest of the key is checked elsewhere.
#[expect(clippy::unnecessary_wraps, reason = "it is one of several")]
fn nothing(_fields: &mut FieldReader<'_>) -> Option<()> {
    Some(())
}

/// Checks that a key starts with an existing repository and continues as expected.
fn refers_to(
    census: &Census,
    rest: KeySuffix,
    fields: &mut FieldReader<'_>,
) -> Result<(), FlawKind> {
    let id = fields.u32().ok_or(FlawKind::RecordDamaged)?;
    if !census.repositories.contains_key(&RepositoryId(id)) {
        return Err(FlawKind::RowWithoutRepository);
    }
    rest(fields).ok_or(FlawKind::RecordDamaged)
}

/// Checks that the key of a link matches its digest, and that its target is known.
fn link(census: &mut Census, rest: KeySuffix, key: &[u8], value: &[u8]) -> Result<(), FlawKind> {
    let mut fields = FieldReader(key.get(1..).unwrap_or_default());
    refers_to(census, rest, &mut fields)?;
    let row = (fields.algorithm(), fields.u64(), fields.id());
    let (Some(algorithm), Some(prefix), Some(id)) = row else {
        return Err(FlawKind::RecordDamaged);
    };
    let known = census.get(id).ok_or(FlawKind::LinkOutOfPlace)?;
    if (known.algorithm, known.prefix) != (algorithm, prefix) || !fields.0.is_empty() {
        return Err(FlawKind::LinkOutOfPlace);
    }
    if value.is_empty() {
        return Ok(());
    }
    let mut fields = FieldReader(value);
    fields.u32().ok_or(FlawKind::RecordDamaged)?;
    let target = match fields.0.len() {
        0 => id,
        _ => fields.id().ok_or(FlawKind::RecordDamaged)?,
    };
    census.get(target).ok_or(FlawKind::LinkOutOfPlace)?;
    census.mark_used(target);
    Ok(())
}

/// Checks that the value of a tag can be decoded and names a known digest.
fn tag_value(census: &mut Census, value: &[u8]) -> Option<()> {
    let mut fields = FieldReader(value);
    fields.u8()?;
    if fields.0.is_empty() {
        return Some(());
    }
    let (id, _pushed) = (fields.id()?, fields.u32()?);
    census.get(id)?;
    census.mark_used(id);
    Some(())
}
