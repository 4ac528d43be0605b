//! Facts by id, for callers that visit all of them and do not need the digests.

use crate::digest::Digest;
use crate::index::field_reader::FieldReader;
use crate::index::id::{DigestId, RepositoryId};
use crate::index::key::{Key, next_key};
use crate::index::record::{Blob, EdgeRole};
use crate::index::{Index, IndexError, Pair};
use crate::name::{LinkSet, Tag};

/// Rows that are read at once.
const PAGE: usize = 4_096;

impl Index {
    /// Visits every row of a table.
    pub(super) fn each(
        &self,
        table: u8,
        visit: impl FnMut(Pair) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.rows(Key::table(table), visit)
    }

    /// Visits the rows of a key range in key order; stops at an error.
    pub(super) fn rows<E: From<IndexError>>(
        &self,
        key: Key,
        mut visit: impl FnMut(Pair) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut range = key.prefix_range();
        loop {
            let page = self.scan(&range, PAGE)?;
            let full = page.len() == PAGE;
            if let Some((last, _)) = page.last() {
                range.start = next_key(last.clone());
            }
            page.into_iter().try_for_each(&mut visit)?;
            if !full {
                return Ok(());
            }
        }
    }

    /// Visits the links of a repository's layers or revisions: the digest of each, and its target.
    /// Directories and undecodable rows are skipped.
    pub fn each_link(
        &self,
        repository: RepositoryId,
        set: &LinkSet,
        mut visit: impl FnMut(DigestId, DigestId),
    ) -> Result<(), IndexError> {
        let Some(key) = self.view().set(repository, set)? else {
            return Ok(());
        };
        self.rows(key, |(key, value)| {
            let id = key.last_chunk().map(|id| DigestId(u32::from_be_bytes(*id)));
            let mut fields = FieldReader(&value);
            if let (Some(id), Some(_pushed)) = (id, fields.u32()) {
                visit(id, fields.id().unwrap_or(id));
            }
            Ok(())
        })
    }

    /// Visits the tags of a repository that point to a manifest. Undecodable rows are skipped.
    pub fn each_tag(
        &self,
        repository: RepositoryId,
        mut visit: impl FnMut(Tag, DigestId),
    ) -> Result<(), IndexError> {
        self.rows(Key::table(b'T').repository(repository), |(key, value)| {
            let rest = key.get(5..).unwrap_or_default();
            let mut fields = FieldReader(rest);
            let end = fields.skip_tag().and_then(|()| rest.len().checked_sub(1));
            let tag = end.and_then(|end| std::str::from_utf8(rest.get(..end)?).ok());
            let tag = tag.and_then(|tag| tag.parse().ok());
            let mut value = FieldReader(&value);
            let id = value.u8().and_then(|_| value.id());
            if let Some((tag, id)) = tag.zip(id) {
                visit(tag, id);
            }
            Ok(())
        })
    }

    /// Returns the references of a manifest, by id. Undecodable rows are skipped.
    pub fn reference_ids(
        &self,
        manifest: DigestId,
    ) -> Result<Vec<(EdgeRole, DigestId)>, IndexError> {
        let rows = self.scan(&Key::table(b'E').id(manifest).prefix_range(), usize::MAX)?;
        let rows = rows.into_iter().filter_map(|(_, value)| {
            let mut fields = FieldReader(&value);
            Some((EdgeRole::of(fields.u8()?)?, fields.id()?))
        });
        Ok(rows.collect())
    }

    /// Visits every digest in order. Undecodable rows are skipped.
    pub fn each_blob<E: From<IndexError>>(
        &self,
        mut visit: impl FnMut(Digest, Blob) -> Result<(), E>,
    ) -> Result<(), E> {
        self.rows(Key::table(b'B'), |(key, value)| {
            let digest = FieldReader(key.get(1..).unwrap_or_default()).digest();
            match digest.zip(Blob::decode(&value)) {
                Some((digest, blob)) => visit(digest, blob),
                None => Ok(()),
            }
        })
    }
}
