//! Manifests: media types and references.

use super::Transaction;
use crate::digest::Digest;
use crate::index::error::IndexError;
use crate::index::field_reader::FieldReader;
use crate::index::key::Key;
use crate::index::record::EdgeRole;

/// Most edges (references of a manifest) that fit into one transaction.
pub const EDGES_AT_ONCE: usize = 100;
/// The rows of manifests, and of the digests that they name.
#[derive(Debug)]
pub struct ManifestRows<'t, 'a>(&'t mut Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Returns the rows of manifests, and of the digests that they name.
    pub fn manifests(&mut self) -> ManifestRows<'_, 'a> {
        ManifestRows(self)
    }
}

impl ManifestRows<'_, '_> {
    /// Returns the media type of a digest that is recorded as a manifest.
    pub fn media_type(&mut self, digest: &Digest) -> Result<Option<String>, IndexError> {
        let Some(id) = self.0.id_of(digest)? else {
            return Ok(None);
        };
        let key = Key::table(b'M').id(id);
        self.0
            .record(key, |value| String::from_utf8(value.to_vec()).ok())
    }

    /// Records a digest as a manifest of this media type.
    pub fn put(&mut self, digest: &Digest, media_type: &str) -> Result<(), IndexError> {
        let id = self.0.intern(digest)?;
        self.0
            .put(Key::table(b'M').id(id), media_type.as_bytes().to_vec());
        Ok(())
    }

    /// Records references of a manifest, the first at position `first`, in both directions. At most
    /// [`EDGES_AT_ONCE`] fit into one transaction.
    pub fn put_edges(
        &mut self,
        digest: &Digest,
        first: u32,
        edges: &[(EdgeRole, Digest)],
    ) -> Result<(), IndexError> {
        let id = self.0.intern(digest)?;
        for (position, (role, target)) in (first..).zip(edges) {
            let target = self.0.intern(target)?;
            let value = [&[role.byte()][..], &target.0.to_be_bytes()].concat();
            self.0.put(
                Key::table(b'E').id(id).bytes(&position.to_be_bytes()),
                value,
            );
            self.0.put(
                Key::table(b'e').id(target).byte(role.byte()).id(id),
                Vec::new(),
            );
        }
        Ok(())
    }

    /// Removes the record of a manifest.
    pub fn remove(&mut self, digest: &Digest) -> Result<(), IndexError> {
        if let Some(id) = self.0.id_of(digest)? {
            self.0.delete(Key::table(b'M').id(id));
        }
        Ok(())
    }

    /// Removes the references of a manifest, at most [`EDGES_AT_ONCE`]. Returns `true` if there may
    /// be more; then the caller must call again in a new transaction.
    pub fn remove_edges(&mut self, digest: &Digest) -> Result<bool, IndexError> {
        let Some(id) = self.0.id_of(digest)? else {
            return Ok(false);
        };
        let range = Key::table(b'E').id(id).prefix_range();
        let rows = self.0.store.scan(&range.start..&range.end, EDGES_AT_ONCE)?;
        let more = rows.len() == EDGES_AT_ONCE;
        for (key, value) in rows {
            let mut fields = FieldReader(&value);
            if let (Some(role), Some(target)) = (fields.u8(), fields.id()) {
                self.0.delete(Key::table(b'e').id(target).byte(role).id(id));
            }
            self.0.written.insert(key, None);
        }
        Ok(more)
    }
}
